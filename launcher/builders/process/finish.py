"""Runs inside the sandbox with the base interpreter: writes the kernelspec of an environment.

``python finish.py ENVIRONMENT``. Inside, because foreign code may have put a link where the file goes.
"""

from __future__ import annotations

import json
import os
import sys


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
    directory = os.path.join(environment, "share", "jupyter", "kernels", "python3")
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, "kernel.json")
    if os.path.lexists(path):
        os.unlink(path)  # it may be a hard link into the wheel cache: never written through
    with open(path, "x", encoding="utf-8") as file:
        json.dump(kernelspec(environment), file, indent=1)


if __name__ == "__main__":
    main(sys.argv[1])
