"""Descriptors for the first program of a container: an engine passes none on, a unix socket does."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from launcher.dask.nurseries.places import short_path


class Handover:
    """Gives descriptors to whoever connects first, which is the first program; nobody can come before it.

    Only unix sockets and files: a socket with an address of this machine's network would be a way into it.
    """

    def __init__(self, path: Path, descriptors: Sequence[int]) -> None:
        self._path = path
        self._listener: socket.socket | None = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._descriptors: list[int] = []
        try:
            with short_path(path) as short:
                self._listener.bind(short)
            path.chmod(0o666)  # the directory around it is closed to others
            self._listener.listen(1)
            self._listener.setblocking(False)
            self._descriptors += [os.dup(descriptor) for descriptor in descriptors]
        except BaseException:
            self.close()
            raise
        asyncio.get_running_loop().add_reader(self._listener, self._give)

    def _give(self) -> None:
        if self._listener is None:
            return
        with suppress(OSError):  # it has ended already
            client, _ = self._listener.accept()
            with client:
                socket.send_fds(client, [b"."], self._descriptors)
        self.close()

    def close(self) -> None:
        """Give nothing any more."""
        if self._listener is None:
            return
        with suppress(RuntimeError):  # there is no loop any more, or not yet
            asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        self._listener = None
        for descriptor in self._descriptors:
            os.close(descriptor)
        with suppress(OSError):  # removed with its directory
            self._path.unlink()
