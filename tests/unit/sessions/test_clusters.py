"""Whatever a gateway or a scheduler says: what comes out is a list of clusters with the right types, or ValueError."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.sessions.clusters import Cluster, read_list, read_log_names
from tests.support.scripted_gateway import cluster

NAME = "0" * 32
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = tuple(cluster(NAME))


@given(st.dictionaries(st.sampled_from(FIELDS), JSON), JSON, JSON)
def test_any_field_may_hold_anything(changes, limits, used):
    said = {**cluster(NAME), **changes, "name": NAME, "status": "running"}
    found = read_list({"clusters": [said], "limits": limits, "used": used})
    (one,) = found.clusters
    assert isinstance(one, Cluster)
    json.dumps(one.to_json(), allow_nan=False)
    for field in ("user", "title", "environment", "reason", "server_name"):
        value = getattr(one, field)
        assert isinstance(value, str)
        assert len(value) <= 500
        assert value.isprintable()
    assert one.started is None or isinstance(one.started, datetime)
    assert all(isinstance(amount, int) for amount in (*found.limits.values(), *found.used.values()))


@given(JSON)
def test_any_answer_is_a_list_or_none(body):
    for read in (read_list, read_log_names):
        try:
            read(body)
        except ValueError:
            continue


@pytest.mark.parametrize("name", ["", "../x", "A" * 32, "0" * 31, "0" * 33, f"{NAME}\n", 7, None])
def test_a_name_that_is_none_of_dask_gateways_is_no_cluster(name):
    assert read_list({"clusters": [{**cluster(NAME), "name": name}]}).clusters == ()


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", "a" * 65, "scheduler\n", 7, None])
def test_a_process_with_such_a_name_has_no_log(name):
    assert read_log_names({"logs": ["scheduler", name]}) == ("scheduler",)
