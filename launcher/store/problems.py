"""What databases and disks complain about, said in words for the operator: never a path, a URL or a password."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import sqlalchemy.exc

from launcher.errors import StateUnusable

NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "afs", "ncpfs"})

# The words of SQLite (sqlite3ErrStr), in the order in which they are tried.
_SQLITE_COMPLAINTS = (
    ("disk is full", "The disk with the state directory is full.", "Free some space on it; nothing was lost."),
    ("disk i/o error", "The disk with the state directory gives errors or is full.", "Check the disk and its space."),
    ("readonly database", "The state directory cannot be written.", "Make it writable for the launcher's user."),
    ("unable to open", "The database in the state directory cannot be opened.", "Check who owns it, and its modes."),
    ("not a database", "The file where the database should be is something else.", "Move it away or choose --state."),
    ("malformed", "The database in the state directory is damaged.", "Put back a backup, or start with a new state."),
    ("database is locked", "Another program keeps the database locked.", "Close what has it open and try again."),
)


def unusable_directory(error: OSError) -> StateUnusable:
    """The refusal for an operating-system error on something inside the state directory."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StateUnusable("The disk with the state directory is full.", hint="Free some space on it.")
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        return StateUnusable(
            "The state directory cannot be written.",
            hint="Make it writable for the launcher's user, or choose --state.",
        )
    return StateUnusable("The state directory cannot be used.", hint="Check that it is a directory on a working disk.")


def unusable_database(error: Exception) -> StateUnusable:
    """The refusal for an error of the database."""
    text = str(getattr(error, "orig", None) or error).lower()
    for words, message, hint in _SQLITE_COMPLAINTS:
        if words in text:
            return StateUnusable(message, hint=hint)
    return StateUnusable(
        "The database did not do what it was asked.", hint="Check that it runs, can be reached and has space."
    )


@contextmanager
def translated() -> Iterator[None]:
    """Turn complaints of the database into StateUnusable; mistakes of ours (wrong SQL or values) stay themselves."""
    try:
        yield
    except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InternalError, sqlalchemy.exc.TimeoutError) as error:
        raise unusable_database(error) from error
    except sqlalchemy.exc.DBAPIError as error:
        # "file is not a database" comes as a plain DatabaseError; its subclasses are mistakes of ours.
        if type(error) is sqlalchemy.exc.DatabaseError or error.connection_invalidated:
            raise unusable_database(error) from error
        raise


def file_system_of(path: Path) -> str:
    """The type of the file system that holds an existing directory, such as ``ext4``; "" when unknown."""
    best, kind = -1, ""
    for mount in psutil.disk_partitions(all=True):
        point = Path(mount.mountpoint)
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), mount.fstype
    return kind


def refuse_network_file_system(directory: Path, file_system: Callable[[Path], str] = file_system_of) -> None:
    """Raise StateUnusable when SQLite's write-ahead log would lie on a network file system, where it loses data."""
    kind = file_system(directory.resolve())
    if kind in NETWORK_FILE_SYSTEMS:
        raise StateUnusable(
            f"The state directory is on a network file system ({kind}), where SQLite can lose data.",
            hint="Choose --state on a local disk, or give the launcher a PostgreSQL URL.",
        )
