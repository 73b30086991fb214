"""repo2docker as it is: what it says about a repository becomes steps of ours, and its complaints sentences."""

import asyncio
from datetime import UTC, datetime

import psutil
import pytest

from launcher.builders.container.config import ContainerBuilderConfig
from launcher.builders.container.dockerfile.bases import Bases
from launcher.builders.container.dockerfile.checkout import check_out
from launcher.builders.container.dockerfile.context import Context, Copy
from launcher.builders.container.dockerfile.instructions import read_dockerfile
from launcher.builders.container.dockerfile.way import check_images
from launcher.builders.container.site import Site
from launcher.builders.container.stock import way
from launcher.builders.container.stock.way import Rendering, StockWay, dockerfile_of, failure
from launcher.builders.uv.egress import EgressMode
from launcher.builders.uv.limits import BuildLimits
from launcher.engine.base import Image
from launcher.engine.base_image import REPOSITORY
from launcher.errors import BuildFailed, RecipeInvalid
from launcher.models import Recipe, RecipeKind
from tests.support.builds import MemoryLog, request
from tests.support.running import eventually

BASE = Image("sha256:" + "0" * 64, (), (), {}, 1, datetime.now(UTC), (), {}, "")


@pytest.fixture
def rendered(tmp_path):
    """The Dockerfile and the context that repo2docker makes of some files."""
    config = ContainerBuilderConfig.from_environment(tmp_path / "state", {}, egress=EgressMode.NONE)

    async def _rendered(files, kind, main):
        wanted = request(tmp_path, files, kind, main, tree="0" * 40)
        place = config.work / wanted.build_id
        await check_out(wanted, place / "repository", links=False, limits=BuildLimits())
        await Rendering(config, place).render(wanted.recipe, MemoryLog())
        return dockerfile_of(place / "context.tar"), place / "context.tar"

    return _rendered


@pytest.mark.parametrize(
    ("files", "kind", "said"),
    [
        ({"environment.yml": "dependencies: [python=3.11, numpy]\n"}, RecipeKind.CONDA, "env update"),
        ({"binder/environment.yml": "dependencies: [r-base]\n"}, RecipeKind.CONDA, "rstudio"),
        ({"default.nix": "{}\n", "postBuild": "#!/bin/sh\ntrue\n"}, RecipeKind.NIX, "nix-shell"),
    ],
)
async def test_every_step_that_it_asks_for_is_understood(rendered, files, kind, said):
    files = {"apt.txt": "curl\n", "start": '#!/bin/sh\nexec "$@"\n', "data.txt": "x\n", **files}
    text, archive = await rendered(files, kind, next(iter(set(files) & {"environment.yml", "default.nix"}), None))
    dockerfile = read_dockerfile(text, "Dockerfile", {"NB_USER": "jovyan"})
    check_images(dockerfile, "Dockerfile", Bases(BASE, ()))
    (stage,) = dockerfile.stages
    assert stage.base == REPOSITORY
    assert stage.instructions[0].value == "root", "repo2docker expects to begin as root"
    assert said in text.lower()
    context = Context(archive)
    try:
        for one in stage.instructions:
            if one.name == "COPY":  # every file that a step copies is there
                *sources, _ = one.value.split()
                assert context.select(Copy(tuple(sources), "/x"), into_directory=True).members
    finally:
        context.close()


async def test_what_it_looks_up_and_cannot_reach_is_a_sentence(rendered):
    with pytest.raises(BuildFailed, match="cannot be looked up"):
        await rendered({"Project.toml": "[deps]\n"}, RecipeKind.JULIA, "Project.toml")


async def test_what_it_cannot_read_is_a_sentence(rendered):
    with pytest.raises(RecipeInvalid, match=r"environment\.yml"):
        await rendered({"environment.yml": "- just\n- a list\n"}, RecipeKind.CONDA, "environment.yml")


def test_its_last_word_is_the_reason():
    told = failure(Recipe(RecipeKind.R, main="runtime.txt"), "Traceback\n  File x\nValueError: no such R\n")
    assert told.message == "repo2docker cannot read runtime.txt: no such R."


def test_it_takes_what_no_other_way_takes(tmp_path):
    way = StockWay(Site(None, BASE, (), None), ContainerBuilderConfig.from_environment(tmp_path, {}))
    assert way.kinds == {RecipeKind.CONDA, RecipeKind.R, RecipeKind.JULIA, RecipeKind.NIX}
    way.check(Recipe(RecipeKind.CONDA, main="environment.yml"))


async def test_a_cancelled_build_ends_repo2docker_too(tmp_path, monkeypatch):
    slow, said = tmp_path / "slow.py", tmp_path / "pid"
    slow.write_text("import os, sys, time\nprint(os.getpid(), file=open('../pid', 'w'), flush=True)\ntime.sleep(60)\n")
    (tmp_path / "repository").mkdir()
    monkeypatch.setattr(way, "_RENDER", slow)
    config = ContainerBuilderConfig.from_environment(tmp_path / "state", {}, egress=EgressMode.NONE)
    task = asyncio.ensure_future(Rendering(config, tmp_path)._run())
    await asyncio.to_thread(
        eventually, lambda: said.exists() and said.read_text().endswith("\n"), what="repo2docker's first word"
    )
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    eventually(lambda: not psutil.pid_exists(int(said.read_text())), what="the end of repo2docker")
