"""B2, B3, B4: launches that need no build: a notebook-only commit, a stopped session, a running session."""

from __future__ import annotations

import statistics
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from benchmarks.clicks import click_launcher, click_stock, timed
from benchmarks.observe import Hub, Person, Watch, kernel_answers
from benchmarks.rounds import Contestant, interleave, say
from benchmarks.stage import NOTEBOOK, Stage
from benchmarks.tables import Measurement
from tests.support.git_server import commit

LAUNCHER, STOCK = "launcher", "stock JupyterHub"
_AT_ONCE_AT_FIRST = 5
_TURNS = 3  # people take turns: one person may only launch so often in a minute


class Clicks:
    """One repository on both hubs, and people who have been there before; no session runs."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage = stage
        self.path, self.spec = stage.repository(name, {"index.ipynb": NOTEBOOK % 0, "README.md": "A course.\n"})
        self.url = stage.git.url(name)

    def prepare(self, people: int, *, stop: bool = True) -> None:
        """Let people click once, so that logins, homes and the environment are there."""
        for contestant in (LAUNCHER, STOCK):
            with ThreadPoolExecutor(_AT_ONCE_AT_FIRST) as pool:
                list(pool.map(lambda person, who=contestant: self.click(who, person), range(people)))
            if stop:
                self.stop()

    def hub(self, contestant: str) -> Hub:
        """The hub of a contestant."""
        return self.stage.launcher if contestant == LAUNCHER else self.stage.stock

    def person(self, contestant: str, number: int) -> Person:
        """One of those who may click."""
        return self.stage.person(self.hub(contestant), number)

    def click(self, contestant: str, number: int, *, kernel: bool = False) -> dict[str, float]:
        """One click; seconds until each thing was there."""
        person, hub = self.person(contestant, number), self.hub(contestant)
        if contestant == LAUNCHER:
            watch, url = timed(click_launcher, hub, person, self.spec)
        else:
            watch, url = timed(click_stock, hub, person, self.url)
        if kernel:
            kernel_answers(url, person.token)
            watch.stamp("kernel answers")
        return _common(watch)

    def stop(self) -> None:
        """No session runs after this."""
        for contestant in (LAUNCHER, STOCK):
            self.hub(contestant).stop_everything()


def _common(watch: Watch) -> dict[str, float]:
    """Stamps under the names that both contestants share: a launcher's session answers when its files are there."""
    names = {"answers": "session answers", "files": "files in place", "ready": "ready event", "page": "page"}
    stamps = {names.get(name, name): value for name, value in watch.stamps.items()}
    stamps.setdefault("files in place", stamps["session answers"])
    return stamps


def notebook_commit(stage: Stage, repeats: int) -> Measurement:
    """B2: upstream changes a notebook, a person who was there before clicks."""
    result = Measurement("B2", "notebook-only commit: click until a kernel answers 1+1")
    clicks = Clicks(stage, "b2")
    clicks.prepare(_TURNS)
    builds = _builds(stage)

    def contestant(name: str, offset: int) -> Contestant:
        def sample(turn: int) -> dict[str, float]:
            commit(clicks.path, {"index.ipynb": NOTEBOOK % (2 * turn + offset)}, f"Round {turn} {name}")
            return clicks.click(name, turn % _TURNS, kernel=True)

        return sample

    both = {LAUNCHER: contestant(LAUNCHER, 1), STOCK: contestant(STOCK, 2)}
    interleave(result, both, repeats, after=clicks.stop)
    result.notes.append(f"Builds that the launcher started for these commits: {_builds(stage) - builds}.")
    return result


def _builds(stage: Stage) -> int:
    answer = stage.launcher.service("api/v1/builds")
    answer.raise_for_status()
    return len(answer.json()["builds"])


def stopped_session(stage: Stage, repeats: int, bursts: int, people: int) -> Measurement:
    """B3: the environment is known and the session stopped; one person, then many in the same moment."""
    result = Measurement("B3", "warm click on a stopped session: until it answers HTTP 200")
    clicks = Clicks(stage, "b3")
    say(f"  B3 lets {people} people visit once")
    clicks.prepare(people)

    def single(name: str) -> Contestant:
        return lambda turn: clicks.click(name, turn % people)

    interleave(result, {name: single(name) for name in (LAUNCHER, STOCK)}, repeats, after=clicks.stop)
    crowd = {name: _crowd(clicks, name, people) for name in (LAUNCHER, STOCK)}
    interleave(result, crowd, bursts, after=clicks.stop)
    result.notes.append("At once: one sample is one burst of clicks; the last is when everybody has a session.")
    return result


def _crowd(clicks: Clicks, name: str, people: int) -> Contestant:
    def sample(_turn: int) -> dict[str, float]:
        together = Barrier(people)

        def one(person: int) -> float:
            together.wait()
            return clicks.click(name, person)["files in place"]

        with ThreadPoolExecutor(people) as pool:
            seconds = list(pool.map(one, range(people)))
        return {f"{people} at once, median": statistics.median(seconds), f"{people} at once, last": max(seconds)}

    return sample


def running_session(stage: Stage, repeats: int) -> Measurement:
    """B4: a click on the link of a session that runs."""
    result = Measurement("B4", "click on a running session: until it answers")
    clicks = Clicks(stage, "b4")
    clicks.prepare(_TURNS, stop=False)

    def contestant(name: str) -> Contestant:
        def sample(turn: int) -> dict[str, float]:
            values = clicks.click(name, turn % _TURNS)
            if name == LAUNCHER:  # it opens the session as it is; nbgitpuller pulls again, which is not the same job
                del values["files in place"]
            return values

        return sample

    interleave(result, {name: contestant(name) for name in (LAUNCHER, STOCK)}, repeats)
    result.notes.append("The stock link pulls again before it opens the file; the launcher opens the session as it is.")
    clicks.stop()
    return result
