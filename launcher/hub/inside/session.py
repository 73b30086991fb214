"""Start one session: content, layer, settings, then the Jupyter server in place of this process.

The session file is one JSON object::

    home          path: the home directory of the session, also its $HOME
    mode          "kernel" (our server, the environment is the kernel) or "full" (the server runs in the environment)
    server        list: how the server is started, ["-m", "jupyterhub.singleuser", arguments …]
    environment   path of the environment, or null: the Python that runs this is the kernel's too
    environment_id  names the layer of this environment in the home; required with an environment
    content       null, or {repository, commit, branch, identity, url, name}, see `wanted.Content`
    root          "content" (default) or "home": what the file browser shows as its root. With "home" the content is
                  only files among the person's own: the server starts beside it, with the person's own settings
    start         path of the repository's start script inside the content, or null
    overlay       {"repository": path, "home": path}, both optional: what postBuild left
    ready_socket  path of the unix socket that hears about progress, or null
    launches      path on the hub of the page of one's launches, or null
    dask          whether the hub has Dask-Gateway, with everything in the variables that its clients read
    variables     path of the file in which `serve` leaves what kernels see, for the session's clusters, or null
    runtime       directory for this server's private files, outside the home; default: the system's temporary one

Everything but home, mode and server may be left out.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from . import repository
from .content import put_in_place
from .kernel_layer import make_layer, running_environment, write_kernelspecs
from .overlay import copy_absent
from .problem import Problem
from .ready import DASK_PANEL, EXTENSION, LAUNCHES, Listener
from .wanted import Content

PANEL_DIRECTORY = Path("share", "launcher", "dask-panel")  # in the server environment; JupyterLab does not look there
OWN_EXTENSIONS = "labextensions"  # of JupyterLab and Notebook, beside this file


def start(session_file: Path) -> int:
    """Read the session file and become its server; returns an exit status only when that fails."""
    session = json.loads(session_file.read_bytes())
    listener = Listener(Path(session["ready_socket"]) if session.get("ready_socket") else None)
    try:
        _Session(session, listener).start()
    except Problem as problem:
        listener.error(problem)
    except OSError as error:
        print(f"session: {error}", file=sys.stderr)  # noqa: T201 - the server's log
        listener.error(Problem("session_start_failed", "The session could not be prepared.", "Try again."))
    return 1


class _Session:
    """One start."""

    def __init__(self, session: dict[str, Any], listener: Listener) -> None:
        self.session = session
        self.listener = listener
        self.home = Path(session["home"])
        self.full = session["mode"] == "full"
        self.environment = Path(session["environment"]) if session.get("environment") else None
        self.runtime = Path(tempfile.mkdtemp(prefix="launcher-", dir=session.get("runtime")))  # 0700
        self.variables = dict(os.environ)
        self.content: Path | None = None

    def start(self) -> NoReturn:
        """Prepare everything and hand over."""
        self.home.mkdir(parents=True, exist_ok=True)
        if self.session.get("content"):
            self._bring_content(Content.from_json(self.session["content"]))
        self._copy_overlay()
        kernel = self._kernel_python()
        if kernel is not None:
            write_kernelspecs(kernel, self.environment, self.runtime / "share" / "jupyter", self._kernel_variables())
        self._set_variables()
        self._write_configuration()
        directory = self.content or self.home
        os.chdir(self._root())  # an environment's own old Jupyter runs the settings that it finds there
        command = [*self._start_script(), sys.executable, "-s" if self.full else "-I"]
        command += [str(Path(__file__).resolve().with_name("serve.py")), str(self._write_settings(directory))]
        os.execvpe(command[0], command, self.variables)  # noqa: S606 - this process becomes the server

    def _bring_content(self, content: Content) -> None:
        self.listener.progress("Putting the repository's files in place")
        beside = self.session.get("root") == "home"
        self.content, messages = put_in_place(content, self.home, beside=beside)
        for message in messages:
            self.listener.progress(message)
        repository.lead_to(self.content)

    def _copy_overlay(self) -> None:
        overlay = self.session.get("overlay") or {}
        for name, target in (("repository", self.content), ("home", self.home)):
            if target is None or not overlay.get(name) or not Path(overlay[name]).is_dir():
                continue
            try:
                copy_absent(Path(overlay[name]), target)
            except OSError as error:
                print(f"overlay: {error}", file=sys.stderr)  # noqa: T201 - the server's log
                self.listener.progress("Not every file that the build made could be copied.")

    def _kernel_python(self) -> Path | None:
        """The interpreter of the session's Python kernel: the layer's, or the environment's when there can be none."""
        if self.environment is None and self.full:
            return None
        environment = self.environment or running_environment()
        identifier = self.session.get("environment_id") or "server"
        paths = [str(environment / "bin")]
        kernel: Path | None = environment / "bin" / "python"
        try:
            layer = make_layer(environment, identifier, self.home)
        except OSError as error:
            print(f"layer: {error}", file=sys.stderr)  # noqa: T201 - the server's log
            self.listener.progress("Packages cannot be installed from this session: your home cannot be written.")
        else:
            if layer.set_aside is not None:
                self.listener.progress(f"Packages installed earlier belong to another Python, see {layer.set_aside}.")
            kernel = layer.python
            self.variables["VIRTUAL_ENV"] = str(layer.directory)
            paths.insert(0, str(layer.directory / "bin"))
        rest = self.variables.get("PATH", os.defpath)
        self.variables["PATH"] = os.pathsep.join([*paths, rest])
        return kernel if kernel is not None and kernel.exists() else None

    def _kernel_variables(self) -> dict[str, str]:
        """With Dask: what lets a kernel connect to a cluster by its address alone.

        Only kernels get them: in a terminal any Python may run, and Dask insists on the module it is told of.
        """
        if not self.session.get("dask"):
            return {}
        return {
            "PYTHONPATH": str(Path(__file__).resolve().with_name("kernel")),
            "DASK_DISTRIBUTED__CLIENT__SECURITY_LOADER": "launcher_dask_client.credentials",
        }

    def _set_variables(self) -> None:
        """What the server, its kernels and terminals see."""
        for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONUSERBASE"):
            self.variables.pop(name, None)
        shared = [self.runtime / "share" / "jupyter"]
        if self.environment is not None:
            shared.append(self.environment / "share" / "jupyter")
        self.variables.update(
            HOME=str(self.home),
            PYTHONNOUSERSITE="1",
            JUPYTER_PATH=os.pathsep.join(map(str, shared)),
            JUPYTER_RUNTIME_DIR=str(self._private("runtime")),
            JUPYTERHUB_ROOT_DIR=str(self._root()),
        )
        if self.content is None:
            return
        self.variables["REPO_DIR"] = str(self.content)
        if self._root() != self.content:
            return
        # Another repository's code may have written into this home: settings that run code are this repository's own,
        # preferences of the interface are the person's.
        state = self.home / ".local" / "share" / "launcher" / "repositories" / self._repository_digest()
        interface = self.home / ".jupyter" / "lab"
        self.variables.update(
            IPYTHONDIR=str(state / "ipython"),
            JUPYTER_DATA_DIR=str(state / "jupyter"),
            JUPYTER_CONFIG_DIR=str(self._private("config")),
            JUPYTERLAB_SETTINGS_DIR=str(interface / "user-settings"),
            JUPYTERLAB_WORKSPACES_DIR=str(interface / "workspaces"),
            JUPYTERHUB_DISABLE_USER_CONFIG="1",
        )

    def _write_configuration(self) -> None:
        """Our settings of the Jupyter server, in a directory that only its start reads."""
        directory = self._private("start")
        configuration: dict[str, Any] = {
            "ServerApp": {"jpserver_extensions": {EXTENSION: True}},
            # Over TCP, anybody on the machine could read what a kernel publishes.
            "KernelManager": {"transport": "ipc"},
        }
        if not self.full:  # our server has no language servers; looking for them runs npm in the person's home
            configuration["LanguageServerManager"] = {"autodetect": False}
            self._extend_pages(configuration)
        shell = shutil.which("bash", path=self.variables["PATH"])
        if shell is not None:  # a login shell would set PATH anew, without the environment
            configuration["ServerApp"]["terminado_settings"] = {"shell_command": [shell]}
        (directory / "jupyter_server_config.json").write_text(json.dumps(configuration))

    def _extend_pages(self, configuration: dict[str, Any]) -> None:
        """Give JupyterLab and Notebook the way to the launches; JupyterLab its Dask panel, when the hub has Dask."""
        extensions, paths = configuration["ServerApp"]["jpserver_extensions"], []
        if self.session.get("launches"):
            extensions[LAUNCHES] = True
            paths.append(str(Path(__file__).resolve().with_name(OWN_EXTENSIONS)))
            configuration["LabServerApp"] = {"extra_labextensions_path": list(paths)}
        browser_part = Path(sys.prefix) / PANEL_DIRECTORY / "share" / "jupyter" / "labextensions"
        if self.session.get("dask") and browser_part.is_dir():
            extensions[DASK_PANEL] = True
            configuration["LabApp"] = {"extra_labextensions_path": [*paths, str(browser_part)]}

    def _write_settings(self, directory: Path) -> Path:
        """The file for `serve`; returns its path. Its arguments are seen by no other process."""
        dash_m, module, *arguments = self.session["server"]
        if dash_m != "-m":
            raise Problem("session_start_failed", "The session's server is not one that can be started.")
        arguments += [
            f"--ServerApp.root_dir={self._root()}",
            f"--ServerApp.preferred_dir={directory}",
            f"--ServerApp.cookie_secret={secrets.token_hex(32)}",  # whatever an environment may have baked in
        ]
        path = self.runtime / "serve.json"
        settings = {
            "module": module,
            "arguments": arguments,
            "socket": self.session.get("ready_socket"),
            "variables": self.session.get("variables"),
            "launches": self.session.get("launches"),
            "environment": {"JUPYTER_CONFIG_PATH": self.variables.get("JUPYTER_CONFIG_PATH")},
            "without_node": not self.full,  # a repository's own server may need it
        }
        path.write_text(json.dumps(settings))
        own = [str(self.runtime / "start"), self.variables.get("JUPYTER_CONFIG_PATH", "")]
        self.variables["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, own))
        return path

    def _start_script(self) -> list[str]:
        """The command that runs the repository's start script around the server, if there is one."""
        name = self.session.get("start")
        if not name or self.content is None:
            return []
        script = self.content / name
        if ".." in Path(name).parts or not script.is_file():
            self.listener.progress("The repository's start script is not there; the session starts without it.")
            return []
        first = script.read_bytes()[:200].split(b"\n", 1)[0]
        if first.startswith(b"#!") and first[2:].strip():  # like the kernel reads it, executable or not
            return [os.fsdecode(word) for word in first[2:].strip().split(None, 1)] + [str(script)]
        return ["/bin/bash", str(script)]

    def _root(self) -> Path:
        """What the file browser shows."""
        at_home = self.content is None or self.session.get("root") == "home"
        return self.home if at_home or self.content is None else self.content

    def _repository_digest(self) -> str:
        return hashlib.sha256(str(self.session["content"]["identity"]).encode()).hexdigest()[:16]

    def _private(self, name: str) -> Path:
        directory = self.runtime / name
        directory.mkdir(mode=0o700)
        return directory
