"""What a recipe can reach: the one collector every reader adds to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from launcher.environments.repository_files import RepositoryFiles, inside, shown
from launcher.errors import RecipeInvalid

MOST_FILES = 1_000
"""A recipe naming more files than this is keyed by the whole repository instead."""

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<rest>.*)", re.DOTALL)
_EXTRAS = re.compile(r"\[[^\[\]]*\]$")


@dataclass
class Reach:
    """Files by name, local projects by directory, and whether the rest of the repository has to be in the key.

    projects: directory of a local project (``""`` is the root) -> whether it is asked for as editable.
    anything: some file that nobody can name beforehand may be read.
    """

    repository: RepositoryFiles
    files: dict[str, str] = field(default_factory=dict)
    projects: dict[str, bool] = field(default_factory=dict)
    anything: bool = False

    def add_file(self, path: str) -> None:
        """A file that is known to be there."""
        self.files[path] = self.repository.blobs[path]
        self.anything = self.anything or len(self.files) > MOST_FILES

    def add_project(self, directory: str, *, editable: bool) -> None:
        """A local project, whose build may read every file of the repository."""
        self.projects[directory] = self.projects.get(directory, False) or editable

    def add_path(self, path: str, *, named_in: str, editable: bool = False, base: str = "") -> None:
        """A local path that an installer is asked to install: an archive, or a project's directory.

        Raises RecipeInvalid when nothing is there or the path leaves the repository.
        """
        if "${" in path:
            self.anything = True
            return
        place = self._inside(path, named_in=named_in, base=base)
        if self.repository.has(place):
            self.add_file(place)
        elif place in self.repository.directories:
            self.add_project(place, editable=editable)
        else:
            raise missing(path, named_in)

    def add_links(self, path: str, *, named_in: str, base: str) -> None:
        """A ``--find-links`` place: every file in that directory; a page of links can point anywhere."""
        if _is_remote(path):
            return
        if "${" in path:
            self.anything = True
            return
        path = _without_file_scheme(path, named_in)
        places = {place for start in (base, "") if (place := inside(path, base=start)) is not None}
        if not places:
            raise leaves(named_in)
        found = {place for place in places if self.repository.has(place) or place in self.repository.directories}
        if not found:
            raise missing(path, named_in)
        for place in found:
            if place in self.repository.blobs or place == "":
                self.anything = True
            for name in self.repository.blobs:
                if name.startswith(f"{place}/"):
                    self.add_file(name)

    def add_url(self, url: str, *, named_in: str, editable: bool = False, base: str = "") -> None:
        """What stands behind ``name @`` or ``-e``: remote places are left to the index of the day, local ones named."""
        if _is_remote(url):
            return
        path = _without_file_scheme(url, named_in).split("#", 1)[0]
        self.add_path(_EXTRAS.sub("", path), named_in=named_in, editable=editable, base=base)

    def _inside(self, path: str, *, named_in: str, base: str) -> str:
        place = inside(path, base=base)
        if place is None:
            raise leaves(named_in)
        return place


def missing(path: str, named_in: str) -> RecipeInvalid:
    """The error for a file or directory that is named and not there."""
    return RecipeInvalid(
        f"{named_in} names {shown(path)}, which is not in the repository.",
        hint="Add the file or correct its name. Packages are looked for from the repository's root, "
        "files behind -r and -c beside the file that names them.",
    )


def leaves(named_in: str) -> RecipeInvalid:
    """The error for a path that is absolute or climbs above the repository."""
    return RecipeInvalid(
        f"{named_in} names a path outside the repository.",
        hint="Only files of the repository can be installed; write paths relative to its root.",
    )


def _is_remote(url: str) -> bool:
    match = _SCHEME.match(url)
    return match is not None and not match["scheme"].lower().endswith("file")


def _without_file_scheme(url: str, named_in: str) -> str:
    """``file:x`` and ``file://./x`` as the path ``x``; RecipeInvalid for places on the machine and local git."""
    match = _SCHEME.match(url)
    if match is None:
        return url
    if match["scheme"].lower() != "file":  # git+file: the build has no git history
        raise leaves(named_in)
    rest = match["rest"]
    if rest.startswith("//") and not rest.startswith("///"):
        host_and_path = rest[2:]
        rest = host_and_path if host_and_path.startswith(".") else rest
    return rest.lstrip("/") if rest.lstrip("/").startswith("${") else rest
