"""What the recipe reader says is enough is enough for uv itself: resolved offline, with nothing else on the disk."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from uv import find_uv_bin

from launcher.environments import detect, visible_files
from tests.unit.environments.trees import MemoryTree


def wheel(path: Path) -> bytes:
    """The smallest wheel of a package ``foo``."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("foo-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: foo\nVersion: 1\n")
        archive.writestr("foo-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("foo-1.dist-info/RECORD", "")
    return path.read_bytes()


def project(name: str) -> str:
    return (
        f'[project]\nname = "{name}"\nversion = "1"\n'
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
    )


@pytest.mark.parametrize(
    ("line", "installed"),
    [
        ("-r deep/base.txt", {"foo", "pkg"}),
        ("-r deep/base.txt\n-c pins.txt", {"foo", "pkg"}),
        ("--requirement=deep/more.txt", {"foo"}),
        ("./wheels/foo-1-py3-none-any.whl", {"foo"}),
        ("wheels/foo-1-py3-none-any.whl ; python_version > '3'", {"foo"}),
        ("foo @ ./wheels/foo-1-py3-none-any.whl", {"foo"}),
        ("foo @ file:wheels/foo-1-py3-none-any.whl", {"foo"}),
        ("--no-index\n--find-links ../wheels\nfoo", {"foo"}),
        ("./pkg", {"pkg"}),
        ("-e ./pkg", {"pkg"}),
        ("-e pkg", {"pkg"}),
        ("pkg @ pkg", {"pkg"}),
        ("pkg @ file://./pkg", {"pkg"}),
        ("-e .", {"root"}),
        ("root @ .", {"root"}),
    ],
)
def test_uv_finds_all_it_needs_among_the_visible_files(tmp_path, line, installed):
    tree = MemoryTree({
        "binder/requirements.txt": line + "\n",
        "binder/deep/base.txt": "-r more.txt\n./pkg\n",
        "binder/deep/more.txt": "./wheels/foo-1-py3-none-any.whl\n-c ../pins.txt\n",
        "binder/pins.txt": "foo==1\n",
        "wheels/foo-1-py3-none-any.whl": wheel(tmp_path / "foo.whl"),
        "pkg/pyproject.toml": project("pkg"),
        "pyproject.toml": project("root"),
        "index.ipynb": "{}",
    })  # fmt: skip
    repository = tmp_path / "repository"
    for path in visible_files(detect(tree), tree):
        (repository / path).parent.mkdir(parents=True, exist_ok=True)
        (repository / path).write_bytes(tree.read(path))
    command = [
        find_uv_bin(), "pip", "install", "--dry-run", "--offline", "--no-config", "--no-deps", "--no-cache",
        "--python", sys.executable, "--target", str(tmp_path / "target"), "-r", "binder/requirements.txt",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {line.split()[1].split("==")[0] for line in done.stderr.splitlines() if line.startswith(" + ")}
    assert found == installed
