"""Asking the kernel whether something lives: it holds a lock on a file as long as it does."""

from __future__ import annotations

import fcntl
import os
import struct

_FLOCK = "hhqqi4x"  # struct flock of fcntl(2) on 64-bit Linux


def is_held(path: str | os.PathLike[str]) -> bool:
    """Whether some process holds a lock on the file. False when there is no such file."""
    try:
        # not blocking: a session can put a pipe in the place of the file
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, question))
    finally:
        os.close(descriptor)
    return int(answer[0]) != fcntl.F_UNLCK
