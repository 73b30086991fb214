from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.inside.upstream import Student, Upstream


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream(tmp_path / "upstream")


@pytest.fixture
def student(tmp_path: Path, upstream: Upstream) -> Student:
    home = tmp_path / "home"
    home.mkdir()
    return Student(home, upstream)
