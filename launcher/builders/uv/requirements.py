"""Requirements files as pip reads them, written the way uv reads them.

uv takes a few forms for errors that pip accepts (and mybinder.org therefore builds): ``-rfile`` in one word, editable
installs from version control, lines continued in the middle of an option, and options that only pip's old installer
knew. Everything else is left as it is.
"""

from __future__ import annotations

import re

from launcher.environments.requirements import logical_lines, options_of
from launcher.errors import RecipeInvalid

_INCLUDES = {"-r": "-r", "--requirement": "-r", "-c": "-c", "--constraint": "-c"}
_EDITABLE = frozenset({"-e", "--editable"})
_VERSION_CONTROL = re.compile(r"(?:git|hg|svn|bzr)\+")
_EGG = re.compile(r"[#&]egg=([A-Za-z0-9][A-Za-z0-9._-]*(?:\[[^\]]*\])?)")
_UNKNOWN_TO_UV = frozenset({
    "--global-option", "--install-option", "--config-settings", "--config-setting", "-C", "--use-pep517",
    "--always-unzip", "-Z", "--use-wheel", "--no-use-wheel", "--use-feature", "--prefer-binary",
    "--process-dependency-links",
})  # fmt: skip
_OPTION_BEHIND = re.compile(r"\s(--[a-z-]+)(?:[ =](?:\"[^\"]*\"|'[^']*'|\S+))?")


def for_uv(text: str) -> str:
    """The same requirements on the same lines. A line that nobody understands stays for uv to refuse."""
    lines: list[str] = []
    for number, line in logical_lines(text):
        lines += [""] * (number - 1 - len(lines))  # uv's complaints name the line that the person wrote
        try:
            lines += _line(line, f"Line {number}").splitlines()
        except RecipeInvalid:
            lines.append(line)
    return "".join(f"{line}\n" for line in lines)


def _line(line: str, where: str) -> str:
    if not line.startswith("-"):
        return _OPTION_BEHIND.sub(lambda match: "" if match[1] in _UNKNOWN_TO_UV else match[0], line)
    return "\n".join(filter(None, (_option(name, value) for name, value in options_of(line, where))))


def _option(name: str, value: str) -> str:
    if name in _UNKNOWN_TO_UV:
        return ""
    if name in _INCLUDES:
        return f"{_INCLUDES[name]} {value}"
    if name in _EDITABLE and _VERSION_CONTROL.match(value):
        # Nobody can edit what lies in a read-only environment: an ordinary install gives the same package.
        egg = _EGG.search(value)
        return f"{egg[1]} @ {value.partition('#')[0]}" if egg else value
    return f"{'-e' if name in _EDITABLE else name} {value}".strip()
