"""A commit in memory for the many small cases; test_trap_commits has real git repositories."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from launcher.errors import SourceTooLarge


class MemoryTree:
    """A `Tree` with git's blob ids. Values are text or bytes; a key ending in ``@`` is a symlink to its value."""

    def __init__(self, entries: Mapping[str, str | bytes]) -> None:
        self._data: dict[str, bytes] = {}
        self._modes: dict[str, str] = {}
        for name, value in entries.items():
            path = name.removesuffix("@")
            self._data[path] = value.encode() if isinstance(value, str) else value
            self._modes[path] = "120000" if name.endswith("@") else "100644"
        self.id = hashlib.sha1(
            repr(sorted((path, self._modes[path], data) for path, data in self._data.items())).encode()
        ).hexdigest()

    def files(self) -> dict[str, str]:
        return {
            path: hashlib.sha1(b"blob %d\0%b" % (len(data), data)).hexdigest()
            for path, data in self._data.items()
            if self._modes[path] != "120000"
        }

    def directories(self) -> dict[str, str]:
        parents = {path[:index] for path in self._data for index, letter in enumerate(path) if letter == "/"}
        return {parent: hashlib.sha1(parent.encode()).hexdigest() for parent in parents}

    def modes(self) -> dict[str, str]:
        return dict(self._modes)

    def read(self, path: str, *, limit: int = 1_000_000) -> bytes:
        if self._modes[path] == "120000":
            raise KeyError(path)
        if len(self._data[path]) > limit:
            raise SourceTooLarge(f"over {limit}")
        return self._data[path]
