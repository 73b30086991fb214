"""A kernel limit on the number of processes for launchers that run as root.

The kernel exempts root from RLIMIT_NPROC, so a fork bomb of a build of root's would only be noticed by the watcher,
after thousands of processes. An ordinary user's builds are bound by RLIMIT_NPROC and need none of this.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from launcher.control_groups import Limits, make_group, remove_group
from launcher.models import BuildId

_log = logging.getLogger(__name__)


def confine(build_id: BuildId, processes: int | None, argv: Sequence[str]) -> list[str]:
    """``argv``, started inside a control group of at most ``processes`` tasks when this machine lets us make one."""
    if processes is None or os.getuid() != 0:
        return list(argv)
    try:
        return make_group(_name(build_id), Limits(processes=processes)).around(argv)
    except OSError:  # not mounted, read-only, or not delegated
        _log.warning("No control group can be made: fork bombs in builds are only ended after they are noticed.")
        return list(argv)


def release(build_id: BuildId) -> None:
    """Remove the control group of a build whose processes have ended. Nothing there is fine."""
    remove_group(_name(build_id), patience_seconds=1)


def _name(build_id: BuildId) -> str:
    return f"launcher-build-{build_id}"
