"""Reading a repository's recipe: which file decides, what it can reach, which Python it wants.

``d`` below is the environment directory: ``.binder/``, ``binder/`` or the root (`locations`). The first line that
applies decides `Recipe.kind`, in repo2docker's order; files new beside it come where no existing Binder repository
changes its meaning.

===============================  ====================  =============================================================
found                            kind                  what is installed
===============================  ====================  =============================================================
d/Dockerfile                     DOCKERFILE            the image; every other recipe file is ignored
d/Project.toml, JuliaProject     JULIA                 (JuliaProject.toml is ``main`` when both are there)
d/REQUIRE                        --                    RecipeInvalid: Julia's old format
d/default.nix                    NIX                   apt.txt, postBuild and start count beside it
d/runtime.txt is ``r-…-date``    R                     as is DESCRIPTION in a root without binder directory
d/environment.yml, .yaml         CONDA                 requirements.txt and the project are ignored
d/runtime.txt is ``r-version``   R                     mybinder.org would quietly give a Python
d/Pipfile.lock, Pipfile          PIPFILE_LOCK, …       default and development packages
d/requirements.txt               REQUIREMENTS          and the project in the root, as for SETUP_PY and PYPROJECT
d/uv.lock with pyproject.toml    UV_LOCK               new: the lock as ``uv sync`` reads it, and the session group
d/pylock.toml                    PYLOCK                new: the lock, and the project in the root
setup.py                         SETUP_PY              the project (only in the root, without binder directory)
pyproject.toml                   PYPROJECT             the project when it has [build-system], else its dependencies,
                                                       which is new; and the session group
d/pyproject.toml                 DEPENDENCY_GROUP      new: no [project], but a session group
nothing of these                 NONE                  Python
===============================  ====================  =============================================================

The *session group* is the dependency group (PEP 735) ``binder``, else ``notebook``. A pyproject.toml in a binder
directory counts (new): it describes the environment and is never built.

`Recipe.options`, beside the fields:

``groups``
    comma-separated dependency groups to install, nothing else (for UV_LOCK with ``--no-default-groups``).
``projects``
    line-separated directories of local projects that ``main`` itself names, ``.`` being the root.
``implicit``
    ``"."``: ``main`` does not name the root project and the builder installs it after ``main``, plainly.
``notebooks_only_below``
    line-separated top-level directories: notebooks elsewhere are kept from the build, see `notebooks`. When the option
    is not there, a build sees them all.
``dask``
    ``"yes"``: Dask's packages are added. No file says so: a person or the operator does, see `additions`.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field, replace

from launcher.environments.conda import conda_reaches_files
from launcher.environments.locations import environment_directory
from launcher.environments.locks import follow_pylock, follow_uv_lock
from launcher.environments.notebooks import directories_keeping_notebooks, seen_tree
from launcher.environments.pipfile import follow_pipfile, pipfile_python
from launcher.environments.pyproject import Pyproject, follow_pyproject, read_pyproject
from launcher.environments.python_version import choose, pinned_version
from launcher.environments.reach import Reach
from launcher.environments.repository_files import RepositoryFiles
from launcher.environments.requirements import follow_requirements
from launcher.environments.runtime_txt import Runtime, parse_runtime
from launcher.errors import RecipeInvalid
from launcher.models import Recipe, RecipeKind
from launcher.sources.base import Tree

_PYTHON_KINDS = frozenset({
    RecipeKind.REQUIREMENTS, RecipeKind.PYPROJECT, RecipeKind.SETUP_PY, RecipeKind.UV_LOCK, RecipeKind.PYLOCK,
    RecipeKind.DEPENDENCY_GROUP, RecipeKind.NONE,
})  # fmt: skip
_WHOLE_REPOSITORY = frozenset({RecipeKind.DOCKERFILE, RecipeKind.JULIA, RecipeKind.NIX, RecipeKind.R})
_BESIDE = {
    RecipeKind.JULIA: ("Manifest.toml", "JuliaManifest.toml"),
    RecipeKind.R: ("install.R", "DESCRIPTION"),
    RecipeKind.PIPFILE_LOCK: ("Pipfile",),
    RecipeKind.UV_LOCK: ("pyproject.toml", "uv.toml", ".python-version"),
}
"""Files that belong to the one that decides."""


def detect(tree: Tree) -> Recipe:
    """The recipe of a commit. Reads git objects only; runs nothing and asks nobody.

    Takes up to seconds for hostile files: call it in a thread.

    Raises RecipeInvalid when a recipe file cannot be read as what its name says, contradicts another, names a file
    that is missing or outside the repository, or is a symlink; SourceTooLarge for files of absurd size.
    """
    reader = _Reader(RepositoryFiles(tree))
    return reader.recipe()


@dataclass
class _Reader:
    """One reading of one commit; every step adds to ``reach`` and ``options``."""

    files: RepositoryFiles
    options: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.directory = environment_directory(self.files)
        self.reach = Reach(self.files)
        self.locked_python: tuple[str, str] | None = None

    def recipe(self) -> Recipe:
        if main := self._find("Dockerfile"):
            self.reach.add_file(main)
            return Recipe(RecipeKind.DOCKERFILE, self.directory, main, files=self.reach.files, tree=self.files.tree.id)
        kind, main, runtime = self._decide()
        self._follow(kind, main)
        for name in ("apt.txt", "postBuild", "runtime.txt", *_BESIDE.get(kind, ())):
            if path := self._find(name):
                self.reach.add_file(path)
        self._note_projects(kind)
        post_build = self._find("postBuild")
        recipe = Recipe(
            kind=kind,
            directory=self.directory,
            main=main,
            files=dict(sorted(self.reach.files.items())),
            python=self._python(kind, runtime),
            apt=self._find("apt.txt"),
            post_build=post_build,
            start=self._find("start"),
            installs_project="" in self.reach.projects,
            editable=self.reach.projects.get("", False),
            tree=self.files.tree.id if post_build or self._reaches_more(kind) else None,
            options=dict(sorted(self.options.items())),
        )
        return self._without_notebooks(recipe)

    # -- which file decides

    def _decide(self) -> tuple[RecipeKind, str | None, Runtime | None]:
        for name in ("JuliaProject.toml", "Project.toml"):
            if main := self._find(name):
                return RecipeKind.JULIA, main, None
        if self._find("REQUIRE"):
            raise RecipeInvalid("REQUIRE is a format Julia gave up.", hint="Describe the packages in Project.toml.")
        if main := self._find("default.nix"):
            return RecipeKind.NIX, main, None
        runtime = self._runtime()
        kind, main = self._decide_by_language(runtime)
        return kind, main, runtime

    def _decide_by_language(self, runtime: Runtime | None) -> tuple[RecipeKind, str | None]:
        wants_r = runtime is not None and runtime.name == "r"
        if runtime is not None and wants_r and runtime.date is not None:
            return RecipeKind.R, self._find("runtime.txt")
        if not self.directory and self.files.has("DESCRIPTION"):
            return RecipeKind.R, "DESCRIPTION"
        for name in ("environment.yml", "environment.yaml"):
            if main := self._find(name):
                return RecipeKind.CONDA, main
        if wants_r:
            return RecipeKind.R, self._find("runtime.txt")
        for name, kind in (
            ("Pipfile.lock", RecipeKind.PIPFILE_LOCK),
            ("Pipfile", RecipeKind.PIPFILE),
            ("requirements.txt", RecipeKind.REQUIREMENTS),
        ):
            if main := self._find(name):
                return kind, main
        return self._decide_by_project()

    def _decide_by_project(self) -> tuple[RecipeKind, str | None]:
        lock, pyproject = self._find("uv.lock"), self._pyproject
        if lock and pyproject:
            return RecipeKind.UV_LOCK, lock
        if main := self._find("pylock.toml"):
            return RecipeKind.PYLOCK, main
        if not self.directory and self.files.has("setup.py"):
            return RecipeKind.SETUP_PY, "setup.py"
        if pyproject and pyproject.is_recipe:
            kind = RecipeKind.PYPROJECT if pyproject.is_project else RecipeKind.DEPENDENCY_GROUP
            return kind, pyproject.path
        if lock:
            raise RecipeInvalid(
                f"{lock} has no pyproject.toml beside it.", hint="Add the pyproject.toml the lock was made from."
            )
        return RecipeKind.NONE, None

    # -- what it reaches

    def _follow(self, kind: RecipeKind, main: str | None) -> None:
        if main is None:
            return
        self.reach.add_file(main)
        if kind is RecipeKind.REQUIREMENTS:
            follow_requirements(main, self.reach)
        elif kind in {RecipeKind.PIPFILE, RecipeKind.PIPFILE_LOCK}:
            follow_pipfile(main, self.reach)
        elif kind is RecipeKind.CONDA:
            self.reach.anything = conda_reaches_files(self.files.text(main))
        elif kind is RecipeKind.PYLOCK and (python := follow_pylock(main, self.reach)):
            self.locked_python = (python, main)
        elif kind is RecipeKind.UV_LOCK:
            self._follow_uv_lock(main)
        elif kind in {RecipeKind.PYPROJECT, RecipeKind.DEPENDENCY_GROUP} and self._pyproject:
            follow_pyproject(self._pyproject, self.reach)
            self._choose_groups(self._pyproject)

    def _follow_uv_lock(self, main: str) -> None:
        if python := follow_uv_lock(main, self.reach):
            self.locked_python = (python, main)
        if self._pyproject is None:
            return
        self._choose_groups(self._pyproject, *self._pyproject.default_groups())
        if self._pyproject.table("tool", "uv").get("workspace") is not None:
            self.reach.anything = True  # uv reads every member's pyproject.toml

    def _choose_groups(self, pyproject: Pyproject, *groups: str) -> None:
        session = [pyproject.session_group] if pyproject.session_group else []
        if chosen := dict.fromkeys([*groups, *session]):
            self.options["groups"] = ",".join(chosen)

    def _note_projects(self, kind: RecipeKind) -> None:
        if named := sorted(path or "." for path in self.reach.projects):
            self.options["projects"] = "\n".join(named)
        implied = kind in {RecipeKind.REQUIREMENTS, RecipeKind.PYLOCK, RecipeKind.SETUP_PY, RecipeKind.PYPROJECT}
        if implied and self._root_is_project(kind) and "" not in self.reach.projects:
            self.reach.add_project("", editable=False)
            self.options["implicit"] = "."

    def _root_is_project(self, kind: RecipeKind) -> bool:
        """What mybinder.org installs with ``pip install .``: never when there is a binder directory."""
        if self.directory:
            return False
        if self.files.has("setup.py"):
            return True
        if self._pyproject is None:
            return False
        return self._pyproject.needs_building if kind is RecipeKind.PYPROJECT else self._pyproject.buildable

    def _reaches_more(self, kind: RecipeKind) -> bool:
        """Whether more than the named files can matter."""
        return kind in _WHOLE_REPOSITORY or self.reach.anything or bool(self.reach.projects)

    def _without_notebooks(self, recipe: Recipe) -> Recipe:
        """The recipe with a narrower `Recipe.tree` when only the root project needs one and wants no notebooks."""
        only_root = (
            set(self.reach.projects) == {""} and not self.reach.anything and recipe.kind not in _WHOLE_REPOSITORY
        )
        keeping = directories_keeping_notebooks(self.files) if only_root and not recipe.post_build else None
        if keeping is None:
            return recipe
        recipe = replace(recipe, options={**recipe.options, "notebooks_only_below": "\n".join(keeping)})
        return replace(recipe, tree=seen_tree(self.files, recipe.sees))

    # -- which Python

    def _python(self, kind: RecipeKind, runtime: Runtime | None) -> str | None:
        exact = None
        if runtime is not None and runtime.name == "python" and runtime.version:
            exact = (runtime.version, posixpath.join(self.directory, "runtime.txt"))
        if kind in {RecipeKind.PIPFILE, RecipeKind.PIPFILE_LOCK}:
            lock, pipfile = (posixpath.join(self.directory, name) for name in ("Pipfile.lock", "Pipfile"))
            return choose(pipfile_python(self.files, lock, pipfile) or exact, None)
        if kind not in _PYTHON_KINDS:
            return None
        if exact is None and kind is RecipeKind.UV_LOCK and (path := self._find(".python-version")):
            version = pinned_version(self.files.text(path))
            exact = (version, path) if version else None
        return choose(exact, self._allowed())

    def _allowed(self) -> tuple[str, str] | None:
        """The range of Pythons: of the lock, which was made for it, else of pyproject.toml."""
        if self.locked_python:
            return self.locked_python
        if self._pyproject and self._pyproject.requires_python:
            return self._pyproject.requires_python, self._pyproject.path
        return None

    # -- files

    def _find(self, name: str) -> str | None:
        path = posixpath.join(self.directory, name)
        return path if self.files.has(path) else None

    def _runtime(self) -> Runtime | None:
        path = self._find("runtime.txt")
        return parse_runtime(self.files.text(path), path) if path else None

    @property
    def _pyproject(self) -> Pyproject | None:
        if not hasattr(self, "_read_pyproject"):
            path = self._find("pyproject.toml")
            self._read_pyproject = read_pyproject(self.files, path) if path else None
        return self._read_pyproject
