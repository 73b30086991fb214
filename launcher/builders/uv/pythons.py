"""Which Python a recipe gets, of those that a runtime has."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from launcher.errors import PythonUnavailable

QUESTION = (
    "import json, sys, sysconfig; print(json.dumps([list(sys.version_info[:3]), sys.version_info.releaselevel, "
    "sys.implementation.name, sys.base_prefix, sysconfig.get_platform(), sys.executable]))"
)
"""Python that says who it is; `answered` reads it."""
OLDEST = Version("3.8")


@dataclass(frozen=True)
class Interpreter:
    """An installed CPython. ``prefix`` holds everything it needs besides the system's libraries."""

    version: Version
    executable: Path
    prefix: Path
    platform: str

    @property
    def minor(self) -> str:
        """``3.11``."""
        return f"{self.version.major}.{self.version.minor}"

    @property
    def binds(self) -> tuple[Path, ...]:
        """Directories a sandbox must show at their own path: none when the interpreter is part of /usr."""
        candidates = {self.prefix, self.prefix.resolve(), self.executable.parent}
        return tuple(sorted(path for path in candidates if not path.is_relative_to("/usr")))


def answered(answer: str | bytes) -> Interpreter | None:
    """The interpreter behind an answer to `QUESTION`; None when it is too old, unfinished or not CPython.

    Raises ValueError when it is no answer.
    """
    numbers, level, implementation, prefix, platform, _ = json.loads(answer)
    version = Version(".".join(map(str, numbers)))
    if level != "final" or implementation != "cpython" or version < OLDEST:
        return None
    executable = Path(prefix) / "bin" / f"python{numbers[0]}.{numbers[1]}"
    return Interpreter(version, executable, Path(prefix), platform)


def choose(wanted: str | None, interpreters: list[Interpreter]) -> Interpreter:
    """The interpreter for a recipe: the first (ours) when anything goes, else the newest that fits.

    ``wanted``: ``"3"``, ``"3.11"``, ``"3.11.4"`` or a PEP 440 specifier. Raises PythonUnavailable naming what there is.
    """
    specifier = _specifier(wanted)
    fitting = [one for one in interpreters if specifier.contains(one.version)]
    if fitting:
        own = fitting[0] if fitting[0] is interpreters[0] else None
        return own or max(fitting, key=lambda one: one.version)
    minors = sorted({one.minor for one in interpreters}, key=Version)
    raise PythonUnavailable(
        f"This machine has no Python {wanted}.",
        hint=f"It has Python {', '.join(minors)}. Ask for one of these, or ask the operator to install the other.",
    )


def _specifier(wanted: str | None) -> SpecifierSet:
    text = (wanted or "").strip()
    if text and text[0].isdigit():
        text = f"=={text}" if text.count(".") > 1 else f"=={text}.*"
    try:
        return SpecifierSet(text)
    except InvalidSpecifier as error:
        raise PythonUnavailable(
            f"The Python version {wanted!r} is not a version.", hint="Write for example 3.11 or >=3.10."
        ) from error
