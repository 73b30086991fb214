"""What clusters in containers decide by themselves: ports, limits, and descriptors that are handed over once."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

from launcher.dask.container.handover import Handover
from launcher.dask.container.limits import ALLOWANCE_BYTES, Room, room_of
from launcher.dask.container.sandboxes import Ports

ARGUMENTS = ("--protocol", "tls", "--port", "0", "--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0")
ARGUMENTS += ("--dg-api-address", "127.0.0.1:0", "--dg-heartbeat-period", "0")


def test_a_scheduler_listens_where_the_ways_lead() -> None:
    ports = Ports(4001, 4002, 4003, 4004)
    said = " ".join(ports.put_into(ARGUMENTS))
    assert said == (
        "--protocol tls --port 4001 --host 127.0.0.1 --dashboard-address 127.0.0.1:4002 "
        "--dg-api-address 127.0.0.1:4003 --dg-heartbeat-period 0"
    )
    assert Ports.from_label(ports.label) == ports
    assert 4004 not in ports.reached


def test_free_ports_differ() -> None:
    assert len(set(Ports.free())) == 4


def test_a_cluster_takes_what_its_scheduler_and_its_workers_may() -> None:
    assert room_of(1000, {}) == Room(1000, 1)
    two = {"a": Room(100, 2), "b": Room(50, 1)}
    assert room_of(1000, two) == Room(1000 + 150 + 2 * ALLOWANCE_BYTES, 4)


async def test_descriptors_are_handed_over_once(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    path = tmp_path / "begin"
    handover = Handover(path, [writing])
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        _, (descriptor,), _, _ = await asyncio.to_thread(socket.recv_fds, client, 1, 1)
    os.write(descriptor, b"here")
    assert os.read(reading, 10) == b"here"
    assert not path.exists()
    handover.close()
    for one in (reading, writing, descriptor):
        os.close(one)


async def test_nothing_is_held_when_nobody_comes(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    handover = Handover(tmp_path / "begin", [writing])
    handover.close()
    os.close(writing)
    assert os.read(reading, 10) == b""
    os.close(reading)
