"""The base image, as scripts/setup-tests made it on a real engine."""

import pytest

from launcher.engine.bake import find_base_image, make_base_image
from launcher.engine.base import ContainerOrder
from launcher.engine.base_image import INTERPRETER, SERVER_ENVIRONMENT, base_image_name, inputs
from launcher.engine.config import LauncherContainers
from launcher.engine.labels import INPUTS, KIND, STATE, Kind, ours
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
    for make in (find_base_image(engine, named), make_base_image(engine, named, tmp_path, print)):
        with pytest.raises(EngineError) as raised:
            await make
        assert "launcher base-image" in raised.value.hint
