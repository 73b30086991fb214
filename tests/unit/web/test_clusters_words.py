"""Amounts and times of clusters, as people read them."""

from __future__ import annotations

import pytest

from launcher.web.clusters_words import duration, memory, process_name, usage


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "less than a minute"),
        (59.9, "less than a minute"),
        (60, "1 minute"),
        (3599, "59 minutes"),
        (3600, "1 hour"),
        (1.6 * 3600, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
    ],
)
def test_durations(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("amount", "words"), [(0, "0 GiB"), (2**31, "2 GiB"), (10**9, "0.9313 GiB"), (1536 * 2**20, "1.5 GiB")]
)
def test_memory(amount, words):
    assert memory(amount) == words


def test_a_kind_without_a_limit_says_so():
    assert usage({"clusters": 0, "memory": 2**30}, {"clusters": 0, "workers": 3}) == [
        ("Clusters", "0 of 0"),
        ("Workers", "3, no limit"),
        ("Cores", "0, no limit"),
        ("Memory", "0 GiB of 1 GiB"),
    ]


def test_processes_have_names_of_their_own():
    names = [process_name(process) for process in ("scheduler", "nursery", "a1b2c3d4e5f6")]
    assert names == ["Scheduler", "Start of processes", "Worker a1b2c3d4"]
