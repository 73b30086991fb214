"""Finished environments on disk: ``<store>/<reference>/{venv,meta.json,lock.txt,postbuild}``."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from launcher.builders.removal import remove_tree
from launcher.builders.uv.limits import disk_usage
from launcher.models import BuiltEnvironment, SessionMode

_REFERENCE = re.compile(r"[0-9a-f]{64}")
_META = "meta.json"


@dataclass(frozen=True)
class EnvironmentMeta:
    """What is known of a finished environment; ``meta.json``.

    python: full version. interpreter: its executable outside. binds: directories a session's sandbox must show at
    their own path. packages: ``name==version`` as installed. editable: the repository's project is installed in
    editable mode, from `sandbox.REPOSITORY`.
    """

    mode: str
    python: str
    interpreter: str
    binds: tuple[str, ...]
    lock: str
    packages: tuple[str, ...]
    editable: bool
    size_bytes: int

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> EnvironmentMeta:
        """The inverse of ``asdict``; KeyError or TypeError when it is something else."""
        return cls(**{**body, "binds": tuple(body["binds"]), "packages": tuple(body["packages"])})


class EnvironmentStore:
    """The directory of finished environments. What is in it under a reference is complete and never changes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def path(self, reference: str) -> Path:
        """Where an environment is. ValueError when ``reference`` is not one of ours."""
        if not _REFERENCE.fullmatch(reference):
            raise ValueError("not a reference to an environment")
        return self._directory / reference

    def meta(self, reference: str) -> EnvironmentMeta | None:
        """What is known of an environment; None when it is not there or not usable, its Python gone for example."""
        if not _REFERENCE.fullmatch(reference):
            return None
        try:
            meta = EnvironmentMeta.from_json(json.loads((self.path(reference) / _META).read_bytes()))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return meta if Path(meta.interpreter).exists() else None

    def built(self, reference: str) -> BuiltEnvironment | None:
        """An environment as sessions need it, or None."""
        meta = self.meta(reference)
        if meta is None:
            return None
        return BuiltEnvironment(reference, meta.lock, SessionMode(meta.mode), meta.python, meta.size_bytes)

    def references(self) -> frozenset[str]:
        """Every environment that is present."""
        try:
            return frozenset(path.name for path in self._directory.iterdir() if _REFERENCE.fullmatch(path.name))
        except FileNotFoundError:
            return frozenset()

    def publish(self, reference: str, staging: Path, meta: EnvironmentMeta, lock: str) -> BuiltEnvironment:
        """Move a finished environment in place, whole or not at all. An environment already there wins."""
        with (staging / _META).open("x", encoding="utf-8") as file:
            json.dump({**asdict(meta), "size_bytes": disk_usage(staging)}, file)
            file.flush()
            os.fsync(file.fileno())
        (staging / "lock.txt").write_text(lock, encoding="utf-8")
        staging.chmod(0o755)
        self._directory.mkdir(parents=True, exist_ok=True)
        target = self.path(reference)
        if target.exists() and self.built(reference) is None:
            remove_tree(target)  # its interpreter is gone
        if not target.exists():
            self._move(staging, target)
        built = self.built(reference)
        if built is None:
            raise OSError("the environment cannot be read back")
        return built

    def _move(self, staging: Path, target: Path) -> None:
        try:
            staging.rename(target)
        except OSError:
            # Another file system: copy beside the target first, so that the last step is a rename again.
            beside = self._directory / f".publishing-{staging.name}"
            remove_tree(beside)
            shutil.copytree(staging, beside, symlinks=True)
            beside.rename(target)
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, reference: str) -> None:
        """Delete an environment. Nothing there is fine."""
        if _REFERENCE.fullmatch(reference):
            remove_tree(self.path(reference))

    def sweep(self) -> None:
        """Finish deletions that a crash cut short."""
        for pattern in (".removing-*", ".publishing-*"):
            for path in self._directory.glob(pattern):
                remove_tree(path)
