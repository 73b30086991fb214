"""What clusters have, as people read it."""

from __future__ import annotations

from launcher.web.clusters_words import ClusterWords
from launcher.web.words import Languages

SAID = ClusterWords(Languages().english)


def test_a_kind_without_a_limit_says_so():
    assert SAID.usage({"clusters": 0, "memory": 2**30}, {"clusters": 0, "workers": 3}) == [
        ("Clusters", "0 of 0"),
        ("Workers", "3, no limit"),
        ("Cores", "0, no limit"),
        ("Memory", "0 GiB of 1 GiB"),
    ]


def test_processes_have_names_of_their_own():
    names = [SAID.process_name(process) for process in ("scheduler", "nursery", "a1b2c3d4e5f6")]
    assert names == ["Scheduler", "Start of processes", "Worker a1b2c3d4"]
