import json

import pytest
from jupyterhub.spawner import LocalProcessSpawner, SimpleLocalProcessSpawner, Spawner
from traitlets.config import Config

import launcher
from launcher.config import SETTINGS_VARIABLE
from launcher.errors import ConfigurationInvalid
from launcher.hub.preset import OAUTH_SCOPES


def enabled(config: Config | None = None, **settings) -> Config:
    c = config if config is not None else Config()
    launcher.enable(c, **settings)
    return c


def service(c: Config) -> dict:
    (found,) = [entry for entry in c.JupyterHub.services if entry["name"] == "binder"]
    return found


def test_the_service_gets_no_role_and_asks_for_the_visitors_own_servers_only():
    c = enabled()
    assert service(c)["oauth_client_allowed_scopes"] == list(OAUTH_SCOPES)
    assert all(role["name"] == "user" for role in c.JupyterHub.load_roles)
    assert "admin" not in service(c)
    assert "access:services!service=binder" in c.JupyterHub.load_roles[0]["scopes"]
    assert "self" in c.JupyterHub.load_roles[0]["scopes"]


def test_an_operators_own_services_and_roles_stay():
    c = Config()
    c.JupyterHub.services = [{"name": "cull", "command": ["x"]}]
    c.JupyterHub.load_roles = [{"name": "user", "scopes": ["self", "shares!user"]}, {"name": "staff", "scopes": []}]
    enabled(c)
    assert [entry["name"] for entry in c.JupyterHub.services] == ["cull", "binder"]
    assert [role["name"] for role in c.JupyterHub.load_roles] == ["user", "staff"]
    assert c.JupyterHub.load_roles[0]["scopes"] == ["self", "shares!user", "access:services!service=binder"]


def test_services_that_were_appended_to_an_untouched_list_stay():
    c = Config()
    c.JupyterHub.services.append({"name": "cull", "command": ["x"]})
    enabled(c)
    assert [entry["name"] for entry in c.JupyterHub.services] == ["cull", "binder"]


def test_enabling_twice_changes_nothing_but_the_settings():
    c = enabled()
    enabled(c, banner="hello")
    assert len(c.JupyterHub.services) == 1
    assert c.JupyterHub.load_roles[0]["scopes"].count("access:services!service=binder") == 1
    assert json.loads(service(c)["environment"][SETTINGS_VARIABLE])["banner"] == "hello"
    assert [kind.__name__ for kind in c.JupyterHub.spawner_class.__mro__].count("ProcessSpawnerMixin") == 1


@pytest.mark.parametrize(
    ("configured", "base"),
    [
        (None, LocalProcessSpawner),
        ("simple", SimpleLocalProcessSpawner),
        ("jupyterhub.spawner.SimpleLocalProcessSpawner", SimpleLocalProcessSpawner),
        (SimpleLocalProcessSpawner, SimpleLocalProcessSpawner),
    ],
)
def test_the_operators_spawner_stays_underneath(configured, base):
    c = Config()
    if configured is not None:
        c.JupyterHub.spawner_class = configured
    enabled(c)
    assert issubclass(c.JupyterHub.spawner_class, base)


def test_a_spawner_that_starts_no_local_processes_is_refused_with_words():
    class Elsewhere(Spawner):
        async def start(self):
            return "127.0.0.1", 1

        async def stop(self, now=False):
            return None

        async def poll(self):
            return None

    c = Config()
    c.JupyterHub.spawner_class = Elsewhere
    with pytest.raises(ConfigurationInvalid, match="Elsewhere"):
        enabled(c)


def test_an_unknown_spawner_is_refused_with_words():
    c = Config()
    c.JupyterHub.spawner_class = "nothing.like.This"
    with pytest.raises(ConfigurationInvalid, match="there is no spawner"):
        enabled(c)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"trusted": ["gh/x"]}, "no setting called 'trusted'"),
        ({"trusted_repositories": ["*"]}, "not a repository pattern"),
        ({"runtime": "magic"}, "runtime"),
        ({"allow_hosts": ["127.0.0.1"]}, "not HOST:PORT"),
        ({"service_name": "My Binder"}, "service_name"),
        ({"local_directories": ["relative"]}, "absolute directory"),
        ({"build_concurrency": 0}, "build_concurrency"),
        ({"cors_origins": 42}, "cors_origins"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings, words):
    with pytest.raises(ConfigurationInvalid, match=words):
        enabled(**settings)


def test_named_servers_switched_off_by_hand_are_a_contradiction():
    c = Config()
    c.JupyterHub.allow_named_servers = False
    with pytest.raises(ConfigurationInvalid, match="allow_named_servers"):
        enabled(c)


def test_the_hubs_public_address_is_used():
    c = Config()
    c.JupyterHub.public_url = "https://hub.example.org/"
    enabled(c)
    assert json.loads(service(c)["environment"][SETTINGS_VARIABLE])["public_url"] == "https://hub.example.org"


def test_secrets_of_the_hubs_own_environment_do_not_reach_the_service(monkeypatch):
    monkeypatch.setenv("DATABASE_PASSWORD", "canary")
    assert "canary" not in json.dumps(service(enabled())["environment"])
