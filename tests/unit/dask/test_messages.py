"""What persons and schedulers say is read with suspicion."""

import pytest

from launcher.dask.messages import Wish, read_heartbeat, read_wish

BEFORE = Wish(3, None, None, {})
HEARTBEAT = {
    "scheduler_address": "tls://127.0.0.1:4000",
    "dashboard_address": "http://127.0.0.1:4001",
    "api_address": "http://127.0.0.1:4002",
    "count": 2,
    "active_workers": ["a" * 32],
    "closing_workers": [],
    "closed_workers": [],
}


def test_a_number_of_workers_is_reserved_and_passed_on():
    wish = read_wish({"op": "scale", "count": 5}, before=BEFORE, most=9)
    assert (wish.reserved, wish.minimum, wish.maximum) == (5, None, None)
    assert wish.message == {"op": "scale", "count": 5}


def test_adapting_reserves_its_upper_end():
    wish = read_wish({"op": "adapt", "minimum": 1, "maximum": 4, "active": True}, before=BEFORE, most=9)
    assert (wish.reserved, wish.minimum, wish.maximum) == (4, 1, 4)


def test_adapting_without_an_upper_end_takes_what_there_is():
    wish = read_wish({"op": "adapt", "minimum": None, "maximum": None}, before=BEFORE, most=9)
    assert (wish.reserved, wish.minimum, wish.maximum) == (9, 0, 9)
    with pytest.raises(ValueError, match=r"adapt\(\) needs a maximum"):
        read_wish({"op": "adapt", "minimum": None, "maximum": None}, before=BEFORE, most=None)


def test_switching_adapting_off_keeps_what_runs():
    wish = read_wish({"op": "adapt", "active": False}, before=Wish(4, 1, 4, {}), most=9)
    assert (wish.reserved, wish.minimum, wish.maximum) == (4, None, None)


@pytest.mark.parametrize(
    "message",
    [
        {"op": "scale", "count": -1},
        {"op": "scale", "count": "2"},
        {"op": "scale", "count": True},
        {"op": "scale", "count": 1.5},
        {"op": "adapt", "minimum": -1, "maximum": 2},
        {"op": "adapt", "minimum": "x", "maximum": 2},
        {"op": "adapt", "minimum": 3, "maximum": 2},
    ],
)
def test_other_wishes_are_refused_with_a_sentence(message):
    with pytest.raises(ValueError, match=r"must be a whole number of at least 0|more than maximum"):
        read_wish(message, before=BEFORE, most=9)


def test_a_heartbeat_is_passed_on_with_its_count_in_bounds():
    assert read_heartbeat(HEARTBEAT, most_workers=9, is_its_port=bool) == HEARTBEAT
    assert read_heartbeat({**HEARTBEAT, "count": 10**9}, most_workers=9, is_its_port=bool)["count"] == 9


@pytest.mark.parametrize(
    "change",
    [
        {"dashboard_address": "http://127.0.0.1:80@example.org:80"},
        {"dashboard_address": "http://example.org:80"},
        {"api_address": "http://127.0.0.1:4002/x"},
        {"api_address": "https://127.0.0.1:4002"},
        {"scheduler_address": "tcp://127.0.0.1:4000"},
        {"scheduler_address": "tls://127.0.0.1:4000\n"},
        {"scheduler_address": None},
        {"count": -1},
        {"count": "many"},
        {"active_workers": None},
    ],
)
def test_a_heartbeat_that_leads_elsewhere_is_refused(change):
    with pytest.raises((ValueError, TypeError)):
        read_heartbeat({**HEARTBEAT, **change}, most_workers=9, is_its_port=bool)


@pytest.mark.parametrize("name", ["scheduler_address", "dashboard_address", "api_address"])
def test_a_heartbeat_that_names_a_port_of_somebody_else_is_refused(name):
    ports = {int(HEARTBEAT[one].rpartition(":")[2]) for one in HEARTBEAT if one.endswith("_address")}
    ports.discard(int(HEARTBEAT[name].rpartition(":")[2]))
    with pytest.raises(ValueError, match=name):
        read_heartbeat(HEARTBEAT, most_workers=9, is_its_port=ports.__contains__)


def test_names_that_no_worker_has_are_left_out():
    message = {**HEARTBEAT, "active_workers": ["../../etc", 7, "b" * 32]}
    assert read_heartbeat(message, most_workers=9, is_its_port=bool)["active_workers"] == ["b" * 32]
