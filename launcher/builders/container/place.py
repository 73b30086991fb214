"""What all containers of one build have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from launcher.builders.container.site import Site
from launcher.builders.places import HOME
from launcher.builders.uv.limits import MIB
from launcher.builders.uv.runtime import View
from launcher.builders.uv.workspace import Workspace
from launcher.engine.base import Bind, ContainerOrder
from launcher.engine.client import Engine
from launcher.engine.labels import Kind, ours, state_id
from launcher.models import BuildId

_LINKS = "/srv"
"""Where links of views are, all of them: one directory of the build takes its place in the container."""
_MEMORY_SLACK = 64 * MIB
_SHARED_MEMORY_BYTES = 256 * MIB
_USUAL = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": HOME, "USER": "jovyan", "LANG": "C.UTF-8"}


@dataclass(frozen=True)
class Place:
    """Where one build is. ``image``: what its containers start from, the base image or that with its apt.txt."""

    site: Site
    engine: Engine
    workspace: Workspace
    state: Path
    image: str

    @property
    def labels(self) -> dict[str, str]:
        """Of everything that ends with the build."""
        return ours(self.state, Kind.BUILD, build=self.workspace.build_id)

    @property
    def volume(self) -> str:
        """The name of the build's one volume: the cache of wheels as its foreign steps see it."""
        return volume_name(self.state, self.workspace.build_id)

    @property
    def memory_bytes(self) -> int | None:
        """The kernel's limit of a container: above ours, so that reaching ours is noticed and told."""
        limit = self.workspace.config.limits.memory_bytes
        return None if limit is None else limit + _MEMORY_SLACK

    @property
    def _links(self) -> Path:
        return self.workspace.directory("links")

    def make_links(self, view: View) -> None:
        """Make the links of a view, before its container is there. ValueError for one that is not in `_LINKS`."""
        self._links.mkdir(exist_ok=True)
        for inside, pointing_to in view.links:
            (self._links / PurePosixPath(inside).relative_to(_LINKS)).symlink_to(pointing_to)

    def variables(self, view: View) -> Mapping[str, str]:
        """Everything that a step has in its environment besides what the image says."""
        return {**_USUAL, **view.environment}

    def order(self, view: View, command: Sequence[str]) -> ContainerOrder:
        """A container that shows a view. Its layered directory is a volume that somebody must have made."""
        limits = self.workspace.config.limits
        identity = self.site.identity
        return ContainerOrder(
            image=self.image,
            command=tuple(command),
            labels=self.labels,
            environment=self.variables(view),
            working_directory=view.working_directory,
            user=identity.user,
            user_namespace=identity.user_namespace,
            binds=(
                *((Bind(self._links, _LINKS, read_only=False),) if view.links else ()),
                *(Bind(outside, inside) for outside, inside in view.read_only),
                *(Bind(outside, inside, read_only=False) for outside, inside in view.read_write),
                *(Bind(self.volume, one.target, read_only=False) for one in view.layered),
            ),
            memory_bytes=self.memory_bytes,
            shared_memory_bytes=_SHARED_MEMORY_BYTES,
            processes=limits.task_limit,
        )


def without_layers(view: View) -> View:
    """The same view where the engine cannot layer directories: what is shared is not seen, only what is the build's."""
    own = tuple((one.upper, one.target) for one in view.layered)
    return replace(view, layered=(), read_write=(*view.read_write, *own))


def volume_name(state: Path, build_id: BuildId) -> str:
    """What the volume of a build is called; nobody else's is."""
    return f"launcher-{state_id(state)}-{build_id}"
