"""Small true values of the shared models, for tests that need one and do not care which."""

from __future__ import annotations

from pathlib import Path

from launcher.models import (
    BuiltEnvironment,
    EnvironmentKey,
    HomeKind,
    LaunchPlan,
    Recipe,
    RecipeKind,
    Repository,
    RepositoryId,
    Resolved,
    SessionMode,
    Snapshot,
    Spec,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def key(number: int = 1) -> EnvironmentKey:
    return EnvironmentKey(f"{number:064x}")


def repository(name: str = "repo") -> Repository:
    return Repository(
        RepositoryId(f"gh:github.com/org/{name}"), "gh", f"org/{name}", name, f"https://github.com/org/{name}"
    )


def resolved(name: str = "repo") -> Resolved:
    return Resolved(
        spec=Spec("gh", f"org/{name}/main"),
        repository=repository(name),
        ref=COMMIT,
        ref_name="refs/heads/main",
        persistent_spec=f"gh/org/{name}/{COMMIT}",
        ref_url=f"https://github.com/org/{name}/tree/{COMMIT}",
    )


def snapshot(name: str = "repo") -> Snapshot:
    return Snapshot(resolved(name), Path("/caches/repo.git"), COMMIT)


def recipe(**changes: object) -> Recipe:
    values: dict[str, object] = {
        "kind": RecipeKind.REQUIREMENTS,
        "main": "requirements.txt",
        "files": {"requirements.txt": "a" * 40},
    }
    return Recipe(**{**values, **changes})


def built(reference: str = "env-1", *, lock: str = "f" * 64) -> BuiltEnvironment:
    return BuiltEnvironment(reference, lock, SessionMode.KERNEL, "3.11", 123_456)


def plan(user: str = "ana", server_name: str = "repo-1") -> LaunchPlan:
    return LaunchPlan(
        user=user,
        server_name=server_name,
        environment="env-1",
        mode=SessionMode.KERNEL,
        home=HomeKind.PERSONAL,
        project=None,
        content={"commit": COMMIT},
        start=None,
        variables={"A": "b"},
    )
