"""What the JSON API takes and gives about new regular sessions; see `launcher.web.schema`."""

from __future__ import annotations

from datetime import datetime
from typing import NotRequired, TypedDict

from launcher.web.schema import MachineSizeJson


class ListedJson(TypedDict):
    """An environment of the operator's list; ``environment`` is what chooses it."""

    environment: str
    title: str
    description: str


class RecentJson(TypedDict):
    """A ready environment that the person used; ``environment`` is what chooses it, ``title`` its repository."""

    environment: str
    title: str
    used: datetime


class RunningJson(TypedDict):
    """The regular session: ``state`` is ready, spawn or stop."""

    url: str
    state: str


class NewSessionJson(TypedDict):
    """What can be chosen; nothing where ``available`` is false. ``images``: an image can be named."""

    available: bool
    sizes: list[MachineSizeJson]
    environments: list[ListedJson]
    recent: list[RecentJson]
    images: bool
    running: RunningJson | None


class NewSessionAnswer(TypedDict):
    """``GET new-session``."""

    new_session: NewSessionJson


class NewSessionWish(TypedDict):
    """``POST new-session``: the fields of the form, all optional."""

    size: NotRequired[str]
    environment: NotRequired[str]
    image: NotRequired[str]
    environment_spec: NotRequired[str]
    files_spec: NotRequired[str]
    trust: NotRequired[bool]


class StartedJson(TypedDict):
    """A start under way: ``events_url`` tells how it goes on."""

    server_name: str
    phase: str
    build_id: str | None
    events_url: str


class StartedAnswer(TypedDict):
    """``POST new-session``."""

    session: StartedJson
