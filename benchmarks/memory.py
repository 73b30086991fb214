"""B6: the memory of idle sessions, shared pages counted by shares (Pss)."""

from __future__ import annotations

import time

from benchmarks.observe import kernel_answers, pss_bytes
from benchmarks.rounds import Contestant, interleave
from benchmarks.stage import Stage
from benchmarks.tables import Measurement
from benchmarks.warm import LAUNCHER, STOCK, Clicks

_SESSIONS = 5
_SETTLE_SECONDS = 5
_MEGABYTE = 1024 * 1024


def idle_sessions(stage: Stage, repeats: int) -> Measurement:
    """Five people's sessions side by side, without and with a kernel."""
    without, with_kernel = "a session", "a session with a kernel"
    result = Measurement("B6", "memory of an idle session", units={without: "MB", with_kernel: "MB"})
    clicks = Clicks(stage, "b6")

    def contestant(name: str) -> Contestant:
        def sample(_turn: int) -> dict[str, float]:
            for person in range(_SESSIONS):
                clicks.click(name, person)
            time.sleep(_SETTLE_SECONDS)
            values = {without: _mean(clicks, name)}
            for person in range(_SESSIONS):
                one = clicks.person(name, person)
                url = next(iter(clicks.hub(name).servers(one.name).values()))["url"]
                kernel_answers(clicks.hub(name).url.rstrip("/") + url, one.token)
            time.sleep(_SETTLE_SECONDS)
            return {**values, with_kernel: _mean(clicks, name)}

        return sample

    interleave(result, {name: contestant(name) for name in (LAUNCHER, STOCK)}, repeats, after=clicks.stop)
    result.notes.append(
        f"Mean of {_SESSIONS} sessions of different people, {_SETTLE_SECONDS} s after the last one answered."
    )
    return result


def _mean(clicks: Clicks, name: str) -> float:
    hub = clicks.hub(name)
    people = [clicks.person(name, number).name for number in range(_SESSIONS)]
    processes = [server["state"]["pid"] for person in people for server in hub.servers(person).values()]
    if len(processes) != _SESSIONS:
        raise RuntimeError(f"{len(processes)} sessions run, not {_SESSIONS}")
    return sum(map(pss_bytes, processes)) / _SESSIONS / _MEGABYTE
