"""Fetch the uv program when a machine has Python but neither pip nor venv (a plain Debian or Ubuntu).

Usage: get_uv.py DIRECTORY. Reads the Python package index's JSON pages (PEP 691), checks the wheel's SHA-256.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import sys
import urllib.request
import zipfile
from pathlib import Path
from urllib.parse import urljoin

INDEX = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL") or "https://pypi.org/simple"
JSON_PAGE = "application/vnd.pypi.simple.v1+json"


def read(url: str, accept: str = "*/*") -> bytes:
    """The bytes behind a URL."""
    request = urllib.request.Request(url, headers={"Accept": accept})  # noqa: S310 - the index the operator chose
    with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
        return bytes(answer.read())


def newest_wheel(page: dict[str, object], base: str) -> tuple[str, str]:
    """URL and SHA-256 of the newest released wheel for this machine."""
    libc = "musllinux" if not platform.libc_ver()[0] else "manylinux"
    pattern = re.compile(rf"uv-(\d+)\.(\d+)\.(\d+)-py3-none-{libc}\S*_{platform.machine()}\.whl")
    found = [
        (tuple(map(int, match.groups())), urljoin(base, file["url"]), file["hashes"]["sha256"])
        for file in page["files"]  # type: ignore[attr-defined]
        if (match := pattern.fullmatch(file["filename"])) and not file.get("yanked")
    ]
    if not found:
        sys.exit(f"The package index has no uv for {platform.machine()}. Install uv by hand, then run this again.")
    _, url, digest = max(found)
    return url, digest


def main(directory: Path) -> None:
    """Put ``uv`` into the directory."""
    base = INDEX.rstrip("/") + "/uv/"
    url, digest = newest_wheel(json.loads(read(base, JSON_PAGE)), base)
    wheel = read(url)
    if hashlib.sha256(wheel).hexdigest() != digest:
        sys.exit("The uv that arrived is not the one the package index describes; nothing was installed.")
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/scripts/uv"))
        directory.mkdir(parents=True, exist_ok=True)
        program = directory / "uv"
        program.write_bytes(archive.read(name))
        program.chmod(0o755)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
