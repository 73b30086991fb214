"""repo2docker in a process of its own: ``python render.py ANSWER`` in the directory of the checked-out files.

It reads the files and writes the context that it would have an engine build, with the Dockerfile in it, to ``ANSWER``.
No engine is spoken to, and no code of the repository runs. What to do is in the environment: ``R2D_BASE_IMAGE``,
``R2D_REPO_DIR``. Ends with status 0, or with repo2docker's own words on its error output.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any

from repo2docker.app import Repo2Docker
from repo2docker.contentproviders import Local
from repo2docker.engine import ContainerEngine


class Keeper(ContainerEngine):  # type: ignore[misc]  # repo2docker has no types
    """An engine that keeps what it is given."""

    string_output = True
    answer = ""

    def inspect_image(self, image: str) -> None:
        """No image is there."""

    def build(self, *, fileobj: Any = None, **_: Any) -> Iterator[str]:
        """Keep the context of a build."""
        if fileobj is None:
            raise ValueError("only what repo2docker renders itself is built here")
        with open(self.answer, "wb") as file:  # noqa: PTH123 - a name from the command line
            shutil.copyfileobj(fileobj, file)
        yield ""


class App(Repo2Docker):  # type: ignore[misc]
    """repo2docker with that engine."""

    def get_engine(self) -> Keeper:
        """Our engine, whatever is installed."""
        return Keeper(parent=self)


def main(answer: str) -> int:
    """Render the files of the working directory."""
    Keeper.answer = answer
    app = App()
    app.initialize([])
    app.repo, app.ref = os.getcwd(), None  # noqa: PTH109 - as repo2docker wants it
    app.content_providers = [Local]
    app.base_image = os.environ["R2D_BASE_IMAGE"]
    app.target_repo_dir = os.environ["R2D_REPO_DIR"]
    app.output_image_spec = "launcher"
    app.user_id, app.user_name = 1000, "jovyan"
    app.run = app.push = False
    app.build()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
