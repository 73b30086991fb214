"""What a cluster has and does, in the words of a language."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.dask.config import LIMIT_KINDS
from launcher.sessions.clusters import Cluster
from launcher.web.amounts import Amounts
from launcher.web.words import Words

_BUSY_SECONDS = 5
_SHORT = 12
_KIND_OF_TAG = {"running": "good", "failed": "bad"}
_PROCESSES = frozenset({"scheduler", "nursery"})


class ClusterWords:
    """Speaks about clusters in the language of some words."""

    def __init__(self, words: Words) -> None:
        self._t = words.t
        self._amounts = Amounts(words)

    def workers(self, cluster: Cluster) -> str:
        """How many there are, and how many there should be."""
        return self._t("clusters.of", have=cluster.workers, most=cluster.workers_wanted)

    def adaptive(self, cluster: Cluster) -> str:
        """Between which numbers its workers come and go; "" when it has a fixed number."""
        if cluster.minimum is None or cluster.maximum is None:
            return ""
        return self._t("clusters.adaptive", minimum=cluster.minimum, maximum=cluster.maximum)

    def size_of_workers(self, cluster: Cluster) -> str:
        """What one worker has."""
        memory = self._amounts.memory(cluster.worker_memory)
        return self._t("clusters.each_worker", count=cluster.worker_cores, memory=memory)

    def idle(self, cluster: Cluster) -> str:
        """For how long it had nothing to do."""
        if cluster.idle_seconds is None:
            return self._t("clusters.unknown")
        is_busy = cluster.idle_seconds < _BUSY_SECONDS
        return self._t("clusters.not_idle") if is_busy else self._amounts.lasted(cluster.idle_seconds)

    def name(self, cluster: Cluster) -> str:
        """What people call its session, also where it has no title."""
        return cluster.title or self._t("clusters.this_session")

    def process_name(self, process: str) -> str:
        """What people call a process that has a log."""
        if process in _PROCESSES:
            return self._t(f"clusters.process_{process}")
        return self._t("clusters.process_worker", name=process[:8])

    def usage(self, limits: Mapping[str, int], used: Mapping[str, int]) -> list[tuple[str, str]]:
        """What somebody has of what they may have, kind by kind."""
        shares = {kind: self._share(kind, used.get(kind, 0), limits.get(kind)) for kind in LIMIT_KINDS}
        return [(self._t(f"clusters.{kind}"), share) for kind, share in shares.items()]

    def _share(self, kind: str, have: int, most: int | None) -> str:
        said = self._amounts.memory if kind == "memory" else self._amounts.number
        if most is None:
            return self._t("clusters.no_limit", have=said(have))
        return self._t("clusters.of", have=said(have), most=said(most))


def short_environment(cluster: Cluster) -> str:
    """The first characters of an environment's id, as people see them elsewhere."""
    return cluster.environment[:_SHORT]


def kind_of_tag(cluster: Cluster) -> str:
    """The look of its status."""
    return _KIND_OF_TAG.get(cluster.status, "note")
