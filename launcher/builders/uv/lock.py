"""The resolved set of packages: uv's requirements format, read only as far as a build must understand it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from packaging.utils import canonicalize_name

from launcher.errors import BuildFailed

SERVER_PACKAGES = frozenset({"jupyter-server", "notebook", "jupyterlab", "jupyterhub", "voila"})
"""Packages that bring a Jupyter server; every server extension depends on one of them."""

_EDITABLE = ("-e ", "--editable ")
_INDEX_OPTIONS = ("--index-url ", "--extra-index-url ", "--find-links ")
_HASH = re.compile(r"\s--hash=(\S+)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VERSION = re.compile(r"^[^@;]*?==\s*([^\s;,]+)")
_VCS = re.compile(r"@\s*(git|hg|svn|bzr)\+")
_LOCAL = re.compile(r"@\s*file:|^(\.|/|file:)")


@dataclass(frozen=True)
class LockedPackage:
    """One line of a lock. ``text`` is the requirement without hashes, ``name`` normalised ("" for a bare path)."""

    name: str
    text: str
    hashes: tuple[str, ...] = ()
    editable: bool = False

    @property
    def is_local(self) -> bool:
        """A directory or file of the repository."""
        return self.editable or _LOCAL.search(self.text) is not None

    @property
    def is_version_control(self) -> bool:
        """A revision of another repository, to be built from source."""
        return _VCS.search(self.text) is not None

    @property
    def line(self) -> str:
        """The package as a line of a requirements file."""
        prefix = "-e " if self.editable else ""
        return " ".join([prefix + self.text, *(f"--hash={value}" for value in self.hashes)])


@dataclass(frozen=True)
class Lock:
    """Packages in the order of their names; equal locks have equal text.

    options: the indexes they were found on, as lines of a requirements file; hashes make them irrelevant to equality.
    """

    packages: tuple[LockedPackage, ...]
    options: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Lock:
        """Read what uv wrote. Raises BuildFailed when it is something else."""
        lines = _logical_lines(text)
        packages = [_parse_line(line) for line in lines if not _is_option(line)]
        options = tuple(line for line in lines if line.startswith(_INDEX_OPTIONS))
        return cls(tuple(sorted(packages, key=lambda one: (one.name, one.text))), options)

    @cached_property
    def names(self) -> frozenset[str]:
        """Normalised names of all packages."""
        return frozenset(one.name for one in self.packages)

    def version(self, name: str) -> str:
        """The version of a package by its normalised name; "?" when it is not there or comes from a link."""
        found = (_VERSION.search(one.text) for one in self.packages if one.name == name)
        return next((match[1] for match in found if match), "?")

    @property
    def brings_server(self) -> bool:
        """Whether the packages include a Jupyter server of their own."""
        return not self.names.isdisjoint(SERVER_PACKAGES)

    @property
    def hashed(self) -> str:
        """The packages that hashes vouch for, as a requirements file."""
        packages = (one.line for one in self.packages if not one.is_local and not one.is_version_control)
        return "".join(f"{line}\n" for line in (*self.options, *packages))

    @property
    def version_control(self) -> tuple[LockedPackage, ...]:
        """Packages from other repositories."""
        return tuple(one for one in self.packages if one.is_version_control)

    @property
    def local(self) -> tuple[LockedPackage, ...]:
        """Packages from the repository itself."""
        return tuple(one for one in self.packages if one.is_local)

    @property
    def text(self) -> str:
        """The whole lock; equal for equal sets."""
        return "".join(f"{one.line}\n" for one in self.packages)

    @property
    def digest(self) -> str:
        """sha256 of `text`."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def with_hashes(self, hashes: Mapping[str, tuple[str, ...]]) -> Lock:
        """The lock with the hashes somebody else promised, by package name: theirs are the only ones accepted."""
        packages = (replace(one, hashes=hashes.get(one.name) or one.hashes) for one in self.packages)
        return Lock(tuple(packages), self.options)


def promised_hashes(text: str) -> dict[str, tuple[str, ...]]:
    """The hashes a requirements file names, by package; lines it cannot read are for uv to complain about."""
    promised: dict[str, tuple[str, ...]] = {}
    for line in _logical_lines(text):
        named = _NAME.match(line)
        if named is not None and (hashes := tuple(sorted(_HASH.findall(line)))):
            promised[canonicalize_name(named[0])] = hashes
    return promised


def _is_option(line: str) -> bool:
    return line.startswith("-") and not line.startswith(_EDITABLE)


def _logical_lines(text: str) -> list[str]:
    joined = re.sub(r"\\\s*\n\s*", " ", text)
    lines = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]


def _parse_line(line: str) -> LockedPackage:
    hashes = tuple(sorted(_HASH.findall(line)))
    text = _HASH.sub("", line).strip()
    editable = text.startswith(_EDITABLE)
    if editable:
        text = text.split(None, 1)[1]
    named = _NAME.match(text)
    bare = text.startswith((".", "/", "file:"))
    if named is None and not bare:
        raise BuildFailed("The resolved list of packages cannot be read.", hint="The build's log has the rest.")
    return LockedPackage("" if bare or named is None else canonicalize_name(named[0]), text, hashes, editable)
