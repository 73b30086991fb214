"""What somebody may have, counted as reservations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traitlets import TraitError
from traitlets.config import Config

from launcher.dask.config import DaskSettings, LauncherDask
from launcher.dask.limits import Reservation, limits_of, most_workers, require_room, used
from launcher.errors import DaskLimitExceeded
from launcher.traits import revived

GIB = 2**30


def settings(**traits) -> DaskSettings:
    return LauncherDask(config=Config(LauncherDask=traits)).settings()


def holds(workers: int, *, user="ana", groups=(), cluster="c", cores=1, memory=GIB) -> Reservation:
    return Reservation(cluster, user, frozenset(groups), workers, cores, memory)


@pytest.mark.parametrize(
    ("limits", "wanted", "words"),
    [
        ({"workers": 4}, holds(5), "This needs 5 workers, but your limit is 4 workers."),
        ({"workers": 1}, holds(10**9), "This needs 1000000000 workers, but your limit is 1 worker."),
        ({"cores": 4}, holds(3, cores=2), "This needs 6 cores, but your limit is 4 cores."),
        ({"memory": "3 G"}, holds(2, memory=2 * GIB), "This needs 4 GiB of memory, but your limit is 3 GiB of memory."),
        ({"clusters": 0}, holds(0), "This needs 1 cluster, but your limit is 0 clusters."),
    ],
)
def test_the_message_names_the_limit(limits, wanted, words):
    with pytest.raises(DaskLimitExceeded) as refused:
        require_room(wanted, [], settings(user_limits=limits))
    assert refused.value.message == words


def test_other_clusters_of_the_person_count_those_of_others_do_not():
    allowed = settings(user_limits={"workers": 4})
    require_room(holds(4), [holds(100, user="bob", cluster="b")], allowed)
    with pytest.raises(DaskLimitExceeded, match=r"This needs 2 workers, .* 4 workers \(3 workers in your other"):
        require_room(holds(2), [holds(3, cluster="b")], allowed)


def test_a_person_of_several_groups_has_the_most_generous_limit():
    allowed = settings(
        user_limits={"workers": 4, "cores": 4},
        group_user_limits={"few": {"workers": 2}, "many": {"workers": 9}, "huge": {"cores": 64}},
    )
    assert limits_of({"few"}, allowed) == {"workers": 2, "cores": 4}
    assert limits_of({"few", "many", "huge"}, allowed) == {"workers": 9, "cores": 64}
    assert limits_of({"unheard-of"}, allowed) == {"workers": 4, "cores": 4}


def test_a_group_has_limits_for_all_its_members_together():
    allowed = settings(user_limits={}, group_limits={"course": {"workers": 5}})
    others = [holds(3, user="bob", groups={"course"}, cluster="b")]
    require_room(holds(2, groups={"course"}), others, allowed)
    require_room(holds(50), others, allowed)
    with pytest.raises(DaskLimitExceeded, match="the group course together may have 5 workers"):
        require_room(holds(3, groups={"course"}), others, allowed)


@given(
    st.lists(st.integers(0, 9), max_size=4),
    st.fixed_dictionaries({}, optional={kind: st.integers(0, 30) for kind in ("workers", "cores")}),
    st.integers(1, 3),
)
def test_as_many_workers_as_are_offered_fit_and_not_one_more(taken, limits, cores):
    allowed = settings(user_limits=limits)
    others = [holds(count, cluster=str(number)) for number, count in enumerate(taken)]
    most = most_workers(holds(0, cores=cores), others, allowed)
    if most is None:
        assert not limits
        return
    fits = used(others)["workers"] <= limits.get("workers", 999) and used(others)["cores"] <= limits.get("cores", 999)
    if fits:
        require_room(holds(most, cores=cores), others, allowed)
    with pytest.raises(DaskLimitExceeded):
        require_room(holds(most + 1, cores=cores), others, allowed)


@pytest.mark.parametrize(
    ("traits", "words"),
    [
        ({"user_limits": {"gpus": 1}}, "no limit called 'gpus'"),
        ({"user_limits": {"workers": -1}}, "whole number of at least 0"),
        ({"user_limits": {"memory": "many"}}, "'many' is not an amount of memory"),
        ({"group_limits": {"course": 3}}, "must be a dict"),
        ({"worker_memory": "9 G"}, "cannot be more than"),
        ({"service_name": "Dask Gateway"}, "only lower-case letters"),
        ({"worker_memory": "-1"}, "not an amount of memory"),
    ],
)
def test_wrong_settings_are_refused_with_a_sentence(traits, words):
    with pytest.raises(TraitError, match=words):
        settings(**traits)


def test_settings_survive_the_way_to_the_service():
    import dataclasses
    import json

    before = settings(groups=["course"], group_limits={"course": {"memory": "4 G"}})
    assert revived(DaskSettings, json.loads(json.dumps(dataclasses.asdict(before)))) == before
    assert before.group_limits["course"]["memory"] == 4 * GIB
