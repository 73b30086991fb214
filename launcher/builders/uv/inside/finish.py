"""Runs inside the sandbox with the base interpreter: writes the kernelspec of an environment.

``python finish.py ENVIRONMENT``. Inside, because foreign code may have put a link where the file goes.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path


def kernelspec(environment: str) -> dict[str, object]:
    """The Jupyter kernelspec of the environment's own Python."""
    python = environment + "/bin/python"
    return {
        "argv": [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "metadata": {"debugger": True},
        "env": {"VIRTUAL_ENV": environment},
    }


def main(environment: str) -> None:
    """Write ``share/jupyter/kernels/python3/kernel.json``, replacing the relative one ipykernel brings."""
    path = Path(environment, "share", "jupyter", "kernels", "python3", "kernel.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()  # it may be a hard link into the wheel cache: never written through
    with path.open("x", encoding="utf-8") as file:
        json.dump(kernelspec(environment), file, indent=1)


if __name__ == "__main__":
    main(sys.argv[1])
