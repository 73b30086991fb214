"""Finished environments become images: one layer on what their build started from."""

from __future__ import annotations

import structlog

from launcher.builders.container.images import NAME, EnvironmentImage, as_built, built_before, image_name
from launcher.builders.container.place import Place
from launcher.builders.places import ENVIRONMENT, OVERLAY, REPOSITORY, REPOSITORY_LEADS_TO
from launcher.builders.uv.runtime import Finished
from launcher.engine.base import Bind, ContainerOrder, ImageConfig
from launcher.engine.labels import KEY, Kind, ours
from launcher.errors import BuildFailed
from launcher.models import BuiltEnvironment, EnvironmentKey

logger = structlog.get_logger(__name__)
_STAGING = "/mnt"  # is there in every image, so that the layer holds no directory made for the mount
# Only the copy runs, on a copy: nothing of the environment is executed. Who uses the image is not who may change it.
_COPY = f"""
set -e
copy() {{ [ ! -d "$1" ] || cp -r --preserve=mode,timestamps,links "$1" "$2"; }}
copy {_STAGING}/venv {ENVIRONMENT}
copy {_STAGING}/postbuild {OVERLAY}
ln -sfn {REPOSITORY_LEADS_TO} {REPOSITORY}
for made in {ENVIRONMENT} {OVERLAY}; do
  if [ -d "$made" ]; then
    find "$made" -perm /6000 -exec chmod a-s {{}} +
    chmod -R u+rw,a+rX,go-w "$made"
  fi
done
"""
# Foreign code may have closed its files to others.
_CAPABILITIES = ("DAC_OVERRIDE",)


class ImagePublisher:
    """`launcher.builders.uv.runtime.Publisher` over an engine. A reference is the id of an image."""

    final = True

    def __init__(self, place: Place, key: EnvironmentKey) -> None:
        self._place = place
        self._key = key

    async def find(self, name: str) -> BuiltEnvironment | None:
        """The image with an environment of that name."""
        return await built_before(self._place.engine, self._place.state, name)

    async def publish(self, name: str, finished: Finished) -> BuiltEnvironment:
        """Copy the environment into a container and commit that."""
        engine = self._place.engine
        order = ContainerOrder(
            image=self._place.image,
            command=("/bin/sh", "-c", _COPY),
            labels=self._place.labels,
            user="0:0",
            user_namespace=self._place.site.identity.user_namespace,
            binds=(Bind(self._place.workspace.staging, _STAGING),),
            writable_root=True,
            capabilities=_CAPABILITIES,
            memory_bytes=self._place.memory_bytes,
            processes=self._place.workspace.config.limits.task_limit,
        )
        async with engine.run(order) as running:
            said = await running.output.last_words()
            if (await running.wait()).status:
                build = self._place.workspace.build_id
                logger.warning("environment_not_published", build_id=build, reason=said)  # it has paths of this machine
                raise BuildFailed(
                    "The environment could not be put into an image.",
                    hint=f"Tell the operator; the service's log has more about build {build}.",
                )
            known = EnvironmentImage(
                below=self._place.image,
                mode=finished.mode,
                python=str(finished.interpreter.version),
                lock=finished.lock.digest,
                packages=finished.packages,
                editable=finished.editable,
            )
            labels = {**ours(self._place.state, Kind.ENVIRONMENT), KEY: self._key, NAME: name, **known.labels()}
            made = await engine.commit(running.id, image_name(self._place.state, name), ImageConfig(labels=labels))
        image = await engine.image(made)
        if image is None:
            raise BuildFailed("The environment's image is gone.", hint="Launch again.")
        return await as_built(engine, image)
