"""HydroShare: resources by id, by DOI or by address; whatever holds the 32 digits of the id."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from urllib.parse import quote

from launcher.errors import SourceInvalid, SourceUnavailable, SpecInvalid
from launcher.models import Repository, Resolved, Spec
from launcher.sources.archives import is_archive, unpack
from launcher.sources.providers import SourceTools, decode_once, repository_id
from launcher.sources.records import RecordFile, RecordProvider, answer_of, display_config, epoch

_RESOURCE = re.compile(r".*(?P<id>[0-9a-f]{32}).*", re.DOTALL)
_PREPARING = 120.0


class HydroshareProvider(RecordProvider):
    """``hydroshare/<id, DOI or address>``; the ref is ``<id>.v<seconds of the last change>``.

    HydroShare keeps no history, so a persistent spec is the resource itself.
    """

    id = "hydroshare"
    display_config = display_config(
        "hydroshare",
        "Hydroshare resource",
        label="Hydroshare resource id",
        example="8f7c2f0341ef4180b0dbe97f59130756",
        pattern=r"[^/]+",
        url_encode=True,
    )
    asking_interval = 5.0
    """Seconds between asking whether an archive is ready: it is made on demand, and there is nothing to wait on."""

    def __init__(self, tools: SourceTools) -> None:
        super().__init__(tools)
        self._url = tools.config.provider_urls.get("hydroshare", "https://www.hydroshare.org")

    def repository(self, spec: Spec) -> Repository:
        """The resource. Raises SpecInvalid."""
        resource = _resource(spec)
        url = _page(resource)
        return Repository(repository_id(self.id, "www.hydroshare.org", resource), self.id, resource, resource, url)

    async def resolve(self, spec: Spec) -> Resolved:
        """The resource as it was last changed. Raises RepositoryNotFound, SourceError."""
        resource = _resource(spec)
        body = await self.http.get_json(f"{self._url}/hsapi/resource/{resource}/scimeta/elements")
        with answer_of("HydroShare"):
            changed = next(epoch(entry["start_date"]) for entry in body["dates"] if entry["type"] == "modified")
        page = _page(resource)
        return self.resolved(spec, ref=f"{resource}.v{changed}", persistent=quote(page, safe=""), ref_url=page)

    async def download(self, resolved: Resolved, directory: Path) -> Path:
        """The resource's own files out of its archive (a BagIt bag). Raises SourceError."""
        resource = _resource(resolved.spec)
        bag = await self._bag(resource, directory)
        await unpack(bag, directory / "bag", self.downloads.limits)
        content = directory / "bag" / resource / "data" / "contents"
        if not content.is_dir():
            raise SourceInvalid("The resource has no files.")
        return content

    async def _bag(self, resource: str, directory: Path) -> Path:
        """The archive; until it is ready, HydroShare answers with a page instead."""
        file = RecordFile("bag.zip", f"{self._url}/django_s3/download/bags/{resource}.zip")
        attempts = int(min(_PREPARING, self.downloads.limits.seconds) / self.asking_interval) + 1
        for attempt in range(attempts):
            place = directory / f"attempt-{attempt}"
            place.mkdir()
            await self.downloads.files([file], place)
            if is_archive(place / file.name, file.name):
                return place / file.name
            await asyncio.sleep(self.asking_interval)
        raise SourceUnavailable("HydroShare is still packing this resource.", hint="Try again in a few minutes.")


def _resource(spec: Spec) -> str:
    match = _RESOURCE.fullmatch(decode_once(spec.raw))
    if match is None:
        raise SpecInvalid(
            "There is no HydroShare resource id in the link.", hint="It has 32 characters of 0-9 and a-f."
        )
    return match["id"]


def _page(resource: str) -> str:
    return f"https://www.hydroshare.org/resource/{resource}"
