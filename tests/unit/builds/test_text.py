"""Whatever a build prints, a log is text with colours and nothing else."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from launcher.builds.text import LineCleaner, Redactor

TOKEN = "s3cr3t-t0ken/with+signs"


def clean(*pieces: str, secrets: tuple[str, ...] = (), limit: int = 8192) -> list[str]:
    cleaner = LineCleaner(Redactor(secrets), limit=limit)
    lines = [line for piece in pieces for line in cleaner.feed(piece)]
    rest = cleaner.rest()
    return lines if rest is None else [*lines, rest]


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("one\ntwo\n", ["one", "two"]),
        ("no end", ["no end"]),
        ("", []),
        ("\n\n", ["", ""]),
        ("windows\r\nlines\r\n", ["windows", "lines"]),
        ("a\tb", ["a\tb"]),
        ("10%\r50%\r100%\n", ["100%"]),
        ("10%\r50%\r", ["50%"]),
        ("long line\rab\n", ["ab"]),
        ("x\r\r\r\n", ["x"]),
        ("\x1b[31mred\x1b[0m", ["\x1b[31mred\x1b[0m"]),
        ("\x1b[38;2;1;2;3mtrue\x1b[m", ["\x1b[38;2;1;2;3mtrue\x1b[m"]),
        ("\x1b[1;" + "1;" * 50 + "mx", ["x"]),
        ("\x1b[>4;2mx", ["x"]),
        ("\x1b[?25lx\x1b[2J\x1b[9999999C\x1b[6ny", ["xy"]),
        ("\x9b31mx", ["x"]),
        ("\x1b]0;title\x07x", ["x"]),
        ("\x1b]8;;javascript:alert(1)\x1b\\link\x1b]8;;\x1b\\", ["link"]),
        ("\x1b]52;c;aGk=\x07x", ["x"]),
        ("\x9d0;title\x9cx", ["x"]),
        ("\x1bPq#0;2;0;0;0\x1b\\x", ["x"]),
        ("\x1b^private\x1b\\x\x1b_app\x1b\\y\x1bXsos\x1b\\z", ["xyz"]),
        ("\x1b]0;never ends\nnext line\n", ["", "next line"]),
        ("\x1bcreset\x1b(Bcharset\x1b7save", ["resetcharsetsave"]),
        ("\x1b\x1b[31mx", ["\x1b[31mx"]),
        ("\x1b[12\x1b[31mx", ["\x1b[31mx"]),
        ("\x1b[12\nx", ["", "x"]),
        ("\x1b\u00e9", ["\u00e9"]),
        ("nul\x00bell\x07back\x08del\x7fnel\x85", ["nulbellbackdelnel"]),
        ("half \ud800 surrogate", ["half ? surrogate"]),
        ("line\u2028separator", ["line\u2028separator"]),
        ('{"phase":"ready","url":"javascript:alert(1)"}', ['{"phase":"ready","url":"javascript:alert(1)"}']),
        ("data: x\n\nevent: ready", ["data: x", "", "event: ready"]),
    ],
)
def test_only_text_and_colours_stay(printed, shown) -> None:
    assert clean(printed) == shown


COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
pieces = st.lists(
    st.text(max_size=8)
    | st.text(alphabet="\x1b[]P^_X\\\x9b\x9d\x90\x9c\x07\r\n;:?m0123 ab", max_size=12)
    | st.sampled_from(["\x1b[31m", "\x1b]0;t\x07", "\x1b[2J", "\r\n", TOKEN, "\x1bP1\x1b\\"]),
    max_size=12,
)


@given(pieces)
@example(["\x1b[3", "1mx"])
@example(["a\r", "\nb"])
@example(["\x1b", "]0;", "x", "\x1b", "\\y"])
def test_how_the_output_is_cut_into_writes_makes_no_difference(printed) -> None:
    whole = "".join(printed)
    assert clean(*printed, secrets=(TOKEN,)) == clean(whole, secrets=(TOKEN,)) == clean(*whole, secrets=(TOKEN,))


@given(pieces, st.integers(60, 90))
def test_no_control_character_survives_but_tabs_and_whole_colours(printed, limit) -> None:
    for line in clean(*printed, secrets=(TOKEN,), limit=limit):
        assert len(line.encode()) <= limit
        assert TOKEN not in line
        assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]", COLOUR.sub("", line))


@given(st.text(alphabet="ab é\N{PILE OF POO}\t", max_size=200))
def test_plain_text_stays_as_it_is(line) -> None:
    assert clean(line + "\n") == [line]


def test_a_line_without_end_is_cut_and_says_so() -> None:
    (line,) = clean(*["x" * 100_000] * 100, limit=8192)
    assert line.startswith("xxx")
    assert line.endswith("(the rest of this line was cut)")
    assert len(line.encode()) <= 8192
    assert clean("x" * 8192, limit=8192) == ["x" * 8192]


def test_a_line_is_never_cut_inside_a_character_or_a_colour() -> None:
    for shift in range(12):
        (line,) = clean("x" * shift + "\x1b[31m\u00e9" * 100, limit=100)
        assert "\x1b" not in COLOUR.sub("", line)
        assert "\ufffd" not in line


def test_a_cleaner_holds_one_line_however_much_comes() -> None:
    cleaner = LineCleaner(Redactor([]), limit=100)
    for _ in range(1000):
        assert list(cleaner.feed("x" * 10_000 + "\x1b]" + "y" * 10_000 + "\x1b\\\x1b[" + "1;" * 5000 + "m")) == []
    assert sum(map(len, cleaner._line)) <= 200


@pytest.mark.parametrize(
    "printed",
    [TOKEN, f"token={TOKEN}&x", "s3cr3t-t0ken%2Fwith%2Bsigns", f"\x1b[31m{TOKEN}\x1b[0m", f"{TOKEN}{TOKEN}"],
)
def test_planted_secrets_are_redacted_as_they_are_and_percent_encoded(printed) -> None:
    (line,) = clean(printed, secrets=(TOKEN,))
    assert "s3cr3t" not in line
    assert "[redacted]" in line


def test_a_secret_across_the_cut_of_a_long_line_leaves_no_first_half() -> None:
    for length in range(8192 - 80, 8192 + 10):
        (line,) = clean("x" * length + TOKEN * 3, secrets=(TOKEN,))
        assert "s3c" not in line
    for length in range(30):
        (line,) = clean(TOKEN * 300 + "x" * length + TOKEN * 300, secrets=(TOKEN,), limit=200)
        assert "s3c" not in line


def test_each_line_of_a_secret_with_several_is_redacted_and_short_words_are_not() -> None:
    key = "-----BEGIN KEY-----\nAAAABBBBCCCC\nxy\n-----END KEY-----\n"
    assert clean(key, secrets=(key, "", "  ", "ab")) == ["[redacted]", "[redacted]", "xy", "[redacted]"]
