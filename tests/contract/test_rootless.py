"""The same engine code as an ordinary user: nothing of the container runtime depends on being root."""

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from launcher.engine.base import ContainerOrder, ImageConfig
from launcher.engine.client import Engine
from launcher.engine.find import EngineAddress
from launcher.engine.labels import Kind, ours
from launcher.engine.sockets import UNIX
from tests.support.engine import container_engine, engine  # noqa: F401 - they share one worker with this
from tests.support.running import ROOT

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from launcher.engine.service import OwnEngine
own = OwnEngine(Path(sys.argv[2]))
getattr(own, sys.argv[3])()
print(own.socket)
"""


def ordinary_user() -> pwd.struct_passwd:
    """Somebody who may have containers and is not root. Skips, saying what is missing."""
    if os.getuid() != 0:
        return pwd.getpwuid(os.getuid())
    for line in Path("/etc/subuid").read_text().splitlines() if Path("/etc/subuid").exists() else ():
        try:
            return pwd.getpwnam(line.split(":")[0])
        except KeyError:
            continue
    pytest.skip("no ordinary user has subordinate ids in /etc/subuid: run scripts/setup-tests as root")


@pytest.fixture
def rootless(tmp_path_factory):
    """Address of an engine that an ordinary user started with our code."""
    for program in ("podman", "newuidmap"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: run scripts/setup-tests as root on Debian or Ubuntu")
    python = next((path for path in ("/usr/bin/python3", sys.executable) if Path(path).exists()), sys.executable)
    user = ordinary_user()
    home = Path(subprocess.check_output(["mktemp", "--directory"], text=True).strip())  # where others may pass through
    os.chown(home, user.pw_uid, user.pw_gid)

    def as_user(method: str) -> subprocess.CompletedProcess[str]:
        variables = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
        command = [python, "-B", "-c", PROGRAM, str(ROOT), str(home / "engine"), method]
        return subprocess.run(command, env=variables, cwd="/", capture_output=True, text=True, check=False, **identity)

    started = as_user("ensure")
    try:
        if started.returncode != 0:
            pytest.skip(f"podman does not run for an ordinary user here: {started.stderr.splitlines()[-1]}")
        yield EngineAddress(f"{UNIX}{started.stdout.strip()}", "an ordinary user's own podman")
    finally:
        as_user("stop")
        shutil.rmtree(home, ignore_errors=True)
        assert left_of(home) == []


def left_of(home: Path) -> list[str]:
    """Commands of processes that still belong to the engine; those that are only waited for do not count."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("XDG_RUNTIME_DIR") == str(home):
                found.append(" ".join(process.cmdline()))
    return found


async def test_an_ordinary_users_container_is_nobody_outside(rootless, tmp_path):
    async with Engine(rootless) as engine:  # noqa: F811
        assert (await engine.info()).rootless
        image = await engine.import_image(busy_box(tmp_path), "localhost/launcher/tiny:1", ImageConfig())
        order = ContainerOrder(image, ("/show", "/proc/self/uid_map"), ours(tmp_path, Kind.BUILD))
        async with engine.run(order) as container:
            output = b"".join([piece async for piece in container.output]).decode()
            assert (await container.wait()).status == 0
    assert output.split()[:2] == ["0", str(ordinary_user().pw_uid)]  # root inside is the user outside


def busy_box(directory: Path) -> bytes:
    """An archive with one program and the libraries that it needs."""
    program = shutil.which("cat")
    libraries = [word for word in subprocess.check_output(["ldd", program], text=True).split() if word.startswith("/")]
    tree = directory / "tree"
    for source, target in [(program, "/show"), *((library, library) for library in libraries)]:
        place = tree / target.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, place)
    return subprocess.check_output(["tar", "-C", str(tree), "-c", "."])
