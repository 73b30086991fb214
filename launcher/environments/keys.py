"""The environment key: which recipes may share an environment."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from launcher.models import EnvironmentKey, Recipe

_FORMAT = "launcher environment key 1"
"""Changes with the meaning of any field, so that keys of two meanings never meet."""


def environment_key(recipe: Recipe, fingerprint: str) -> EnvironmentKey:
    """The sha256 (hex) of everything an environment may depend on.

    Same recipe and fingerprint, same key; any other file, id, Python, option or fingerprint, another key. Every field
    is written with its name and length, so no two recipes are written alike. What ``start`` holds and that it is there
    are not part of it: it runs when a session starts, from the session's own content.

    ``fingerprint`` is `launcher.builders.base.Builder.fingerprint`: base and builder version.
    """
    digest = hashlib.sha256()
    for name, value in _fields(recipe, fingerprint):
        for text in (name, value):
            data = text.encode("utf-8", "surrogatepass")  # names in git are bytes, not always UTF-8
            digest.update(f"{len(data)}:".encode())
            digest.update(data)
    return EnvironmentKey(digest.hexdigest())


def _fields(recipe: Recipe, fingerprint: str) -> Iterable[tuple[str, str]]:
    yield "format", _FORMAT
    yield "fingerprint", fingerprint
    yield "kind", recipe.kind.value
    yield "directory", recipe.directory
    for name, value in (
        ("main", recipe.main),
        ("python", recipe.python),
        ("apt", recipe.apt),
        ("post_build", recipe.post_build),
        ("tree", recipe.tree),
    ):
        if value is not None:  # absent and empty are two things
            yield name, value
    yield "installs_project", str(recipe.installs_project)
    yield "editable", str(recipe.editable)
    for path, blob in sorted(recipe.files.items()):
        yield "file", path
        yield "blob", blob
    for option, value in sorted(recipe.options.items()):
        yield "option", option
        yield "value", value
