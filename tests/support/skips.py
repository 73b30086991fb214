"""What may be left out where everything is meant to run: in CI, a skipped test whose reason is not here has failed."""

from __future__ import annotations

import os

DELIBERATE = (
    "root may read everything",
    "only root can give files away",
    "this machine has an engine that listens",
    "this machine has a docker for everybody",
    "this engine cannot limit memory here",
    "podman does not run",
    "no unprivileged mount namespaces here",
    "PostgreSQL needs an unprivileged user",
)
"""Reasons that lie in the machine, not in what is installed on it."""
ONLY_ROOT_INSTALLS = ("as root", "(Debian: ", "podman is not installed")
"""In reasons that `scripts/setup-tests` mends for root only; without root they are no fault of the run."""


def is_deliberate(reason: str, *, root: bool = os.geteuid() == 0) -> bool:
    """Whether a test may be skipped for this reason."""
    return any(known in reason for known in DELIBERATE + (() if root else ONLY_ROOT_INSTALLS))
