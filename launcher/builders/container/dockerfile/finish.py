"""From the image of a Dockerfile to an environment: it must be able to run a session, and give nobody more power."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from launcher.builders.container.dockerfile.job import Job
from launcher.builders.container.dockerfile.runs import run_step
from launcher.builders.container.images import NAME, EnvironmentImage, as_built, built_before, image_name
from launcher.builders.places import ENVIRONMENT, HOME
from launcher.engine.base import ContainerOrder, Image, ImageConfig
from launcher.engine.client import Engine
from launcher.engine.labels import KEY, Kind, ours
from launcher.errors import BuildFailed
from launcher.models import BuildRequest, BuiltEnvironment, SessionMode

_SERVER = "jupyterhub-singleuser"
# The server's own Python is asked where it lives: the interpreter in its first line, or in the second, which
# installers use when the first would be too long. Sessions run it by one path, whatever the image calls it.
_ASK = f"""
server=$(command -v {_SERVER}) || exit 42
python=$(sed -n -e '1s/^#! *//p' "$server" | cut -d' ' -f1)
case "$python" in
  */sh|*/bash|*/env) python=$(sed -n -e "2s/.*exec' *\\"\\{{0,1\\}}\\([^ \\"]*\\).*/\\1/p" "$server") ;;
esac
[ -n "$python" ] || python=$(command -v python3)
exec "$python" -I -c 'import sys, jupyterhub.singleuser
print("launcher:", sys.prefix, "%d.%d.%d" % sys.version_info[:3])'
"""
_PREPARE = f"""
set -e
if [ "$1" != {ENVIRONMENT} ]; then
  mkdir -p {ENVIRONMENT.rpartition("/")[0]}
  rm -rf {ENVIRONMENT}
  ln -s "$1" {ENVIRONMENT}
fi
[ -e {ENVIRONMENT}/bin/python ] || ln -s python3 {ENVIRONMENT}/bin/python
mkdir -p {HOME}
grep -q '^[^:]*:[^:]*:1000:' /etc/passwd || echo 'jovyan:x:1000:1000::{HOME}:/bin/sh' >> /etc/passwd
grep -q '^[^:]*:[^:]*:1000:' /etc/group || echo 'jovyan:x:1000:' >> /etc/group
find / -xdev -type f -perm /6000 -exec chmod a-s {{}} +
"""
_NO_SERVER = 42
_FOUND = re.compile(r"^launcher: (/\S*) (\d+\.\d+\.\d+)$", re.MULTILINE)
_HINT = f"Add `pip install jupyterhub jupyterlab` to it, so that it has {_SERVER} for the user 1000."


async def find(engine: Engine, state: Path, request: BuildRequest) -> BuiltEnvironment | None:
    """The environment that is asked for, if it is there."""
    return await built_before(engine, state, _name(request))


async def finish(
    job: Job, image: str, request: BuildRequest, *, environment: Mapping[str, str], base: Image
) -> BuiltEnvironment:
    """The environment made of an image. Raises BuildFailed when no session could run in it."""
    prefix, version = await _server(job, image, environment)
    order = ContainerOrder(
        image=image,
        command=("/bin/sh", "-c", _PREPARE, "sh", prefix),
        labels=job.labels,
        user="0:0",
        writable_root=True,
    )
    name = _name(request)
    known = EnvironmentImage(
        below=base.id, mode=SessionMode.FULL, python=version, lock=name, packages=(), editable=False
    )
    # Its shell and all other programs are the image's own, so that this is one more step of a stranger.
    async with run_step(job, order, "Making the image ready for sessions") as container:
        labels = {**ours(job.config.state_directory, Kind.ENVIRONMENT), KEY: request.key, NAME: name, **known.labels()}
        config = ImageConfig(labels=labels, environment=environment, user="1000:1000", working_directory=HOME)
        made = await job.engine.commit(container, image_name(job.config.state_directory, name), config)
    found = await job.engine.image(made)
    if found is None:
        raise BuildFailed("The environment's image is gone.", hint="Launch again.")
    return await as_built(job.engine, found)


async def _server(job: Job, image: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """Where the image's Jupyter server has its Python, and which one that is."""
    order = ContainerOrder(
        image=image,
        command=("/bin/sh", "-c", _ASK),
        labels=job.labels,
        environment={**environment, "HOME": "/tmp"},  # noqa: S108 - the container's own
        tmpfs={"/tmp": 2**24},  # noqa: S108
        memory_bytes=job.config.limits.memory_bytes,
        processes=job.config.limits.task_limit,
    )
    async with job.engine.run(order) as running:
        text = await running.output.last_words()
        status = (await running.wait()).status
    if (found := _FOUND.search(text)) is not None:
        return found[1], found[2]
    if status == _NO_SERVER:
        raise BuildFailed(f"The image has no {_SERVER}, so no session can run in it.", hint=_HINT)
    job.log.write(text)
    raise BuildFailed(f"The image's {_SERVER} does not start.", hint=_HINT)


def _name(request: BuildRequest) -> str:
    """What equal environments have in common: nobody knows what a Dockerfile makes, so only the key itself."""
    return hashlib.sha256(f"dockerfile {request.own_name}".encode()).hexdigest()
