"""When idle sessions are ended: read from an operator's culler, or told to one of ours."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta

import pytest
from jupyterhub_idle_culler import IdleCuller
from traitlets.config import Config

import launcher
from launcher.check import check
from launcher.config import SETTINGS_VARIABLE, Settings
from launcher.hub.culling import SERVICE, culler_service, cullers_of
from launcher.hub.preset import ACTIVITY_SCOPE
from launcher.policy.culling import Culler, CullPolicy, CullTimes

MODULE = (sys.executable, "-m", "jupyterhub_idle_culler")
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
ROLE = {"name": "culls", "scopes": ["delete:servers"], "services": ["own"]}


def minutes(number: float) -> datetime:
    return NOON + timedelta(minutes=number)


def culler(*command, **service):
    found = cullers_of([{"name": "own", "command": list(command), **service}])
    return found[0] if found else None


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ((*MODULE,), Culler(600)),
        ((*MODULE, "--timeout=3600"), Culler(3600)),
        ((*MODULE, "--timeout", "3600", "--cull-every", "60"), Culler(3600)),
        ((*MODULE, "--IdleCuller.timeout=1800", "--max-age=86400"), Culler(1800, 86400)),
        (("/opt/bin/jupyterhub-idle-culler", "--max_age=7200", "--timeout=60"), Culler(60, 7200)),
        (("python3", "/srv/cull_idle_servers.py", "--timeout=3600", "--cull_every=120"), Culler(3600)),
        ((*MODULE, "--cull-users", "--timeout=60"), Culler(60)),
        ((*MODULE, "--timeout=60", "--max-age=0", "--cull-named-servers=false"), Culler(60, named_servers=False)),
        ((*MODULE, "--timeout=60", "--cull-default-servers", "False"), Culler(60, default_servers=False)),
        ((*MODULE, "--timeout=60", "--config=/etc/culler.py", "--max-age=50"), Culler(None, 50)),
        ((*MODULE, "--timeout=an hour"), Culler(None)),
        (("sh", "-c", "exec python3 -m jupyterhub_idle_culler --timeout=3600"), Culler(None)),
        (("python3", "-m", "my_service", "--timeout=3600"), None),
        ((), None),
    ],
)
def test_what_a_service_ends_is_read_from_its_command(command, expected):
    assert culler(*command) == expected


def test_cullers_whose_command_cannot_be_seen_are_known_to_be_there(tmp_path):
    assert cullers_of([{"name": "jupyterhub-idle-culler-service", "api_token": "x"}]) == (Culler(None),)
    assert cullers_of([{"name": "announcements", "url": "http://127.0.0.1:1"}]) == ()
    assert culler(*MODULE, "--timeout=60", cwd=str(tmp_path)) == Culler(60)
    (tmp_path / "idle_culler_config.py").write_text("c.IdleCuller.timeout = 3\n")
    assert culler(*MODULE, "--timeout=60", cwd=str(tmp_path)) == Culler(None)
    assert culler(*MODULE, "--timeout=60", "--config=", cwd=str(tmp_path)) == Culler(60)


def test_the_culler_itself_understands_what_ours_is_told():
    for seconds, every in ((3600, 300), (600, 60), (10, 5)):
        told = IdleCuller()
        told.parse_command_line(culler_service(seconds)["command"][3:])
        assert (told.timeout, told.cull_every, told.config_file, told.max_age) == (seconds, every, "", 0)


def enabled(c: Config, **settings) -> Settings:
    launcher.enable(c, **settings)
    service = next(entry for entry in c.JupyterHub.services if entry["name"] == "binder")
    return Settings.from_json(service["environment"][SETTINGS_VARIABLE])


def names(c: Config) -> list[str]:
    return [service["name"] for service in c.JupyterHub.services]


def scopes(c: Config) -> list[str]:
    (service,) = [entry for entry in c.JupyterHub.services if entry["name"] == "binder"]
    return service["oauth_client_allowed_scopes"]


def test_without_a_culler_there_is_none_and_the_launcher_asks_for_nothing_more():
    c = Config()
    assert enabled(c).cullers == ()
    assert names(c) == ["binder"]
    assert ACTIVITY_SCOPE not in scopes(c)


def test_ours_is_added_once_with_no_more_rights_than_it_needs_and_goes_again():
    c = Config()
    for _ in range(2):
        assert enabled(c, cull_idle_after_seconds=3600).cullers == (Culler(3600),)
        assert names(c) == ["binder", SERVICE]
        (role,) = [role for role in c.JupyterHub.load_roles if role["name"] == SERVICE]
        assert role["services"] == [SERVICE]
        assert set(role["scopes"]) == {"list:users", "read:users:activity", "read:servers", "delete:servers"}
        assert scopes(c).count(ACTIVITY_SCOPE) == 1
    assert enabled(c, cull_idle_after_seconds=0).cullers == ()
    assert names(c) == ["binder"]
    assert SERVICE not in json.dumps(c.JupyterHub.load_roles)


def test_an_operators_own_culler_stays_the_only_one():
    c = Config()
    c.JupyterHub.services = [{"name": "own", "command": [*MODULE, "--timeout=900"]}]
    c.JupyterHub.load_roles = [ROLE]
    for _ in range(2):
        settings = enabled(c, cull_idle_after_seconds=3600)
        assert settings.cullers == (Culler(900),)
        assert names(c) == ["own", "binder"]
        assert ROLE in c.JupyterHub.load_roles
        assert SERVICE not in json.dumps(c.JupyterHub.load_roles)
        assert ACTIVITY_SCOPE in scopes(c)


@pytest.mark.parametrize(
    ("services", "seconds", "said"),
    [
        ([], 0, "idle sessions run until somebody stops them"),
        ([], 3600, "idle sessions are ended by c.Launcher.cull_idle_after_seconds, after 3600 seconds"),
        ([[*MODULE, "--timeout=900"]], 3600, "idle sessions are ended by the hub's own culler, after 900 seconds"),
        ([[*MODULE, "--config=a"]], 0, "idle sessions are ended by the hub's own culler, as its own settings say"),
    ],
)
def test_launcher_check_says_how_idle_sessions_end(services, seconds, said, tmp_path, capsys):
    configuration = tmp_path / "jupyterhub_config.py"
    own = [{"name": "own", "command": command} for command in services]
    enable = f"launcher.enable(c, cull_idle_after_seconds={seconds})"
    configuration.write_text(f"import launcher\nc.JupyterHub.services = {own!r}\n{enable}\n")
    check(config=configuration, state=tmp_path / "state", runtime="process")
    assert f"ok      {said}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cullers", "server", "used", "expected"),
    [
        ((), "", 10, CullTimes()),
        ((Culler(3600),), "", 10, CullTimes(True, minutes(70))),
        ((Culler(3600),), "", None, CullTimes(True, minutes(60))),
        ((Culler(3600, 7200),), "a", 10, CullTimes(True, minutes(70), minutes(120))),
        ((Culler(3600, 7200),), "a", 100, CullTimes(True, minutes(120), minutes(120))),
        ((Culler(3600), Culler(600)), "", 0, CullTimes(True, minutes(10))),
        ((Culler(3600, 7200, named_servers=False),), "a", 0, CullTimes(False, minutes(120), minutes(120))),
        ((Culler(3600, default_servers=False),), "", 0, CullTimes()),
        ((Culler(None),), "a", 0, CullTimes(True)),
        ((Culler(1e14, 1e14), Culler(float("inf"), float("inf"))), "a", 0, CullTimes(True)),
        ((Culler(1e14, 7200),), "a", 0, CullTimes(True, minutes(120), minutes(120))),
    ],
)
def test_the_earliest_end_counts(cullers, server, used, expected):
    last = minutes(used) if used is not None else None
    assert CullPolicy(cullers).times(server, NOON, last) == expected
