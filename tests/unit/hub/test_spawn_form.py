"""JupyterHub's spawn form: when it is the launcher's, and what of it reaches a start."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub.spawner import LocalProcessSpawner, SimpleLocalProcessSpawner
from tornado.web import HTTPError
from traitlets import default
from traitlets.config import Config

import launcher
from launcher.errors import BadRequest, ConfigurationInvalid, TicketInvalid
from launcher.hub.progress import StartProgress
from launcher.hub.spawn_form import FormFirst, SessionFormMixin, build_patience, flat_options


def spawner(config: Config | None = None, **settings: Any) -> Any:
    """A spawner of a hub with the form, without the hub."""
    c = config or Config()
    launcher.enable(c, **{"spawn_form": True, "homes_directory": "/srv/homes", **settings})
    kind = c.JupyterHub.spawner_class
    return kind(config=c, user=SimpleNamespace(name="ana", settings={}, db=None), orm_spawner=None)


def test_off_means_no_trace_of_it() -> None:
    c = Config()
    launcher.enable(c, homes_directory="/srv/homes")
    assert SessionFormMixin not in c.JupyterHub.spawner_class.__mro__
    assert c.JupyterHub.spawner_class().options_form == ""


def test_on_the_hub_shows_the_launchers_form() -> None:
    shown = spawner()
    assert shown.options_form == shown.session_form
    assert shown.options_from_form == shown.choices_of_form


def test_it_is_refused_where_regular_sessions_are_not_the_launchers() -> None:
    with pytest.raises(ConfigurationInvalid, match="spawn_form") as refused:
        spawner(homes_directory="")
    assert "homes_directory" in refused.value.hint


class WithDefault(SimpleLocalProcessSpawner):
    @default("options_form")
    def _form(self) -> str:
        return "profiles"


class WithTrait(LocalProcessSpawner):
    options_form = "profiles"


class Below(WithTrait):
    """Says nothing itself."""


@pytest.mark.parametrize("kind", [WithDefault, WithTrait, Below])
def test_a_form_that_the_operators_spawner_brings_is_never_hidden(kind: type) -> None:
    c = Config()
    c.JupyterHub.spawner_class = kind
    with pytest.raises(ConfigurationInvalid, match="options_form of its own"):
        spawner(c)


@pytest.mark.parametrize("section", ["Spawner", "LocalProcessSpawner", "SimpleLocalProcessSpawner"])
def test_a_form_in_the_operators_configuration_is_never_hidden(section: str) -> None:
    c = Config()
    c.JupyterHub.spawner_class = "simple"
    c[section].options_form = "<input name=profile>"
    with pytest.raises(ConfigurationInvalid, match="options_form of its own"):
        spawner(c)


def test_enabling_twice_keeps_the_form_and_can_take_it_away() -> None:
    c = Config()
    spawner(c)
    assert [kind for kind in type(spawner(c)).__mro__ if kind is SessionFormMixin] == [SessionFormMixin]
    launcher.enable(c, spawn_form=False)
    assert SessionFormMixin not in c.JupyterHub.spawner_class.__mro__


@pytest.mark.parametrize(
    "query", [{"environment": ["repository"]}, {"image": ["x/y"]}, {"size": ["l"]}, {"utm": ["1"]}]
)
def test_a_link_to_the_spawn_page_starts_nothing(query: dict[str, list[str]]) -> None:
    with pytest.raises(FormFirst) as refused:
        spawner().options_from_query(query)
    assert "Nothing was started" in refused.value.jupyterhub_message


async def test_where_people_may_name_images_an_operators_own_form_stays_and_links_still_name_none() -> None:
    c = Config()
    c.LauncherContainers.allowed_images = ["quay.io/org/*"]
    c.Spawner.options_form = "<input name=image><input name=course>"
    c.Spawner.options_from_form = lambda form: {name: values[0] for name, values in form.items()}
    own = spawner(c, runtime="container", spawn_form=False)
    assert own.options_form == c.Spawner.options_form
    assert own.options_from_query({"image": ["quay.io/org/x"], "course": ["1"]}) == {"course": "1"}


@pytest.mark.parametrize(
    ("given", "flat"),
    [
        ({}, {}),
        ({"environment": "", "size": " large "}, {"size": "large"}),
        ({"environment": "listed:geo", "command": "sh", "cmd": ["x"]}, {"environment": "listed:geo"}),
        ({"image": "quay.io/org/x"}, {"environment": "image", "image": "quay.io/org/x"}),
        ({"environment": "", "image": "quay.io/org/left-in-its-field"}, {}),
        ({"environment": "image", "image": "a/b"}, {"environment": "image", "image": "a/b"}),
        ({"environment": "image:a/b"}, {"environment": "image", "image": "a/b"}),
        (
            {"environment": "repository", "environment_spec": "gh/org/repo", "trust": "yes"},
            {"environment": "repository", "environment_spec": "gh/org/repo"},
        ),
    ],
)
def test_of_what_is_sent_only_choices_remain_and_never_that_somebody_trusts(given: Any, flat: dict[str, str]) -> None:
    assert flat_options(given) == flat


@pytest.mark.parametrize("value", [["a"], {"a": "b"}, 7, None, True, "x" * 5000])
def test_a_choice_that_no_form_sends_is_refused_with_words(value: Any) -> None:
    with pytest.raises(BadRequest):
        flat_options({"environment": value})


async def test_a_start_that_may_build_gets_more_time_and_the_session_does_not() -> None:
    one = spawner()
    one.start_timeout = 60
    for _ in range(2):  # the second time after a start that was never begun
        one.user_options = {"environment": "listed:geo"}
        await one.run_pre_spawn_hook()
        assert one.start_timeout == 60 + build_patience(one.launch_settings)
    begun = asyncio.ensure_future(one.start())
    begun.cancel()
    await asyncio.wait({begun})
    await one.run_pre_spawn_hook()
    with pytest.raises(Exception):  # noqa: B017, PT011 - without a hub no session starts: what counts is before it
        await one.start()
    assert one.start_timeout == 60
    one.user_options = {}
    await one.run_pre_spawn_hook()
    assert one.start_timeout == 60


@pytest.mark.parametrize(("name", "kept"), [("", {"size": "large"}), ("notes-" + "a" * 20, None)])
async def test_the_hub_remembers_the_choices_of_a_regular_session_and_never_its_ticket(
    name: str, kept: dict[str, str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[bool] = []
    one = spawner()
    one.orm_spawner = SimpleNamespace(name=name, server=None, user_options=None)
    one.user.db = SimpleNamespace(commit=lambda: commits.append(True))
    one.user_options = {"size": "large", "ticket": "signed"}

    async def redeemed(ticket: str) -> str:
        return f"plan of {ticket}"

    monkeypatch.setattr(one, "_redeem", redeemed)
    assert await one.redeem_plan() == "plan of signed"
    assert (one.orm_spawner.user_options, bool(commits)) == (kept, kept is not None)

    async def refused(_: str) -> str:
        raise TicketInvalid("Too old.")

    one.orm_spawner.user_options = None
    monkeypatch.setattr(one, "_redeem", refused)
    with pytest.raises(HTTPError):
        await one.redeem_plan()
    assert one.orm_spawner.user_options == kept, "else every later start of the Hub's own would show it again"


async def test_everybody_who_looks_at_a_start_hears_all_of_it() -> None:
    progress = StartProgress()
    progress.say("first")
    progress.tell("second", "<b>second</b>")

    async def heard(count: int) -> list[dict[str, Any]]:
        events = progress.events()
        return [await anext(events) for _ in range(count)]

    early = asyncio.create_task(heard(3))
    await asyncio.sleep(0)
    progress.say("third")
    assert await early == await heard(3)
    assert [event["message"] for event in await early] == ["first", "second", "third"]
    assert (await early)[1] == {"message": "second", "html_message": "<b>second</b>"}
