"""What a build prints, made harmless once, when it is written.

Terminals obey escape sequences, and logs are shown in terminals and pages: of all of them only colours stay. A state
machine, not a pattern over a whole text, because a sequence may come in pieces over many writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import Enum, auto
from urllib.parse import quote

_SPECIAL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_STRING_END = re.compile(r"[\x07\x0a\x18\x1a\x1b\x9c]")
_CSI_BODY = re.compile(r"[\x20-\x3f]*")
_COLOUR = re.compile(r"[0-9;:]{0,40}")
_STRING_STARTS = frozenset("\x90\x98\x9d\x9e\x9f")  # DCS, SOS, OSC, PM, APC as one C1 character
_STRING_STARTS_AFTER_ESCAPE = frozenset("PX]^_")  # and as two characters
_HALF_COLOUR = re.compile(r"\x1b(\[[0-9;:]*)?\Z")
_CSI_LIMIT = 64
_CUT = " … (the rest of this line was cut)"
_REDACTED = "[redacted]"
_SHORTEST_SECRET = 6


class _State(Enum):
    TEXT = auto()
    ESCAPE = auto()  # after ESC
    CSI = auto()  # after ESC [
    STRING = auto()  # inside OSC, DCS and the like, until their end or the end of the line


class Redactor:
    """Replaces secrets in lines, as they are and percent-encoded, each line of a secret with several.

    Pieces shorter than 6 characters are left: replacing them would tear ordinary words.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        lines = {line.strip() for secret in secrets for line in secret.splitlines()}
        words = {word for line in lines for word in (line, quote(line, safe="")) if len(line) >= _SHORTEST_SECRET}
        longest_first = sorted(words, key=lambda word: (-len(word), word))
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if words else None
        self.longest = max(map(len, words), default=0)

    def __call__(self, line: str) -> str:
        """The line without secrets."""
        return line if self._pattern is None else self._pattern.sub(_REDACTED, line)


class LineCleaner:
    r"""Cuts a stream of text into clean lines.

    Of control characters only tabs stay, of escape sequences only colours (SGR); ``\r`` starts the line over, so that
    of a progress bar its last state is left; a line longer than ``limit`` bytes of UTF-8 is cut; secrets are redacted.
    Holds at most one line, whatever comes.
    """

    def __init__(self, redact: Redactor, *, limit: int = 8192) -> None:
        self._redact = redact
        self._limit = limit
        # A secret that begins before the cut must be seen whole to be found.
        self._keep = limit + redact.longest
        self._state = _State.TEXT
        self._csi = ""
        self._line: list[str] = []
        self._length = 0
        self._returned = False

    def feed(self, text: str) -> Iterator[str]:
        """The lines that this piece of output completes."""
        position = 0
        while position < len(text):
            match self._state:
                case _State.TEXT:
                    special = _SPECIAL.search(text, position)
                    end = special.start() if special else len(text)
                    self._add(text[position:end])
                    position = end + 1
                    if special and self._special(special.group()):
                        yield self._take()
                case _State.ESCAPE:
                    position += self._escape(text[position])
                case _State.CSI:
                    position = self._control_sequence(text, position)
                case _State.STRING:
                    found = _STRING_END.search(text, position)
                    position = len(text) if found is None else self._string_end(found)

    def rest(self) -> str | None:
        """The last line when it did not end, or None; the stream is over."""
        return self._take() if self._line else None

    def _special(self, character: str) -> bool:
        """Deal with a control character outside of sequences; whether it ends the line."""
        if character == "\n":
            return True
        if character == "\r":
            self._returned = True
        elif character == "\x1b":
            self._state = _State.ESCAPE
        elif character == "\x9b":
            self._state, self._csi = _State.CSI, "\x9b"
        elif character in _STRING_STARTS:
            self._state = _State.STRING
        return False

    def _escape(self, character: str) -> int:
        """One character after ESC; how many of it are used up."""
        if "\x20" <= character <= "\x2f":
            return 1  # ESC ( B and the like: its end is still to come
        self._state = _State.TEXT
        if character == "[":
            self._state, self._csi = _State.CSI, "\x1b["
        elif character in _STRING_STARTS_AFTER_ESCAPE:
            self._state = _State.STRING
        elif not "\x30" <= character <= "\x7e":
            return 0  # not a sequence: a control character or a letter beyond ASCII stands for itself
        return 1

    def _control_sequence(self, text: str, position: int) -> int:
        body = _CSI_BODY.match(text, position)
        end = body.end() if body else position
        self._csi = (self._csi + text[position:end])[:_CSI_LIMIT]  # longer than any colour: not kept anyway
        if end == len(text):
            return end
        self._state = _State.TEXT
        if not "\x40" <= text[end] <= "\x7e":
            return end  # broken off by something that stands for itself
        parameters = self._csi.removeprefix("\x1b[")
        if text[end] == "m" and self._csi.startswith("\x1b[") and _COLOUR.fullmatch(parameters):
            self._add(f"\x1b[{parameters}m")
        return end + 1

    def _string_end(self, found: re.Match[str]) -> int:
        self._state = _State.ESCAPE if found.group() == "\x1b" else _State.TEXT
        # The end of a line is the end of any sequence, or one stray byte could swallow the whole log.
        return found.start() if found.group() == "\n" else found.end()

    def _add(self, text: str) -> None:
        if not text:
            return
        if self._returned:
            self._line, self._length, self._returned = [], 0, False
        room = self._keep + 1 - self._length  # one more than is kept tells that there was more
        if room > 0:
            self._line.append(text[:room])
            self._length += min(len(text), room)

    def _take(self) -> str:
        whole = self._length <= self._keep
        line = self._redact("".join(self._line))
        if not whole:
            line = line[: len(line) - self._redact.longest]  # may end with the first half of a secret
        self._line, self._length, self._returned = [], 0, False
        data = line.encode("utf-8", "replace")
        if whole and len(data) <= self._limit:
            return data.decode()
        kept = data[: self._limit - len(_CUT.encode())].decode("utf-8", "ignore")
        return _HALF_COLOUR.sub("", kept) + _CUT
