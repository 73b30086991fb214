"""The click in a real browser: from the printed login link to JupyterLab with the repository's file open."""

import re

import pytest
import requests
from playwright.sync_api import expect

from tests.support.browser import (
    BUILD_MILLISECONDS,
    at_the_gate,
    in_session,
    launch_link,
    log_in,
    login_link,
    press,
    profile,
    servers,
    shot,
)
from tests.support.git_server import commit, git
from tests.support.running import eventually

NOTEBOOK = """{"cells": [{"cell_type": "code", "id": "one", "execution_count": null, "metadata": {}, "outputs": [],
"source": ["6 * 7"]}], "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}}, "nbformat": 4,
"nbformat_minor": 5}
"""


def test_an_unknown_repository_asks_first_and_launch_ends_in_jupyterlab_with_the_file_open(
    up, chromium, git_server, repository
):
    spec = repository("first", {"requirements.txt": "humanize\n", "index.ipynb": NOTEBOOK})
    head = git(git_server.directory / "first", "rev-parse", "main")
    before = up.builds(), servers(up)
    with profile(chromium) as context:
        page = context.new_page()
        page.goto(launch_link(up, spec, "?labpath=index.ipynb"))
        expect(page).to_have_url(re.compile("/hub/login"))
        page.goto(login_link(up, then=launch_link(up, spec, "?labpath=index.ipynb").removeprefix(up.url)))
        expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("^Launch .*first.*\\?$"))
        facts = page.locator("dl.facts")
        for fact in (git_server.url("first"), head[:12], "from main", "nobody yet", "will be built"):
            expect(facts).to_contain_text(fact)
        expect(page.get_by_role("radio", name="In a project home")).to_be_checked()
        expect(facts).to_contain_text("doc/tree/index.ipynb")
        shot(page, "ask-unknown")
        assert (up.builds(), servers(up)) == before

        press(page, "Launch")
        expect(page.locator("ol.steps")).to_be_visible()
        in_session(up, page)
        expect(page.get_by_role("textbox", name="Name: index.ipynb")).to_be_visible()
        expect(page.get_by_role("button", name=re.compile(r"^Python 3 \(ipykernel\) \| Idle"))).to_be_visible()
        page.locator(".jp-NotebookPanel .jp-CodeCell .jp-InputArea-editor").click()
        page.keyboard.press("Control+Enter")
        expect(page.locator(".jp-OutputArea-output").first).to_have_text("42")
        shot(page, "session")
        page.get_by_role("menuitem", name="File", exact=True).click()
        with context.expect_page() as opened:
            page.get_by_role("menuitem", name="My launches").click()
        expect(opened.value.get_by_role("heading", level=1, name="My launches")).to_be_visible()
        expect(opened.value.get_by_role("link", name=re.compile("^Open .*first"))).to_be_visible()
        opened.value.close()

        again = context.new_page()
        again.goto(launch_link(up, spec))
        expect(again.get_by_role("link", name="Open it")).to_be_visible()
        expect(again.locator("dl.facts")).to_contain_text("ready, starts at once")
        shot(again, "ask-running")
        number = len(up.builds())
        press(again, "Launch")
        in_session(up, again)
        assert list(servers(up)) == [again.url.split("/")[5]]
        assert len(up.builds()) == number
    up.stop_sessions()


def test_trust_and_launch_opens_the_own_home_and_is_remembered(up, page, repository):
    spec = repository("vouched", {"hello.txt": "hello\n"})
    page.goto(launch_link(up, spec, "?labpath=hello.txt"))
    page.get_by_label("In my own home").check()
    press(page, "Launch")
    in_session(up, page)
    expect(page.get_by_role("textbox", name="Name: hello.txt")).to_be_visible()
    assert (up.state / "homes" / up.user / "vouched" / "hello.txt").exists()
    up.stop_sessions()
    page.goto(launch_link(up, spec, "?labpath=hello.txt"))
    in_session(up, page)
    preview = requests.get(f"{up.service}api/v1/preview", params={"spec": spec}, headers=up.headers, timeout=30)
    assert preview.json()["preview"]["trust"] == "mine"
    up.stop_sessions()


def test_a_trusted_repository_goes_straight_on_and_a_reload_joins_its_build(up, page, repository, gates):
    spec = repository("trusted-gated", {"postBuild": gates.script("reload", before="echo first words")})
    page.goto(launch_link(up, spec))
    log = at_the_gate(page)
    shot(page, "building")
    for _ in range(2):
        page.reload()
        expect(log).to_contain_text("first words")
        at_the_gate(page)
    assert log.inner_text().count("first words") == 1
    assert [build["status"] for build in up.builds() if build["spec"] == spec] == ["running"]
    gates.open("reload")
    in_session(up, page)
    assert [build["status"] for build in up.builds() if build["spec"] == spec] == ["succeeded"]
    up.stop_sessions()


