"""Directories and logs of clusters in the process runtime."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from launcher.dask.nurseries.description import environments_of
from launcher.dask.nurseries.nursery import listening_socket
from launcher.dask.nurseries.places import LARGEST_LOG, Places, short_path

CLUSTER = "0123456789abcdef" * 2


def test_environments_of_clusters_that_outlive_their_sessions_are_known(places: Places) -> None:
    assert environments_of(places) == frozenset()
    for name, text in (("ab", '{"environment_id": "sha256:12"}'), ("cd", "{"), ("ef", None)):
        places.cluster(name).make()
        if text is not None:
            (places.cluster(name).inside / "cluster.json").write_text(text)
    assert environments_of(places) == {"sha256:12"}


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def test_a_log_that_grows_too_long_keeps_its_end_and_its_writer_goes_on(places: Places) -> None:
    log = places.open_log(CLUSTER, "scheduler")
    os.write(log, b"x" * LARGEST_LOG + b"the end")
    small = places.open_log(CLUSTER, "ab")
    os.write(small, b"short")
    places.trim_logs(CLUSTER)
    os.write(log, b" and more")
    text = places.read_log(CLUSTER, "scheduler", 2 * LARGEST_LOG)
    assert text.endswith("xthe end and more")
    assert len(text) == LARGEST_LOG // 2 + len(" and more")
    assert places.read_log(CLUSTER, "ab", 100) == "short"
    os.close(log)
    os.close(small)


def test_the_end_of_a_log_is_text_whatever_its_bytes(places: Places) -> None:
    log = places.open_log(CLUSTER, "scheduler")
    os.write(log, "ä".encode() + b"\xff\0")
    os.close(log)
    assert places.read_log(CLUSTER, "scheduler", 3) == "\ufffd\ufffd\0"
    assert places.log_names("ff") == []


def test_directories_are_closed_to_others(places: Places, tmp_path: Path) -> None:
    place = places.cluster(CLUSTER)
    place.make()
    os.close(places.open_log(CLUSTER, "scheduler"))
    modes = {path.name: path.stat().st_mode & 0o777 for path in (place.directory, place.inside, place.tmp)}
    assert modes == {CLUSTER: 0o711, "inside": 0o700, "tmp": 0o700}
    assert (tmp_path / "dask" / "logs" / CLUSTER).stat().st_mode & 0o777 == 0o700
    assert places.clusters() == {CLUSTER}
    (place.tmp / "closed").mkdir(mode=0o000)
    place.remove()
    place.remove()
    assert places.clusters() == frozenset()


def test_only_directories_of_this_launcher_are_clusters(places: Places, tmp_path: Path) -> None:
    clusters = tmp_path / "dask" / "clusters"
    assert places.name_of(str(clusters / CLUSTER)) == CLUSTER
    for other in (tmp_path / "other" / CLUSTER, clusters / "..", clusters, clusters / CLUSTER / "inside", Path()):
        assert places.name_of(str(other)) == ""


def test_what_a_crash_left_of_a_deletion_is_swept_away(places: Places, tmp_path: Path) -> None:
    left = tmp_path / "dask" / "clusters" / ".removing-abc"
    left.mkdir(parents=True)
    assert places.clusters() == frozenset()
    places.sweep()
    assert not left.exists()


def test_sockets_work_however_long_the_path_of_the_state_directory_is(tmp_path: Path) -> None:
    place = Places(tmp_path / ("long" * 40)).cluster(CLUSTER)
    place.make()
    assert len(str(place.orders)) > 108
    with listening_socket(place) as listener, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
        with short_path(place.orders) as path:
            line.connect(path)
        accepted, _ = listener.accept()
        accepted.close()
