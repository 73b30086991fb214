"""Run the Jupyter server in this process: ``python /srv/launcher/serve.py <settings file>``.

A script of its own, so that nothing of ours but its arguments is left when the server's code runs: our folder is taken
from the import path, the settings file is deleted, and no environment variable of ours remains.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import runpy
import sys
import types
from pathlib import Path
from typing import Any, Callable

_USER = "JUPYTERHUB_USER"
_OF_SERVER = re.compile(
    "JUPYTERHUB_|JUPYTER_|JUPYTERLAB_|JPY_|XDG_|PYTHON(PATH|HOME|STARTUP|USERBASE|NOUSERSITE)$|"
    "(HOME|PATH|VIRTUAL_ENV|TMPDIR|TMP|TEMP|IPYTHONDIR|PWD|OLDPWD|SHLVL|_|LC_CTYPE)$"
)
"""Variables of the server alone: its tokens and directories, and what a cluster has of its own."""


def main(settings_file: Path) -> None:
    """Read the settings of `session`, arrange for the *ready* word, become the server."""
    settings = json.loads(settings_file.read_bytes())
    settings_file.unlink()
    here = Path(__file__).resolve().parent
    sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != here]
    sys.path.insert(0, str(here.parent))
    ready = importlib.import_module(f"{here.name}.ready")
    sys.path.remove(str(here.parent))
    listener = ready.Listener(Path(settings["socket"]) if settings["socket"] else None)
    restored = dict(settings["environment"])
    if settings["without_node"]:
        # JupyterLab runs yarn at every start to learn where packages come from; that is half a second for nothing.
        restored["PATH"] = os.environ["PATH"]
        os.environ["PATH"] = _without_node(restored["PATH"])
    if settings["variables"]:
        _leave_variables(Path(settings["variables"]), restored)
    extension = ready.Extension(listener, lambda: _restore(restored))
    _provide_extension(ready.EXTENSION, extension.load)
    _provide_extension(ready.DASK_PANEL, lambda server: importlib.import_module(f"{here.name}.dask_panel").load(server))
    _provide_extension(ready.LAUNCHES, lambda server: _tell_pages(server, settings["launches"]))
    sys.argv = [settings["module"], *settings["arguments"]]
    runpy.run_module(settings["module"], run_name="__main__", alter_sys=True)


def _provide_extension(name: str, load: Callable[[Any], None]) -> None:
    """Let Jupyter Server find an extension of ours under this name; its configuration says whether it does."""
    module = types.ModuleType(name)
    module._jupyter_server_extension_points = lambda: [{"module": name}]  # type: ignore[attr-defined] # noqa: SLF001 - the name Jupyter Server asks for
    module._load_jupyter_server_extension = load  # type: ignore[attr-defined] # noqa: SLF001
    sys.modules[name] = module


def _tell_pages(server: Any, launches: str) -> None:
    """Let JupyterLab and Notebook know where the page of one's launches is, a path on the hub."""
    server.web_app.settings.setdefault("page_config_data", {})["launcherLaunches"] = launches


def _without_node(path: str) -> str:
    """The search path without the directories in which ``node`` is."""
    return os.pathsep.join(part for part in path.split(os.pathsep) if not Path(part, "node").exists())


def _leave_variables(path: Path, restored: dict[str, str | None]) -> None:
    """Write down what kernels will see, for the clusters of this session: nothing secret, nothing of this server."""
    variables = {name: value for name, value in {**os.environ, **restored}.items() if value is not None}
    kept = {name: value for name, value in variables.items() if name == _USER or not _OF_SERVER.match(name)}
    partial = path.with_name(f".{path.name}")
    try:
        partial.write_text(json.dumps(kept))
        partial.replace(path)
    except OSError as error:  # a full disk: the session works, its clusters lack variables
        print(f"variables: {error}", file=sys.stderr)  # noqa: T201 - the server's log


def _restore(environment: dict[str, str | None]) -> None:
    """Give variables that only the start needed the values kernels and terminals should see."""
    for name, value in environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


if __name__ == "__main__":
    main(Path(sys.argv[1]))
