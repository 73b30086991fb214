"""The documentation as text, for the tests beside this file."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path
from types import ModuleType

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
TOP = tuple(REPOSITORY / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md"))
PAGES = (*TOP, *sorted(path for path in DOCS.rglob("*.md") if not {"_build", "generated"} & set(path.parts)))


def name_of(path: Path) -> str:
    """A page's name in test ids."""
    return str(path.relative_to(REPOSITORY))


def page(name: str) -> str:
    """A page below docs/ as text."""
    return (DOCS / name).read_text()


def generator() -> ModuleType:
    """docs/generate.py, loaded from its file."""
    specification = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def code_blocks(text: str, *languages: str) -> list[str]:
    """The fenced blocks in one of these languages."""
    return [
        body
        for language, body in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        if language in languages
    ]


def tracked_files() -> list[Path]:
    """Every file git knows in this repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return [REPOSITORY / name for name in listed.stdout.split("\0") if name]
