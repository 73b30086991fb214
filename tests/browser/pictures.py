"""The pictures of the documentation: ``python -m tests.browser.pictures DIRECTORY``, see scripts/screenshots."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.support.browser import at_the_gate, in_session, launch_link, log_in, press, profile, running_chromium
from tests.support.fixtures import WHEELHOUSE
from tests.support.gate import Gates
from tests.support.git_server import GitServer, make_repository
from tests.support.package_index import package_index
from tests.support.running import RunningLauncher, eventually, git_spec, running_launcher

SIZE = {"width": 1000, "height": 700}
_README = """# Ocean notebooks

Reads a year of *sea surface temperature* and plots it.

- `index.ipynb`: begin here
- `data/`: where the numbers come from
"""
_NOTEBOOK = """{"cells": [
{"cell_type": "markdown", "id": "t", "metadata": {}, "source": ["# Sea surface temperature"]},
{"cell_type": "code", "id": "a", "execution_count": 1, "metadata": {}, "source": ["mean = 16.9\\n", "f'{mean:.1f} °C'"],
 "outputs": [{"output_type": "execute_result", "execution_count": 1, "metadata": {},
              "data": {"text/plain": ["'16.9 °C'"]}}]}],
"metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
"nbformat": 4, "nbformat_minor": 5}
"""
_COURSE = {"README.md": _README, "index.ipynb": _NOTEBOOK, "requirements.txt": "humanize\n"}
_BROKEN = "#!/bin/bash\necho Building the extension\necho 'error: command gcc failed'\nexit 1\n"
_CONFIG = """
c.Launcher.environments = [
    {{"name": "geo", "title": "Geospatial", "description": "GDAL, rasterio, xarray", "repository": {geo!r}}},
    {{"name": "statistics", "title": "Statistics", "description": "statsmodels, seaborn", "repository": {geo!r}}},
]
c.Launcher.machine_sizes = [
    {{"name": "small", "title": "Small", "description": "for reading and writing", "memory": "2G", "cpus": 1}},
    {{"name": "large", "title": "Large", "description": "for models", "memory": "16G", "cpus": 4}},
]
"""


class Studio:
    """A launcher with a few repositories, and a browser of its user."""

    def __init__(self, stack: ExitStack, directory: Path, target: Path) -> None:
        (directory / "git").mkdir()
        self.git = stack.enter_context(GitServer(directory / "git"))
        self.gates = Gates(self.git)
        stack.callback(self.gates.close)
        index = stack.enter_context(package_index(WHEELHOUSE))
        config = directory / "config.py"
        config.write_text(_CONFIG.format(geo=self.repository("geo-environment", {"requirements.txt": "humanize\n"})))
        arguments = ["--allow-host", self.git.host, "--allow-host", index.host, "--config", str(config)]
        variables = {"UV_DEFAULT_INDEX": index.url, "UV_INDEX_URL": index.url}
        self.up: RunningLauncher = stack.enter_context(
            running_launcher(directory / "state", *arguments, "--trust", "git/*/trusted-*", environment=variables)
        )
        context = stack.enter_context(profile(stack.enter_context(running_chromium())))
        self.page: Page = log_in(context, self.up)
        self.page.set_viewport_size(SIZE)
        self._target = target

    def repository(self, name: str, files: dict[str, str]) -> str:
        """A new repository's spec."""
        make_repository(self.git.directory / name, files)
        return git_spec(self.git.url(name), "main")

    def picture(self, name: str, *, whole: bool = False) -> None:
        """Save what the page shows, in few colours: text and lines need no more, and the files stay small.

        whole: all of the page, not only what fits the window.
        """
        file = self._target / f"{name}.png"
        height = self.page.evaluate("document.documentElement.scrollHeight") if whole else 0
        self.page.set_viewport_size({**SIZE, "height": max(height, SIZE["height"])})  # frames are drawn where one looks
        self.page.wait_for_timeout(300)
        self.page.screenshot(path=str(file))
        self.page.set_viewport_size(SIZE)
        if program := shutil.which("pngquant"):
            command = [program, "--force", "--strip", "--speed", "1", "--output", str(file), "64", str(file)]
            subprocess.run(command, check=True)
        print(f"{file.name}: {file.stat().st_size // 1024} KB")  # noqa: T201 - a command


def take(studio: Studio) -> None:
    """All pictures, in the order in which a person comes by."""
    page, up = studio.page, studio.up
    course = studio.repository("ocean-course", _COURSE)
    page.goto(launch_link(up, course, "?labpath=index.ipynb"))
    studio.picture("launch-page", whole=True)
    press(page, "Launch")
    in_session(up, page, seconds=240)
    page.locator(".jp-NotebookPanel .jp-CodeCell").wait_for(timeout=120_000)
    expect(page.get_by_role("button", name=re.compile("Idle"))).to_be_visible(timeout=120_000)
    studio.picture("session")

    files = {**_COURSE, "postBuild": studio.gates.script("build", before="echo Building the notebooks")}
    page.goto(launch_link(up, studio.repository("trusted-sea-ice", files)))
    at_the_gate(page)
    page.frame_locator("iframe").get_by_role("heading", name="Ocean notebooks").wait_for()
    studio.picture("building", whole=True)
    studio.gates.open("build")
    in_session(up, page, seconds=240)

    page.goto(launch_link(up, studio.repository("trusted-broken", {**_COURSE, "postBuild": _BROKEN})))
    expect(page.get_by_role("alert")).to_contain_text("postBuild failed", timeout=240_000)
    page.wait_for_timeout(500)  # the log has found the line
    studio.picture("failed", whole=True)

    for name, address in {"my-launches": "", "environments": "environments"}.items():
        page.goto(up.service + address)
        studio.picture(name)
    page.goto(f"{up.service}links")
    page.locator("#repository").fill(studio.git.url("ocean-course"))
    expect(page.get_by_text("A launch of this works.")).to_be_visible()
    studio.picture("links", whole=True)
    up.stop_sessions()
    eventually(lambda: not up.api("GET", f"/users/{up.user}").json()["servers"], what="the end of sessions")
    page.goto(f"{up.service}new")
    studio.picture("new-session", whole=True)


def main(target: Path) -> None:
    """Take them all."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pictures-") as directory, ExitStack() as stack:
        take(Studio(stack, Path(directory), target))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
