"""Choosing "with Dask" on the launch page, as a person does."""

import re

from playwright.sync_api import expect

from tests.support.browser import in_session, launch_link, press, servers, shot


def test_the_choice_fits_the_page(up, page, repository):
    spec = repository("asks-about-dask", {"requirements.txt": "humanize\n"})
    for name, address in {"launch": launch_link(up, spec), "home": up.service}.items():
        page.goto(address)
        if name == "launch":
            page.get_by_label("In my own home").check()
        box, label = page.get_by_role("checkbox", name="with Dask"), page.get_by_text("with Dask", exact=True)
        for width in (360, 1100):
            page.set_viewport_size({"width": width, "height": 800})
            square, words = box.bounding_box(), label.bounding_box()
            assert square["width"] == square["height"] < words["height"], "a box, not a line of the form"
            assert square["x"] + square["width"] <= words["x"], "beside its label"
        label.click()
        expect(box).to_be_checked()
        shot(page, f"dask-{name}")
    assert servers(up) == {}


def test_ticking_it_brings_dask_into_the_environment(up, page, repository):
    page.goto(launch_link(up, repository("chooses-dask", {"requirements.txt": "humanize\n"}), "?dask=1"))
    box = page.get_by_role("checkbox", name="with Dask")
    expect(box).to_be_hidden()  # a project home has no Dask
    page.get_by_label("In my own home").check()
    expect(box).to_be_checked()
    expect(box).to_have_accessible_description(re.compile("If its packages include Dask"))
    expect(page.get_by_text("Repositories you did not say you trust get no Dask.")).to_be_visible()
    press(page, "Launch")
    page.wait_for_url(re.compile(r"[?&]dask=1"), wait_until="commit")
    in_session(up, page, seconds=240)
    (server,) = servers(up).values()
    shown = up.api("GET", f"/users/{up.user}").json()["servers"][server["name"]]
    assert shown["ready"]
    builds = up.builds()
    build = next(one for one in builds if "chooses-dask" in one["spec"])
    log = page.request.get(f"{up.service}api/v1/builds/{build['id']}/log", headers=up.headers).text()
    assert "dask-gateway==" in log or "dask_gateway" in log
    up.stop_sessions()
