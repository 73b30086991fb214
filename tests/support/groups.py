"""The control groups of sessions, as the machine has them."""

from __future__ import annotations

from pathlib import Path

from launcher.engine.labels import state_id


def groups_of(state: Path) -> list[Path]:
    """Those of the sessions of the launcher with this state directory."""
    return list(Path("/sys/fs/cgroup").rglob(f"launcher-{state_id(state)}-*"))
