"""Which commit a name means. Names are matched whole, so nobody else's branch can answer for the one asked for."""

from __future__ import annotations

import re

from launcher.errors import RefAmbiguous, RefNotFound, SpecInvalid
from launcher.models import is_commit
from launcher.sources.git import Git, Remote
from launcher.sources.providers import MAX_REF_LENGTH

_HEADS = "refs/heads/"
_TAGS = "refs/tags/"
_PROPOSAL = re.compile(r"(?:refs/)?((pull|merge-requests)/[1-9][0-9]{0,9})/(head|merge)")
_DEEPEST_REF = 12  # segments of the longest branch name that an address is searched for
_IMPOSSIBLE = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\.$|(^|/)\.|\.lock(/|$)|^[-/]|/$|^@$")


def check_ref(ref: str) -> str:
    """A ref name as git allows them, or a commit in lower case. Raises SpecInvalid."""
    if is_commit(ref.lower()):
        return ref.lower()
    if not is_ref_name(ref):
        raise SpecInvalid("The branch, tag or commit has a name that git does not allow.")
    return ref


def is_ref_name(ref: str) -> bool:
    """Whether git allows the name."""
    return 0 < len(ref) <= MAX_REF_LENGTH and ref.isprintable() and not _IMPOSSIBLE.search(ref)


def check_commit(commit: str) -> str:
    """The commit; the object that never exists is refused. Raises RefNotFound."""
    if not commit.strip("0"):
        raise RefNotFound("The repository has no such commit.")
    return commit


def proposal_of(ref: str) -> str:
    """``pull/3`` of ``refs/pull/3/head`` or ``pull/3/head``, ``merge-requests/3`` of GitLab's; "" of any other ref."""
    match = _PROPOSAL.fullmatch(ref)
    return match[1] if match else ""


def candidates(ref: str) -> tuple[str, ...]:
    """The full names a short one may mean: a branch, a tag. ``refs/heads/…`` and ``refs/tags/…`` mean themselves.

    A request to merge is never taken for a branch of its name: what is trusted may not depend on which of them exists.
    """
    if proposal_of(ref):
        return ("refs/" + ref.removeprefix("refs/"),)
    if ref.startswith((_HEADS, _TAGS)):
        return (ref,)
    return (_HEADS + ref, _TAGS + ref)


def choose(ref: str, found: dict[str, str]) -> tuple[str, str] | None:
    """Commit and full name out of full name -> commit, None when there is none.

    Raises RefAmbiguous when a branch and a tag of this name point to different commits.
    """
    if len(set(found.values())) > 1:
        raise RefAmbiguous(
            f"There is a branch and a tag called {ref}, and they are different commits.",
            hint=f"Use {_HEADS}{ref} for the branch or {_TAGS}{ref} for the tag.",
        )
    return next(((commit, name) for name, commit in found.items()), None)


def missing(ref: str) -> RefNotFound:
    """The error for a name that is not there."""
    if proposal := proposal_of(ref):
        return RefNotFound(
            f"The repository has no request to merge with the number {proposal.rpartition('/')[2]}.",
            hint="Open the request and paste its address.",
        )
    return RefNotFound(
        f"The repository has no branch, tag or commit called {ref}.", hint="Check the link for a typing error."
    )


def no_default() -> RefNotFound:
    """The error for a repository whose HEAD means nothing."""
    return RefNotFound("The repository is empty or has no default branch.", hint="Name a branch in the link.")


async def longest_ref(git: Git, remote: Remote, path: str) -> str | None:
    """The longest branch or tag whose name begins a path of an address, asking the remote; None when there is none.

    Raises as `Git.list_refs`.
    """
    segments = path.split("/")[:_DEEPEST_REF]
    names = ["/".join(segments[: count + 1]) for count in range(len(segments))]
    possible = {name: (_HEADS + name, _TAGS + name) for name in names if is_ref_name(name)}
    if not possible:
        return None
    refs = await git.list_refs(remote, *(full for fulls in possible.values() for full in fulls))
    return max((name for name, fulls in possible.items() if any(full in refs for full in fulls)), key=len, default=None)


async def find_ref(git: Git, remote: Remote, ref: str, *, default_for: frozenset[str]) -> tuple[str, str | None]:
    """Commit and full ref name of a checked ref, asking the remote.

    A commit is given back as it is, without a name: whether a branch or tag reaches it is proven when it is fetched.
    default_for: names that mean HEAD when they are not there. Raises RefNotFound, RefAmbiguous and as `Git.list_refs`.
    """
    if is_commit(ref):
        await git.list_refs(remote, "HEAD")  # the repository itself must be there
        return check_commit(ref), None
    names = () if ref == "HEAD" else candidates(ref)
    refs = await git.list_refs(remote, "HEAD", *names, *(f"{name}^{{}}" for name in names if name.startswith(_TAGS)))
    found = {name: refs.get(f"{name}^{{}}", refs[name]) for name in names if name in refs}
    chosen = choose(ref, found)
    if chosen is not None:
        return chosen
    if ref != "HEAD" and ref not in default_for:
        raise missing(ref)
    if "HEAD" not in refs:
        raise no_default()
    return refs["HEAD"], refs.get("HEAD@", "HEAD")
