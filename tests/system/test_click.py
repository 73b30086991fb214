"""The click, as a stranger would try it: from a repository on a git server to a kernel, edits and new commits."""

import pytest

from tests.support.fixtures import on_one_hub
from tests.support.git_server import commit, make_repository
from tests.support.running import git_spec

NOTEBOOK = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}\n'


@pytest.fixture
def repository(git_server, request):
    version = "hub5" if "hub5" in request.node.name else "hub6"
    name = f"{version}-{request.node.originalname}"[:60]

    class New:
        path = git_server.directory / name
        spec = git_spec(git_server.url(name), "main")

        def __init__(self, files):
            make_repository(self.path, files)

        def commit(self, files):
            return commit(self.path, files)

    return New


def built(events) -> bool:
    """Whether anything was built, by the phases of a stream."""
    return any(event.get("phase") in {"building", "fetching", "pushing"} for event in events)


def test_edits_survive_stop_restart_and_a_new_commit_that_builds_nothing(up, repository):
    repo = repository({"requirements.txt": "humanize\n", "index.ipynb": NOTEBOOK, "data.txt": "one\n"})
    session, events = up.launch(repo.spec)
    assert built(events)
    assert "1.0k" in session.run("import humanize; print(humanize.metric(1000).replace(' ', ''))").replace(
        "1.00k", "1.0k"
    )
    session.write("data.txt", "mine\n")
    session.write("notes.txt", "kept\n")
    up.stop_sessions()

    repo.commit({"index.ipynb": NOTEBOOK.replace("5}", "4}"), "README.md": "new\n"})
    session, events = up.launch(repo.spec)
    assert not built(events)
    assert session.read("data.txt") == "mine\n"
    assert session.read("notes.txt") == "kept\n"
    assert session.read("README.md") == "new\n"


@on_one_hub
def test_a_changed_requirement_builds_again(up, repository):
    repo = repository({"requirements.txt": "# its own recipe\nhumanize\n"})
    assert built(list(up.stream(repo.spec, build_only="true")))
    repo.commit({"requirements.txt": "humanize\ntraitlets\n"})
    _, events = up.launch(repo.spec)
    assert built(events)


@on_one_hub
def test_a_changed_package_of_an_editable_install_builds_again_and_edits_are_live(up, repository):
    project = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    project += '[project]\nname = "mine"\nversion = "1"\n'
    repo = repository({"requirements.txt": "-e .\n", "pyproject.toml": project, "mine.py": "answer = 41\n"})
    session, _ = up.launch(repo.spec)
    assert session.run("import mine; print(mine.answer)") == "41\n"
    session.write("mine.py", "answer = 43\n")
    assert session.run("import mine; print(mine.answer)") == "43\n"
    up.stop_sessions()
    repo.commit({"mine.py": "answer = 42\n"})
    _, events = up.launch(repo.spec)
    assert built(events)


@on_one_hub
def test_a_changed_file_that_post_build_reads_builds_again(up, repository):
    repo = repository({"postBuild": "#!/bin/bash\ncp seed.txt grown.txt\n", "seed.txt": "first\n"})
    session, _ = up.launch(repo.spec)
    assert session.read("grown.txt") == "first\n"
    up.stop_sessions()
    repo.commit({"seed.txt": "second\n"})
    _, events = up.launch(repo.spec)
    assert built(events)


@on_one_hub
def test_start_script_and_installs_of_the_session_s_own(up, repository):
    repo = repository({"start": '#!/bin/bash\nexport GREETING=hello\nexec "$@"\n', "requirements.txt": "traitlets\n"})
    session, _ = up.launch(repo.spec)
    assert session.run("import os; print(os.environ['GREETING'], os.path.basename(os.getcwd()))").startswith("hello ")
    write = (
        "import pathlib, traitlets\ntry:\n pathlib.Path(traitlets.__file__).write_text('')\nexcept OSError as error: "
    )
    assert "Read-only" in session.run(write + "print(error)")
    assert "None" in session.run("import importlib.util as u; print(u.find_spec('humanize'))")
    index = f"import os; os.environ['PIP_INDEX_URL'] = {up_index(up)!r}\n"
    output = session.run(
        index + "import subprocess, sys\nprint(subprocess.run([sys.executable, '-m', 'pip', 'install',"
        " 'humanize'], capture_output=True, text=True))",
        seconds=120,
    )
    assert "Successfully installed humanize" in output, output
    assert "humanize" in session.run("import humanize; print(humanize.__file__)")


def up_index(up):
    import psutil

    return psutil.Process(up.process.pid).environ()["UV_DEFAULT_INDEX"]


def test_full_mode_runs_the_repository_s_own_server(up, repository):
    repo = repository({"requirements.txt": "jupyter-server-proxy\n"})
    session, _ = up.launch(repo.spec)
    assert "/srv/environment" in session.run(
        "import os; print(os.readlink(f'/proc/{os.getppid()}/exe'), os.environ['PATH'])"
    )
    assert session.get("server-proxy/servers-info").status_code == 200


@on_one_hub
def test_two_repositories_with_the_same_lock_share_one_environment(up, repository, git_server):
    repo = repository({"requirements.txt": "humanize\n", "a.txt": "a"})
    other = git_server.directory / f"{repo.path.name}-other"
    make_repository(other, {"requirements.txt": "# the same, said differently\nhumanize>0\n"})
    images = set()
    for spec in (repo.spec, git_spec(git_server.url(other.name), "main")):
        events = list(up.stream(spec, build_only="true"))
        images.add(events[-1]["imageName"])
    assert len(images) == 1


def test_click_again_opens_the_running_session(up, repository):
    repo = repository({"index.ipynb": NOTEBOOK})
    session, _ = up.launch(repo.spec)
    again, events = up.launch(repo.spec)
    assert again.url == session.url
    assert not built(events)


def test_the_regular_hub_is_still_there(up):
    assert up.api("POST", f"/users/{up.user}/server").status_code in {201, 202}
    from tests.support.running import Session, eventually

    session = Session(f"{up.url}/user/{up.user}/", up.token)
    eventually(lambda: session.get("api/status").status_code == 200, what="the regular session")
    session.write("diary.txt", "today\n")
    up.stop_sessions()
    assert up.api("POST", f"/users/{up.user}/server").status_code in {201, 202}
    eventually(lambda: session.get("api/status").status_code == 200, what="the regular session")
    assert session.read("diary.txt") == "today\n"


@on_one_hub
def test_requirements_as_pip_reads_them(up, repository, git_server):
    project = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    project += '[project]\nname = "faraway"\nversion = "1"\n'
    name = f"faraway-{repository.path.name}"
    make_repository(git_server.directory / name, {"pyproject.toml": project, "faraway.py": "answer = 42\n"})
    requirements = f"-rmore.txt\n-e git+{git_server.url(name)}@main#egg=faraway\n"
    repo = repository({"requirements.txt": requirements, "more.txt": "humanize \\\n  >=4\n", "c.txt": "humanize<99\n"})
    session, _ = up.launch(repo.spec)
    assert session.run("import faraway, humanize; print(faraway.answer)") == "42\n"
