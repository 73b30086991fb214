"""Which addresses, headers and redirects pass between a visitor and a scheduler."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.dask.dashboard_access import Views
from launcher.dask.dashboard_socket import reason_bytes, sendable
from launcher.dask.reverse_proxy import Dashboard, checked_tail, public_location, request_headers, response_headers
from launcher.errors import BadRequest, DaskUnavailable

UPSTREAM = Dashboard("alice", "http://127.0.0.1:1234", "token")
PUBLIC = "/services/dask-gateway/clusters/abc/"


@given(st.text())
def test_a_path_is_left_as_it_is_or_refused(tail):
    try:
        assert checked_tail(tail) == tail
    except BadRequest:
        return
    assert tail.isascii()
    assert tail.isprintable()
    assert not {".", ".."} & {unquote(segment) for segment in tail.split("/")}


@given(st.text(), st.sampled_from(["", "status", "info/main/workers.html"]))
def test_a_redirect_never_leaves_the_cluster(location, tail):
    try:
        target = public_location(location, tail, UPSTREAM, PUBLIC)
    except DaskUnavailable:
        return
    assert target.startswith(PUBLIC)
    assert urlsplit(target).netloc == ""
    assert ".." not in [unquote(segment) for segment in urlsplit(target).path.split("/")]


@given(st.dictionaries(st.sampled_from(["Cookie", "Authorization", "X-Forwarded-For", "Host", "Accept"]), st.text()))
def test_the_scheduler_sees_the_clusters_token_and_nothing_that_identifies_the_visitor(headers):
    passed = request_headers(headers, "token")
    assert passed.keys() <= {"Authorization", "Accept"}
    assert passed["Authorization"] == "token token"


@pytest.mark.parametrize("kind", ["", "text/html\r\nSet-Cookie: a=b", "text/\xe9"])
def test_a_content_type_that_is_none_runs_nowhere(kind):
    assert response_headers({"Content-Type": kind})["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize("kind", ["text/html", "TEXT/HTML; charset=x", "image/svg+xml", "application/xhtml+xml"])
def test_what_runs_in_a_browser_is_kept_by_none(kind):
    assert response_headers({"Content-Type": kind, "Cache-Control": "public"})["Cache-Control"] == "no-store"


def test_a_view_opens_one_cluster_and_is_signed_by_us():
    views = Views(b"a secret of at least thirty-two bytes")
    view = views.sign("abc", "ada")
    assert views.read(view, "abc") == "ada"
    assert views.read(view, "abd") is None
    assert views.read("nonsense", "abc") is None
    assert Views(b"another secret of thirty-two bytes..").read(view, "abc") is None


@given(st.text())
def test_a_close_reason_fits_into_its_frame(reason):
    assert len(reason_bytes(reason)) <= 123
    reason_bytes(reason).decode()


@pytest.mark.parametrize(
    ("code", "sent"), [(None, 1001), (1000, 1000), (1005, 1000), (1006, 1001), (4999, 4999), (5000, 1001)]
)
def test_only_close_codes_that_may_be_sent_are_sent(code, sent):
    assert sendable(code, 1001) == sent
