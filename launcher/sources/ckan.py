"""CKAN: datasets by their address, on any portal that runs it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urljoin, urlsplit

from launcher.errors import SpecInvalid
from launcher.models import Repository, Resolved, Spec
from launcher.sources.addresses import WebAddress
from launcher.sources.providers import SourceTools, decode_once, directory_name, repository_id
from launcher.sources.records import RecordFile, RecordProvider, answer_of, display_config, epoch

_DATASET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,150}")
_ACTIVITY = re.compile(r"[A-Za-z0-9-]{1,64}")


@dataclass(frozen=True)
class _Dataset:
    """A dataset's address, taken apart. ``prefix`` is what the portal's paths begin with, often nothing."""

    address: WebAddress
    prefix: str
    name: str
    activity: str | None

    @property
    def portal(self) -> str:
        return f"{self.address.scheme}://{self.address.authority}{self.prefix}"

    @property
    def question(self) -> str:
        """The API's address for the dataset's description, as it is now or as it was at an activity."""
        if self.activity is None:
            return f"{self.portal}/api/3/action/package_show?{urlencode({'id': self.name})}"
        query = urlencode({"id": self.activity, "object_type": "package"})
        return f"{self.portal}/api/3/action/activity_data_show?{query}"


class CkanProvider(RecordProvider):
    """``ckan/<percent-encoded dataset address>``; the ref is ``<dataset>.v<seconds of the last change>``.

    ``/history/<activity>`` in the address, or ``?activity_id=``, names the dataset as it was then.
    """

    id = "ckan"
    display_config = display_config(
        "ckan",
        "CKAN dataset",
        label="CKAN dataset URL",
        example="https://demo.ckan.org/dataset/my-sample-dataset-001",
        pattern=r"[^/]+",
        url_encode=True,
    )

    def __init__(self, tools: SourceTools) -> None:
        super().__init__(tools)
        self._addresses = tools.addresses

    def repository(self, spec: Spec) -> Repository:
        """The dataset, as it is at any time. Raises SpecInvalid, AddressRefused."""
        dataset = self._dataset(spec)
        path = f"{dataset.prefix}/dataset/{dataset.name}".lstrip("/")
        name, url = directory_name(dataset.name), f"{dataset.portal}/dataset/{dataset.name}"
        identity = repository_id(self.id, dataset.address.authority, path)
        return Repository(identity, self.id, f"{dataset.address.authority}/{path}", name, url)

    async def resolve(self, spec: Spec) -> Resolved:
        """The dataset as it was last changed. Raises RepositoryNotFound, AddressRefused, SourceError."""
        dataset = self._dataset(spec)
        description = await self._description(dataset)
        with answer_of("The CKAN portal"):
            ref = f"{dataset.name}.v{epoch(description['metadata_modified'])}"
        url = dataset.address.url
        return self.resolved(spec, ref=ref, persistent=quote(url, safe=""), ref_url=url)

    async def download(self, resolved: Resolved, directory: Path) -> Path:
        """The dataset's resources, each as a file named like the end of its address. Raises SourceError."""
        dataset = self._dataset(resolved.spec)
        description = await self._description(dataset)
        with answer_of("The CKAN portal"):
            files = _files(dataset.portal, description["resources"])
        await self.downloads.files(files, directory)
        return directory

    async def _description(self, dataset: _Dataset) -> dict[str, Any]:
        body = await self.http.get_json(dataset.question)
        with answer_of("The CKAN portal"):
            return dict(body["result"])

    def _dataset(self, spec: Spec) -> _Dataset:
        address = self._addresses.check_url(decode_once(spec.raw.rstrip("/")))
        parts = urlsplit(address.url)
        prefix, *rest = address.path.rstrip("/").split("/dataset/")
        words = rest[0].split("/") if len(rest) == 1 else [""]
        activity = parse_qs(parts.query).get("activity_id", [None])[0]
        if "history" in words[1:-1]:
            activity = words[words.index("history", 1) + 1]
        if not _DATASET.fullmatch(words[0]) or (activity is not None and not _ACTIVITY.fullmatch(activity)):
            raise SpecInvalid(
                "This is not the address of a CKAN dataset.", hint="It looks like https://portal/dataset/name."
            )
        return _Dataset(address, prefix, words[0], activity)


def _files(portal: str, resources: list[dict[str, Any]]) -> list[RecordFile]:
    files: dict[str, RecordFile] = {}
    for resource in resources:
        written = str(resource["url"] or "").strip()
        if not written:
            continue
        url = urljoin(f"{portal}/", written.replace(" ", "%20"))
        name = urlsplit(url).path.rpartition("/")[2] or str(resource["id"])
        if name in files:  # many portals end every address with the same word
            name = f"{resource['id']}-{name}"
        files[name] = RecordFile(name, url)
    return list(files.values())
