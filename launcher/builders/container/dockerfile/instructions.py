"""Reading a Dockerfile: stages and instructions, and what of the language is refused before anything runs."""

from __future__ import annotations

import io
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass

from dockerfile_parse import DockerfileParser

from launcher.builders.container.dockerfile.words import expand
from launcher.errors import RecipeInvalid, RecipeUnsupported

_KNOWN = frozenset({
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER", "RUN",
    "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
})  # fmt: skip
_FLAGS = {
    "FROM": frozenset({"platform"}),
    "RUN": frozenset({"mount", "network"}),
    "COPY": frozenset({"from", "chown", "chmod", "link"}),
    "ADD": frozenset({"chown", "chmod", "link"}),
}
_FLAG = re.compile(r"--([a-z-]+)(?:=(\S*))?\s*")
_DIRECTIVE = re.compile(r"\s*#\s*(\w+)\s*=\s*(\S+)")
_HEREDOC = re.compile(r"<<-?[\"']?\w")
_MOST = 1000
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Instruction:
    """One instruction. ``flags``: what stands before its value as ``--name=value``. ``line`` counts from 1."""

    line: int
    name: str
    flags: Mapping[str, str]
    value: str


@dataclass(frozen=True)
class Stage:
    """What one FROM begins. ``base``: the image or earlier stage it names. ``name``: what later stages call it."""

    base: str
    name: str
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True)
class Dockerfile:
    """``arguments``: those before the first FROM, which stages may declare again."""

    stages: tuple[Stage, ...]
    arguments: Mapping[str, str]


def read_dockerfile(text: str, file: str, given: Mapping[str, str] | None = None) -> Dockerfile:
    """The stages of a Dockerfile. ``given``: arguments of the build, which win over defaults.

    Raises RecipeInvalid for what is no Dockerfile, RecipeUnsupported for what only other builders can or may do.
    """
    _refuse_directives(text, file)
    if "\0" in text:
        raise RecipeInvalid(f"{file} is not a text.")
    lines = DockerfileParser(fileobj=io.BytesIO(text.encode())).structure
    found = [_instruction(one, file) for one in lines if one["instruction"] != "COMMENT"]
    if len(found) > _MOST:
        raise RecipeInvalid(f"{file} has more than {_MOST} instructions.")
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for one in found:
        if one.name == "FROM":
            stages.append(_stage(one, file, arguments, len(stages)))
        elif stages:
            last = stages[-1]
            stages[-1] = Stage(last.base, last.name, (*last.instructions, one))
        elif one.name == "ARG":
            arguments |= argument(one, file, arguments, given or {})
        else:
            raise RecipeInvalid(f"{file} line {one.line}: {one.name} comes before the first FROM.")
    if not stages:
        raise RecipeInvalid(f"{file} has no FROM.")
    return Dockerfile(tuple(stages), arguments)


def argument(one: Instruction, file: str, known: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The name and value that an ARG declares; nothing for one without a value."""
    name, equals, default = one.value.strip().partition("=")
    if not re.fullmatch(r"\w+", name):
        raise RecipeInvalid(f"{file} line {one.line}: {name[:80]!r} is no name of an argument.")
    if name in given:
        return {name: given[name]}
    return {name: expand(default, known)} if equals else {}


def _refuse_directives(text: str, file: str) -> None:
    for line in text.splitlines():
        found = _DIRECTIVE.match(line)
        if found is None:
            return
        name = found[1].lower()
        if name == "syntax":
            raise RecipeUnsupported(
                f"{file} asks for another program that reads it (# syntax={found[2][:80]}).",
                hint="Remove that line; what the usual Dockerfile can say is enough for most.",
            )
        if name == "escape":
            raise RecipeUnsupported(f"{file} changes the escape character.", hint="Use the usual one, and no # escape.")


def _instruction(one: Mapping[str, object], file: str) -> Instruction:
    line, name, value = int(str(one["startline"])) + 1, str(one["instruction"]), str(one["value"] or "").strip()
    if name not in _KNOWN:
        raise RecipeInvalid(f"{file} line {line}: {name[:40]} is not an instruction that is known here.")
    flags: dict[str, str] = {}
    while name in _FLAGS and (found := _FLAG.match(value)):
        _check_flag(name, found[1], found[2] or "", f"{file} line {line}")
        flags[found[1]] = found[2] or ""
        value = value[found.end() :]
    if name in {"RUN", "COPY", "ADD"} and _HEREDOC.search(value):
        raise RecipeUnsupported(
            f"{file} line {line}: {name} with a here-document is not supported.",
            hint="Put the text into a file of the repository and copy or run that.",
        )
    return Instruction(line, name, flags, value)


def _check_flag(instruction: str, name: str, value: str, where: str) -> None:
    allowed = name in _FLAGS[instruction]
    if instruction == "RUN" and name == "mount":  # a cache is only an accelerator: without one the step does the same
        allowed = "type=cache" in value.split(",")
    if instruction == "RUN" and name == "network":
        allowed = value in {"default", "none"}
    if instruction == "FROM" and name == "platform":
        allowed = value in {"linux", f"linux/{_MACHINES.get(platform.machine(), '')}"}
    if not allowed:
        raise RecipeUnsupported(
            f"{where}: {instruction} --{name}{'=' if value else ''}{value[:80]} is not allowed here.",
            hint="Builds run without privileges, without mounts of this machine and without its network.",
        )


def _stage(one: Instruction, file: str, arguments: Mapping[str, str], number: int) -> Stage:
    words = one.value.split()
    named = len(words) == 3 and words[1].lower() == "as"  # noqa: PLR2004 - FROM image AS name
    if not words or not (named or len(words) == 1):
        raise RecipeInvalid(f"{file} line {one.line}: FROM names one image, and AS may name the stage.")
    base = expand(words[0], arguments)
    if not base:
        raise RecipeInvalid(f"{file} line {one.line}: FROM names nothing.", hint="Give the argument a default value.")
    return Stage(base, words[2].lower() if named else str(number), ())
