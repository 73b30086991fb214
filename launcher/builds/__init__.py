"""Builds: a queue of rows, the workers that make them true, and logs that many may watch."""

from __future__ import annotations

from launcher.builds.logs import BuildLogs
from launcher.builds.queue import BuildQueue
from launcher.builds.records import LogRecord

__all__ = ["BuildLogs", "BuildQueue", "LogRecord"]
