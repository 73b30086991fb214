"""The one error that may reach a person from inside a session."""

from __future__ import annotations


class Problem(Exception):
    """A start that cannot go on.

    ``code`` is a stable error code of the launcher, ``message`` and ``hint`` are for people: no path of the machine,
    no command line, no output of a program.
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
