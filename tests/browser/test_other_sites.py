"""Pages of other origins cannot make anything happen here, whatever they try with a logged-in person's browser."""

import pytest
from playwright.sync_api import expect

from tests.support.browser import launch_link, servers
from tests.support.other_site import other_origin

TRIES = {
    "form": '<form id=f method=post action="{link}"><input name=trust value=yes></form><script>f.submit()</script>',
    "fetch": '<script>fetch("{link}", {{method: "POST", mode: "no-cors", credentials: "include",'
    ' headers: {{"Content-Type": "application/x-www-form-urlencoded"}}, body: "trust=yes"}})'
    '.finally(() => document.title = "done")</script>',
    "stream": '<script>const s = new EventSource("{stream}", {{withCredentials: true}});'
    's.onerror = s.onmessage = () => {{ s.close(); document.title = "done" }}</script>',
    "api": '<script>fetch("{api}", {{method: "POST", mode: "no-cors", credentials: "include",'
    ' body: \'{{"spec": "{spec}", "trust": true}}\'}}).finally(() => document.title = "done")</script>',
    "image": '<img src="{link}" onerror="document.title = \'done\'"><img src="{stream}">',
    "frame": '<iframe src="{link}" onload="document.title = \'done\'"></iframe>',
    "prefetch": '<link rel=prefetch href="{link}"><link rel=prefetch href="{stream}">'
    '<script>window.onload = () => document.title = "done"</script>',
    "link": '<script>location = "{link}"</script>',
}


@pytest.fixture
def other_site():
    with other_origin() as server:
        yield server


# A link to a trusted repository is a click: it goes straight on.
ATTACKS = [(how, trust) for how in TRIES for trust in ("", "trusted-") if (how, trust) != ("link", "trusted-")]


@pytest.mark.parametrize("attack", ATTACKS, ids="-".join)
def test_another_site_starts_nothing(up, logged_in, repository, other_site, attack):
    how, trust = attack
    spec = repository(f"{trust}attacked-by-{how}")
    before = state(up)
    addresses = {"link": launch_link(up, spec), "stream": f"{up.service}build/{spec}", "spec": spec}
    attempt = TRIES[how].format(**addresses, api=f"{up.service}api/v1/launches")
    other_site.page = f"<!doctype html><title>waiting</title>{attempt}"
    page = logged_in.new_page()
    asked, answered = [], []
    page.on("request", lambda request: asked.append(request.url) if request.url.startswith(up.service) else None)
    page.on("response", lambda answer: answered.append(answer) if answer.url.startswith(up.service) else None)
    page.goto(other_site.origin)
    if how == "form":
        expect(page.get_by_text("cross_site_refused")).to_be_visible()
    elif how == "link":
        expect(page.get_by_role("button", name="Launch", exact=True)).to_be_visible()
    else:
        expect(page).to_have_title("done")
    if how == "frame":
        assert "Launch" not in "".join(frame.content() for frame in page.frames[1:])
    page.close()
    assert asked, "the attack did not even reach us"
    assert state(up) == before


def state(up):
    """What an attack would change: builds, running sessions, remembered trust."""
    builds = up.builds()
    return builds, servers(up), sorted((up.state / "homes").glob("*/*"))
