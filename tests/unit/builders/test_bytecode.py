"""Finished environments are compiled beside everything else."""

import asyncio
from pathlib import Path

from launcher.models import RecipeKind
from tests.support.builds import building


async def compiled(venv: Path, name: str) -> Path:
    async with asyncio.timeout(60):
        while True:
            if found := list(venv.glob(f"lib/python*/site-packages/__pycache__/{name}.*.pyc")):  # noqa: ASYNC240 - a look
                return found[0]
            await asyncio.sleep(0.05)


async def test_a_finished_environment_gets_bytecode(tmp_path: Path) -> None:
    with building(tmp_path, compile_bytecode=True) as bench:
        built, _ = await bench.build({"requirements.txt": "alpha\n"}, RecipeKind.REQUIREMENTS, "requirements.txt")
        venv = bench.config.store / built.reference / "venv"
        assert (await compiled(venv, "alpha")).stat().st_size > 0


async def test_without_the_setting_nothing_is_compiled(tmp_path: Path) -> None:
    with building(tmp_path) as bench:
        await bench.build({"requirements.txt": "alpha\n"}, RecipeKind.REQUIREMENTS, "requirements.txt")
        assert [task for task in asyncio.all_tasks() if task.get_name().startswith("bytecode")] == []
