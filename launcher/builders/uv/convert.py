"""Lock and requirement files that uv does not resolve, as requirements: Pipfile, Pipfile.lock, pylock.toml.

Pure functions of a file's text; every one raises RecipeInvalid when the text is not what its name says.
"""

from __future__ import annotations

import functools
import json
import posixpath
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import Version

from launcher.errors import RecipeInvalid

_HASH = re.compile(r"[a-z0-9]{1,20}:[A-Za-z0-9_=-]{1,200}")


def _hash(value: Any) -> str:
    """A hash option; ValueError when it is none."""
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise ValueError("not a hash")
    return f"--hash={value}"


def _path(entry: Mapping[str, Any]) -> str:
    """A path entry of either format as a line; ValueError when it is none."""
    path = entry.get("path", ".")
    if not isinstance(path, str) or not path.isprintable():
        raise ValueError("not a path")
    return f"{'-e ' if entry.get('editable') else ''}./{path.removeprefix('./')}"


def _refusing(convert: Callable[..., str]) -> Callable[..., str]:
    """Files of others have every shape: whatever a converter stumbles over is the file's fault."""

    @functools.wraps(convert)
    def converted(name: str, text: str, *more: Any) -> str:
        try:
            return convert(name, text, *more)
        except (TypeError, KeyError, AttributeError, ValueError, RecursionError) as error:
            raise _invalid(name, "has an entry that cannot be read") from error

    return converted


def marker_environment(version: Version) -> dict[str, str]:
    """What markers mean for a Python of this machine."""
    return {"python_version": f"{version.major}.{version.minor}", "python_full_version": str(version)}


@_refusing
def pipfile(name: str, text: str) -> str:
    """The packages and development packages of a Pipfile (`pipenv install --dev --skip-lock`)."""
    body = _toml(name, text)
    sections = {**_table(name, body, "packages"), **_table(name, body, "dev-packages")}
    return _lines(name, sections, _sources(name, body.get("source", [])))


@_refusing
def pipfile_lock(name: str, text: str) -> str:
    """The locked packages of a Pipfile.lock with their hashes."""
    try:
        body = json.loads(text)
    except ValueError as error:
        raise _invalid(name, "is not JSON") from error
    if not isinstance(body, dict):
        raise _invalid(name, "is not an object")
    sections = {**_table(name, body, "default"), **_table(name, body, "develop")}
    meta = _table(name, body, "_meta")
    return _lines(name, sections, _sources(name, meta.get("sources", [])))


@_refusing
def pylock(name: str, text: str, environment: Mapping[str, str]) -> str:
    """The packages of a pylock.toml (PEP 751) that apply to this machine, with the hashes of their files."""
    body = _toml(name, text)
    packages = body.get("packages", [])
    if str(body.get("lock-version", "")).split(".")[0] != "1" or not isinstance(packages, list):
        raise _invalid(name, "is not a lock of version 1")
    indexes = [{"url": package["index"]} for package in packages if isinstance(package, dict) and "index" in package]
    return index_lines(name, indexes) + "".join(_pylock_line(name, package, environment) for package in packages)


def anchored(text: str, directory: PurePosixPath) -> str:
    """The requirements with paths of their own directory made absolute: they are read from somewhere else."""
    start = re.compile(r"^((?:-e |--editable )?)((?:\.\.?(?:/|$))[^\n]*|\.$)", re.MULTILINE)
    return start.sub(lambda match: f"{match[1]}{posixpath.normpath(str(directory / match[2].strip()))}", text)


def _pylock_line(name: str, package: Any, environment: Mapping[str, str]) -> str:
    if not isinstance(package, dict) or not isinstance(package.get("name"), str):
        raise _invalid(name, "has a package without a name")
    try:
        marker = package.get("marker")
        if marker is not None and not Marker(marker).evaluate({**environment, "extra": ""}):
            return ""
    except (InvalidMarker, TypeError) as error:
        raise _invalid(name, f"has a marker of {package['name']} that cannot be read") from error
    if "directory" in package:
        return _path(package["directory"]) + "\n"
    if "vcs" in package:
        vcs = package["vcs"]
        return _checked(name, f"{package['name']} @ {vcs['type']}+{vcs.get('url', '')}@{vcs['commit-id']}") + "\n"
    if "archive" in package:
        requirement = f"{package['name']} @ {package['archive'].get('url', '')}"
        files = [package["archive"]]
    else:
        requirement = f"{package['name']}=={package.get('version', '')}"
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
    hashes = [_hash(f"{kind}:{value}") for file in files for kind, value in sorted(file.get("hashes", {}).items())]
    return " ".join([_checked(name, requirement), *hashes]) + "\n"


def _lines(name: str, packages: Mapping[str, Any], options: list[str]) -> str:
    return "".join(f"{line}\n" for line in [*options, *(_pipenv_line(name, *item) for item in packages.items())])


def _pipenv_line(name: str, package: str, entry: Any) -> str:
    """One package of pipenv's two formats, which are nearly the same."""
    if isinstance(entry, str):
        entry = {"version": entry}
    if not isinstance(entry, dict):
        raise _invalid(name, f"has an entry for {package} that cannot be read")
    hashes = [_hash(value) for value in entry.get("hashes", [])]
    if "path" in entry:
        return _path(entry)
    extras = f"[{','.join(entry['extras'])}]" if entry.get("extras") else ""
    if "git" in entry:
        ref = f"@{entry['ref']}" if entry.get("ref") else ""
        text = f"{package}{extras} @ git+{entry['git']}{ref}"
    elif "file" in entry:
        text = f"{package}{extras} @ {entry['file']}"
    else:
        version = str(entry.get("version", "*"))
        text = package + extras + ("" if version == "*" else version)
    if entry.get("markers"):
        text += f" ; {entry['markers']}"
    return " ".join([_checked(name, text), *hashes])


def _checked(name: str, text: str) -> str:
    """A requirement that is one: nothing of a file becomes an option or a second line."""
    try:
        return str(Requirement(text))
    except InvalidRequirement as error:
        raise _invalid(name, f"has an entry that is not a requirement: {text[:80]}") from error


def _sources(name: str, sources: Any) -> list[str]:
    entries = sources if isinstance(sources, list) else []
    urls = [str(source.get("url")) for source in entries if isinstance(source, dict)]
    for url in urls:
        if not url.startswith(("https://", "http://")) or url.split() != [url]:
            raise _invalid(name, "has a source that is not a web address")
    # The public index under its usual name is whatever index the operator configured.
    return [f"--extra-index-url {url}" for url in urls if not url.startswith("https://pypi.org/")]


def index_lines(name: str, sources: Any) -> str:
    """Indexes besides the public one as lines of a requirements file. ``sources``: tables with a ``url``."""
    return "".join(f"{line}\n" for line in dict.fromkeys(_sources(name, sources)))


def _table(name: str, body: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = body.get(key, {})
    if not isinstance(value, dict):
        raise _invalid(name, f"has a {key} that is not a table")
    return value


def _toml(name: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _invalid(name, "is not TOML") from error


def _invalid(name: str, what: str) -> RecipeInvalid:
    return RecipeInvalid(f"{name} {what}.", hint="Make the file anew with the tool that wrote it, and commit it.")
