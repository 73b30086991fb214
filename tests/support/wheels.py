"""Tiny packages: wheels and source distributions of a few hundred bytes, written without any build tool.

Source distributions and local projects carry their own build backend, so that building them needs nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_BACKEND = """
import base64, hashlib, os, zipfile
NAME, VERSION, REQUIRES = {name!r}, {version!r}, {requires!r}

def _wheel(directory, files):
    filename = "%s-%s-py3-none-any.whl" % (NAME, VERSION)
    info = "%s-%s.dist-info" % (NAME, VERSION)
    requires = "".join("Requires-Dist: %s\\n" % one for one in REQUIRES)
    files = dict(files)
    files[info + "/METADATA"] = "Metadata-Version: 2.1\\nName: %s\\nVersion: %s\\n%s" % (NAME, VERSION, requires)
    files[info + "/WHEEL"] = "Wheel-Version: 1.0\\nGenerator: tiny\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    record = "".join("%s,,\\n" % name for name in files) + info + "/RECORD,,\\n"
    with zipfile.ZipFile(os.path.join(directory, filename), "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(info + "/RECORD", record)
    return filename

def build_wheel(directory, config_settings=None, metadata_directory=None):
{hook}
    with open(NAME + ".py") as file:
        return _wheel(directory, {{NAME + ".py": file.read()}})

def build_editable(directory, config_settings=None, metadata_directory=None):
{hook}
    return _wheel(directory, {{"__editable__%s.pth" % NAME: os.getcwd() + "\\n"}})
"""


def wheel(
    directory: Path,
    name: str,
    version: str = "1.0",
    *,
    requires: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
) -> Path:
    """A pure wheel of one module called like the package; ``files`` are further paths in it."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {one}\n" for one in requires)
    content = {
        f"{name}.py": f"__version__ = {version!r}\n",
        **(files or {}),
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tiny\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    path = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for entry, text in content.items():
            archive.writestr(entry, text)
        rows = [_record(entry, text) for entry, text in content.items()]
        archive.writestr(f"{info}/RECORD", "".join([*rows, f"{info}/RECORD,,\n"]))
    return path


def _record(entry: str, text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    return f"{entry},sha256={digest},{len(text.encode())}\n"


def project(
    name: str, version: str = "1.0", *, requires: Sequence[str] = (), hook: str = "pass", dynamic: bool = False
) -> dict[str, str]:
    """The files of a project that brings its own build backend; ``hook`` is Python that runs when it is built."""
    backend = _BACKEND.format(name=name, version=version, requires=list(requires), hook=_indented(hook))
    static = "" if dynamic else f"version = {version!r}\ndependencies = {list(requires)!r}\n"
    dynamics = 'dynamic = ["version", "dependencies"]\n' if dynamic else ""
    return {
        "pyproject.toml": f'[project]\nname = "{name}"\n{static}{dynamics}'
        '[build-system]\nrequires = []\nbuild-backend = "tiny_backend"\nbackend-path = ["."]\n',
        "tiny_backend.py": backend,
        f"{name}.py": f"__version__ = {version!r}\n",
    }


def _indented(code: str) -> str:
    return "".join(f"    {line}\n" for line in code.splitlines())


def sdist(directory: Path, name: str, version: str = "1.0", *, hook: str = "pass") -> Path:
    """A source distribution, and no wheel, of `project`."""
    path = directory / f"{name}-{version}.tar.gz"
    files = {
        **project(name, version, hook=hook),
        "PKG-INFO": f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n",
    }
    with tarfile.open(path, "w:gz") as archive:
        for entry, text in files.items():
            data = text.encode()
            member = tarfile.TarInfo(f"{name}-{version}/{entry}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def kernel_wheels(directory: Path) -> None:
    """What every environment gets: stand-ins for ``ipykernel`` and ``pip`` that can be imported."""
    wheel(directory, "ipykernel", "7.0", files={"ipykernel_launcher.py": "print('a kernel')\n"})
    wheel(directory, "pip", "26.0")
