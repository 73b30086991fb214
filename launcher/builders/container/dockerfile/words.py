"""Variables and words in the values of a Dockerfile's instructions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from dockerfile_parse.util import WordSplitter, extract_key_values

from launcher.errors import RecipeInvalid

_LONGEST = 128 * 1024  # of one word, as the kernel has it
_VARIABLE = re.compile(r"\\(\$)|\$(?:(\w+)|\{(\w+)(?::([-+])([^{}]*))?\})")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """The text with ``$name``, ``${name}``, ``${name:-otherwise}`` and ``${name:+instead}`` replaced.

    Raises RecipeInvalid for what becomes too long: twice itself in every line would soon be all memory there is.
    """
    length = len(text)

    def value(found: re.Match[str]) -> str:
        nonlocal length
        if found[1]:
            return "$"
        known = variables.get(found[2] or found[3], "")
        if found[4] == "-":
            known = known or found[5]
        elif found[4] == "+":
            known = found[5] if known else ""
        length += len(known)
        if length > _LONGEST:
            raise RecipeInvalid(f"A value with its variables is longer than {_LONGEST} characters.")
        return known

    return _VARIABLE.sub(value, text)


def words(text: str, variables: Mapping[str, str]) -> list[str]:
    """The words of a value, unquoted, or the strings of its JSON list; variables are replaced."""
    listed = json_list(text)
    found = listed if listed is not None else list(WordSplitter(text).split())
    return [expand(word, variables) for word in found]


def pairs(text: str, variables: Mapping[str, str], where: str) -> dict[str, str]:
    """``name=value …`` or ``name value``, as ENV and LABEL have it. Raises RecipeInvalid."""
    try:
        found = extract_key_values(env_replace=False, args={}, envs={}, instruction_value=text)
    except (ValueError, IndexError) as error:
        raise RecipeInvalid(f"{where} has to be name=value.") from error
    return {name: expand(value, variables) for name, value in found}


def json_list(text: str) -> list[str] | None:
    """The strings of a JSON list; None when the text is something else."""
    if not text.lstrip().startswith("["):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, list) and all(isinstance(word, str) for word in found) else None
