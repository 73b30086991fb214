"""Times and sizes, as people of several languages read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from launcher.web.amounts import Amounts
from launcher.web.words import Words

ENGLISH, FRENCH = (Amounts(Words(language, {})) for language in ("en", "fr"))
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "english", "french"),
    [
        (-5, "1 second", "1 seconde"),
        (59, "59 seconds", "59 secondes"),
        (180, "3 minutes", "3 minutes"),
        (1.6 * 3600, "2 hours", "2 heures"),
        (48 * 3600, "2 days", "2 jours"),
    ],
)
def test_durations(seconds, english, french):
    assert (ENGLISH.lasted(seconds), FRENCH.lasted(seconds).replace("\xa0", " ")) == (english, french)


def test_how_long_ago():
    moment = NOW - timedelta(minutes=5)
    assert (ENGLISH.ago(moment, NOW), FRENCH.ago(moment, NOW)) == ("5 minutes ago", "il y a 5 minutes")
    assert ENGLISH.exact(NOW) == FRENCH.exact(NOW) == "2026-01-31 12:00:00 UTC"


@pytest.mark.parametrize(
    ("amount", "english", "french"),
    [
        (0, "0 kB", "0\N{NARROW NO-BREAK SPACE}ko"),
        (1_540_000, "1.5 MB", "1,5\N{NARROW NO-BREAK SPACE}Mo"),
        (22 * 10**9, "22 GB", "22\N{NARROW NO-BREAK SPACE}Go"),
    ],
)
def test_sizes(amount, english, french):
    assert (ENGLISH.size(amount), FRENCH.size(amount)) == (english, french)


@pytest.mark.parametrize(
    ("amount", "words"), [(0, "0 GiB"), (2**31, "2 GiB"), (10**9, "0.931 GiB"), (1536 * 2**20, "1.5 GiB")]
)
def test_memory(amount, words):
    assert ENGLISH.memory(amount) == words
    assert FRENCH.memory(amount) == words.replace(".", ",")
