"""The files that Vite made of ``frontend/``: their names hold a hash, and a manifest says which page needs which."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from launcher.errors import ConfigurationInvalid

BUILT = "built"
"""The directory below ``static/``, and the part of the address, of files whose names change with their content."""


class Assets:
    """Which files a page loads, by the name of its entry: ``src/pages/<name>.tsx``.

    manifest: Vite's, by source file. base: URL path of the built files, with a slash at the end.
    """

    def __init__(self, manifest: Mapping[str, Mapping[str, Any]], base: str) -> None:
        self._chunks = manifest
        self._base = base
        self._entries = {chunk["name"]: source for source, chunk in manifest.items() if chunk.get("isEntry")}

    def style(self, name: str = "style") -> str:
        """The URL path of a style sheet that is an entry itself."""
        return self._base + str(self._chunks[self._entries[name]]["file"])

    def tags(self, name: str) -> Markup:
        """The elements of a page's head that load an entry, its styles and what it imports. KeyError when unknown."""
        source = self._entries[name]
        imported = self._imports(source)
        styles = [css for chunk in (*imported, source) for css in self._chunks[chunk].get("css", ())]
        return Markup("\n").join(
            [
                *(Markup('<link rel="stylesheet" href="{}">').format(self._base + css) for css in styles),
                Markup('<script type="module" src="{}"></script>').format(self._base + self._chunks[source]["file"]),
                *(
                    Markup('<link rel="modulepreload" href="{}">').format(self._base + self._chunks[chunk]["file"])
                    for chunk in imported
                ),
            ]
        )

    def _imports(self, source: str) -> list[str]:
        """What an entry imports at once, each chunk once, deepest first."""
        found: dict[str, None] = {}
        for chunk in self._chunks[source].get("imports", ()):
            found |= dict.fromkeys([*self._imports(chunk), chunk])
        return list(found)


@cache
def built_assets(service_prefix: str) -> Assets:
    """The assets of this installation. Raises ConfigurationInvalid when the front end was not built."""
    manifest = files("launcher.web") / "static" / BUILT / "manifest.json"
    try:
        text = manifest.read_text()
    except FileNotFoundError as error:
        raise ConfigurationInvalid(
            "The pages' files are not there.", hint="In a clone run scripts/setup; otherwise install the package anew."
        ) from error
    return Assets(json.loads(text), f"{service_prefix}static/{BUILT}/")
