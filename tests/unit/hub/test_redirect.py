from types import SimpleNamespace

import pytest

from launcher.hub.redirect import launch_path, redirect_hook


def test_a_pull_link_without_environment_keeps_its_meaning():
    assert launch_path("git-pull", "repo=https%3A%2F%2Fgithub.com%2Fo%2Fr&branch=main&urlpath=lab") is None


@pytest.mark.parametrize("path", ["lab", "git-pull/x", "tree", ""])
def test_other_paths_are_not_ours(path):
    assert launch_path(path, "environment=gh/o/env/main") is None


def test_a_pull_link_with_an_environment_becomes_a_launch_that_pulls():
    query = "repo=https%3A%2F%2Fgithub.com%2Fo%2Fr&environment=gh/o/env/main&urlpath=lab%2Ftree%2Fr%2Fa.ipynb"
    assert launch_path("git-pull", query) == (
        "v2/gh/o/env/main?urlpath=git-pull%3Frepo%3Dhttps%253A%252F%252Fgithub.com%252Fo%252Fr"
        "%26urlpath%3Dlab%252Ftree%252Fr%252Fa.ipynb"
    )


async def test_the_hook_keeps_an_earlier_hook():
    async def earlier(path, request, user, base_url):
        return f"earlier:{path}"

    hook = redirect_hook("binder", earlier)
    request = SimpleNamespace(query="repo=x")
    assert await hook("git-pull", request, None, "/hub-base/") == "earlier:git-pull"
    request = SimpleNamespace(query="repo=x&environment=gh/o/e/main")
    assert await hook("git-pull", request, None, "/hub-base/") == (
        "/hub-base/services/binder/v2/gh/o/e/main?urlpath=git-pull%3Frepo%3Dx"
    )
