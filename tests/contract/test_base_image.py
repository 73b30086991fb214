"""The base image, as scripts/setup-tests made it on a real engine."""

from dataclasses import replace

import pytest

from launcher.cli import main
from launcher.engine.bake import make_base_image
from launcher.engine.base import ContainerOrder
from launcher.engine.base_image import INTERPRETER, SERVER_ENVIRONMENT, base_image_name, inputs
from launcher.engine.config import LauncherContainers
from launcher.engine.find import look_for_engine
from launcher.engine.labels import INPUTS, KIND, STATE, Kind, ours
from launcher.engine.prepare import base_image_finding, engine_findings
from launcher.errors import EngineError
from tests.support.engine import SETTINGS, base_image, container_engine, engine  # noqa: F401 - fixtures

LOOK = rf"""
set -e
find / -xdev \( -type f -o -type d \) -perm /6000 2>/dev/null | sed "s/^/privileged: /" || true
find / -xdev -type f -writable -not -path "/home/*" -not -path "/proc/*" 2>/dev/null | sed "s/^/writable: /" || true
id -un; pwd; cat /etc/resolv.conf /etc/hostname 2>/dev/null | grep -c nameserver || true
git --version | cut -d" " -f1,2
{INTERPRETER} -c "import ensurepip, venv; print('venv')"
cd {SERVER_ENVIRONMENT}
bin/python -I -c "import jupyterhub, jupyterlab, dask, sys; print(sys.prefix, jupyterhub.__version__)"
ls share/launcher/dask-panel/share/jupyter/labextensions
find lib -name "serverapp*.pyc" | grep -c jupyter_server
"""


@pytest.fixture
async def look(engine, base_image, tmp_path):  # noqa: F811
    """What a look around inside says."""
    labels = ours(tmp_path, Kind.BUILD)
    more = {"working_directory": "/home/jovyan", "tmpfs": {"/tmp": 2**26}}
    order = ContainerOrder(base_image, ("bash", "-c", LOOK), labels, **more)
    async with engine.run(order) as container:
        return b"".join([piece async for piece in container.output]).decode().splitlines()


async def test_inside_is_our_server_and_nothing_that_makes_anybody_root(look):
    from importlib.metadata import version

    assert look == [
        "jovyan",
        "/home/jovyan",
        "0",
        "git version",
        "venv",
        f"{SERVER_ENVIRONMENT} {version('jupyterhub')}",
        "dask-labextension",
        "1",
    ]


async def test_it_says_what_it_is_and_belongs_to_no_launcher_alone(engine, base_image):  # noqa: F811
    image = await engine.image(base_image)
    assert image.names == (base_image_name(SETTINGS),)
    assert (image.labels[KIND], image.labels[STATE], image.labels[INPUTS]) == ("base", "", inputs(SETTINGS))
    assert image.user == "1000:1000"
    assert image.environment["LANG"] == "C.UTF-8"
    assert image.size < 900 * 10**6
    assert len(image.layers) == 2


async def test_it_is_made_once(engine, base_image, tmp_path):  # noqa: F811
    said = []
    assert (await make_base_image(engine, SETTINGS, tmp_path, said.append)).id == base_image
    assert said == []


async def test_another_one_that_is_not_there_is_named_with_what_to_do(engine, tmp_path):  # noqa: F811
    named = LauncherContainers(base_image="localhost/nobody/made:this").settings()
    with pytest.raises(EngineError) as raised:
        await make_base_image(engine, named, tmp_path, print)
    assert "launcher base-image" in raised.value.hint


def test_the_command_says_its_name_and_makes_it_once(base_image, container_engine, tmp_path, capfd, monkeypatch):  # noqa: F811
    monkeypatch.setenv("DOCKER_HOST", container_engine.url)
    assert main(["base-image", "--state", str(tmp_path)]) == 0
    assert capfd.readouterr() == (f"{base_image_name(SETTINGS)} {base_image}\n", "")


def test_the_check_says_which_engine_there_is_and_whether_the_image_is(base_image, container_engine, tmp_path):  # noqa: F811
    there = replace(SETTINGS, engine=container_engine.url)
    engine_line, limits_line = engine_findings(there, tmp_path)
    assert engine_line.good
    assert "c.LauncherContainers.engine" in engine_line.what
    assert "limits of containers: " in limits_line.what
    assert base_image_finding(there, tmp_path).good
    other = base_image_finding(replace(there, base_packages=("gcc",)), tmp_path)
    assert (other.good, "launcher base-image" in other.hint) == (False, True)


def test_the_check_starts_no_engine_of_our_own_that_was_never_used(container_engine, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    if look_for_engine("", tmp_path).own is None:
        pytest.skip("this machine has an engine that listens")
    (finding,) = engine_findings(SETTINGS, tmp_path)
    assert (finding.good, "one of its own" in finding.what) == (True, True)
    assert not base_image_finding(SETTINGS, tmp_path).good
    assert not (tmp_path / "engine").exists()


def test_an_engine_that_is_named_and_gone_is_missing(tmp_path):
    gone = replace(SETTINGS, engine=f"unix://{tmp_path}/gone.sock")
    (finding,) = engine_findings(gone, tmp_path)
    assert (finding.good, "is not there" in finding.what) == (False, True)
    assert not base_image_finding(gone, tmp_path).good
