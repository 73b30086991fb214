"""nbgitpuller's links, as instructors hand them out, in a logged-in browser: files in the home, the right one open."""

import re
from urllib.parse import quote, urlencode

import pytest
from playwright.sync_api import expect

from tests.support.browser import in_session, log_in, profile, running_chromium, servers
from tests.support.git_server import commit, make_repository
from tests.support.running import git_spec


@pytest.fixture(scope="module")
def pull_up(start, tmp_path_factory):
    with start(tmp_path_factory.mktemp("pull") / "state") as running:
        yield running


@pytest.fixture(scope="module")
def chromium():
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def page(chromium, pull_up):
    with profile(chromium) as context:
        yield log_in(context, pull_up)


@pytest.fixture
def course(git_server, request):
    """A course's repository: its name."""
    name = f"course-{request.node.name.removeprefix('test_').replace('_', '-')}"[:50]
    make_repository(git_server.directory / name, {"week 1/lecture.txt": "first week\n", "kept.txt": "upstream\n"})
    return name


def pull_query(git_server, course, **more):
    """What the link generator makes for a course."""
    path = f"lab/tree/{course}/week 1/lecture.txt"
    return urlencode({"repo": git_server.url(course), "branch": "main", "urlpath": path, **more}, quote_via=quote)


def shows_the_lecture(page):
    expect(page.get_by_role("tab", name="lecture.txt")).to_be_visible()
    expect(page.locator(".cm-content")).to_contain_text("first week")


def test_a_link_pulls_into_the_home_of_the_regular_session_and_again_without_losing_edits(
    pull_up, page, git_server, course
):
    link = f"{pull_up.url}/hub/user-redirect/git-pull?{pull_query(git_server, course)}"
    page.goto(link)
    shows_the_lecture(page)
    assert list(servers(pull_up)) == [""]
    home = pull_up.state / "homes" / pull_up.user / course
    assert (home / "week 1" / "lecture.txt").read_text() == "first week\n"

    (home / "kept.txt").write_text("mine\n")
    commit(git_server.directory / course, {"new.txt": "new\n"})
    page.goto(link)
    shows_the_lecture(page)
    assert (home / "new.txt").read_text() == "new\n"
    assert (home / "kept.txt").read_text() == "mine\n"
    pull_up.stop_sessions()


def test_a_link_may_name_an_environment(pull_up, page, git_server, course):
    make_repository(git_server.directory / "teaching", {"requirements.txt": "humanize\n"})
    spec = git_spec(git_server.url("teaching"), "main")
    page.goto(
        f"{pull_up.url}/hub/user-redirect/git-pull?{pull_query(git_server, course, environment=spec)}",
    )
    in_session(pull_up, page)
    shows_the_lecture(page)
    (server,) = servers(pull_up)
    assert server.startswith("teaching")
    (pulled,) = pull_up.state.glob(f"homes/{pull_up.user}/**/{course}/week 1/lecture.txt")
    assert pulled.read_text() == "first week\n"
    assert re.search("/user/[^/]+/teaching[^/]*/lab", page.url)
    pull_up.stop_sessions()


def test_a_binder_link_of_the_link_generator_pulls_too(pull_up, page, git_server, course):
    make_repository(git_server.directory / "binder-environment", {"README.md": "nothing\n"})
    spec = git_spec(git_server.url("binder-environment"), "main")
    inner = quote(f"git-pull?{pull_query(git_server, course)}", safe="")
    page.goto(f"{pull_up.service}v2/{spec}?urlpath={inner}")
    in_session(pull_up, page)
    shows_the_lecture(page)
    (pulled,) = pull_up.state.glob(f"homes/{pull_up.user}/**/{course}/week 1/lecture.txt")
    assert pulled.read_text() == "first week\n"
    pull_up.stop_sessions()