def test_a_pull_request_of_a_trusted_repository_asks_first_and_launches_the_request(up, page, repository, git_server):
    spec = repository("trusted-asked-to-merge", {"hello.txt": "ours\n"})
    commit(git_server.directory / "trusted-asked-to-merge", {"theirs.txt": "theirs\n"}, branch="refs/pull/1/head")
    page.goto(
        f"{up.service}go?repository={requests.utils.quote(spec.removesuffix('main'))}refs/pull/1/head&path=theirs.txt"
    )
    expect(page.locator("dl.facts")).to_contain_text("pull or merge request")
    expect(page.get_by_role("radio", name="In a project home")).to_be_checked()
    press(page, "Launch")
    in_session(up, page)
    expect(page.get_by_role("textbox", name="Name: theirs.txt")).to_be_visible()
    assert (up.state / "homes" / up.user / "trusted-asked-to-merge").exists() is False
    up.stop_sessions()


def test_a_closed_page_leaves_the_build_going_and_the_link_finds_it_again(up, logged_in, repository, gates):
    spec = repository("trusted-closed", {"postBuild": gates.script("closed")})
    page = logged_in.new_page()
    page.goto(launch_link(up, spec))
    at_the_gate(page)
    page.close()
    gates.open("closed")
    eventually(lambda: up.builds()[0]["status"] == "succeeded", seconds=60, what="the end of the build")
    page = logged_in.new_page()
    page.goto(launch_link(up, spec))
    in_session(up, page)
    assert [build["spec"] for build in up.builds()].count(spec) == 1
    up.stop_sessions()


def test_a_failing_build_shows_code_hint_and_log_and_try_again_works(up, page, repository, git_server):
    spec = repository("trusted-failing", {"postBuild": "#!/bin/bash\necho about to fail\nexit 3\n"})
    page.goto(launch_link(up, spec))
    expect(page.get_by_role("alert")).to_contain_text("postBuild")
    expect(page.locator(".problem .hint")).not_to_be_empty()
    code = page.get_by_role("link", name="build_failed")
    expect(code).to_have_attribute("href", re.compile("/errors#build_failed$"))
    expect(page.get_by_role("log")).to_contain_text("about to fail")
    shot(page, "failed")
    commit(git_server.directory / "trusted-failing", {"postBuild": "#!/bin/bash\necho mended\n"})
    page.get_by_role("link", name="Try again").click()
    in_session(up, page)
    up.stop_sessions()


def test_a_build_can_be_cancelled_from_its_page(up, page, repository, gates):
    spec = repository("trusted-cancelled", {"postBuild": gates.script("cancelled")})
    page.goto(launch_link(up, spec))
    at_the_gate(page)
    press(page, "Cancel the build")
    expect(page.get_by_role("alert")).to_contain_text("cancelled")
    expect(page.get_by_role("link", name="Try again")).to_be_visible()
    shot(page, "cancelled")
    assert up.builds()[0]["status"] == "cancelled"
    assert servers(up) == {}


def test_a_recipe_that_cannot_work_here_is_said_before_anything_is_built(up, page, repository):
    before = up.builds()
    page.goto(launch_link(up, repository("trusted-apt", {"apt.txt": "gfortran\n"})))
    expect(page.get_by_role("alert")).to_contain_text("apt.txt")
    expect(page.get_by_role("button")).to_have_count(0)
    shot(page, "cannot-launch")
    assert up.builds() == before


@pytest.mark.parametrize("name", ["missing", "trusted-missing"])
def test_a_repository_that_is_not_there_is_a_page_with_a_hint(up, page, git_server, name):
    spec = f"git/{requests.utils.quote(git_server.url(name), safe='')}/main"
    page.goto(launch_link(up, spec))
    expect(page.locator("main code").first).to_have_text(re.compile("_"))
    shot(page, "not-found")


def test_logout_and_login_return_to_the_page(up, page, repository):
    link = launch_link(up, repository("returns"))
    page.goto(f"{up.url}/hub/logout")
    page.goto(link)
    expect(page).to_have_url(re.compile("/hub/login"))
    key = login_link(up).partition("key=")[2].partition("&")[0]
    page.get_by_label("Username").fill(up.user)
    page.get_by_label("Password").fill(key)
    page.locator("#login_submit").click()
    expect(page).to_have_url(link)
    expect(page.get_by_role("button", name="Launch", exact=True)).to_be_visible()


def test_the_whole_click_without_javascript(up, chromium, repository, gates):
    spec = repository("no-script", {"hello.txt": "hello\n", "postBuild": gates.script("script")})
    with profile(chromium, java_script_enabled=False) as context:
        page = log_in(context, up)
        page.goto(launch_link(up, spec, "?urlpath=lab/tree/hello.txt"))
        press(page, "Launch")
        expect(page.locator("pre")).to_contain_text("at the gate", timeout=BUILD_MILLISECONDS)
        assert "This page reloads itself" in page.content()
        shot(page, "no-script")
        gates.open("script")
        in_session(up, page)
        assert page.url.endswith("/lab/tree/hello.txt")
    up.stop_sessions()


def test_the_whole_click_on_jupyterhub_5(start, chromium, tmp_path, git_server, repository):
    spec = repository("on-five", {"hello.txt": "hello\n"})
    with start(tmp_path / "state", version="hub5", trust=None) as up, profile(chromium) as context:
        page = log_in(context, up)
        page.goto(launch_link(up, spec, "?labpath=hello.txt"))
        press(page, "Launch")
        in_session(up, page)
        expect(page.get_by_role("textbox", name="Name: hello.txt")).to_be_visible()
