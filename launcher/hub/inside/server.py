"""The door: ``python /srv/launcher/server.py session.json``. What the file may say is told in `session`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def main(session_file: str) -> int:
    """Load the rest as a package, whatever this folder is called and wherever it is, and start the session."""
    here = Path(__file__).resolve().parent
    sys.path[0] = str(here.parent)  # not our folder: its module names must not shadow anybody's
    session = importlib.import_module(f"{here.name}.session")
    return int(session.start(Path(session_file)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
