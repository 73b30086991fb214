"""What a person knows a commit by: the first line of its message, and its date."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from launcher.models import Snapshot
from launcher.sources.fast_import import IMPORTED_AT
from launcher.sources.git import Git

_MOST_CHARACTERS = 200


@dataclass(frozen=True)
class CommitWords:
    """A commit in its author's words. subject: one line without control characters. date: when it was made."""

    subject: str
    date: datetime


async def commit_words(snapshot: Snapshot, git: Git | None = None) -> CommitWords | None:
    """What the commit of a snapshot says of itself; None for files that never were a commit, and for a damaged one."""
    if snapshot.commit != snapshot.resolved.ref:
        return None
    shown = await (git or Git()).run(
        "log", "-1", "--no-show-signature", "--format=%ct%n%s", "--end-of-options", snapshot.commit,
        directory=snapshot.cache,
    )  # fmt: skip
    seconds, _, subject = shown.output.decode("utf-8", "replace").partition("\n")
    if not shown.ok or not seconds.isdigit() or int(seconds) == IMPORTED_AT:
        return None
    try:
        date = datetime.fromtimestamp(int(seconds), UTC)
    except (OverflowError, OSError, ValueError):
        return None  # a date of nobody's calendar
    words = "".join(character for character in subject.strip() if character.isprintable())
    return CommitWords(words[:_MOST_CHARACTERS], date)
