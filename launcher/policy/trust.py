"""Trust: who vouches for a repository in front of one person, and which home its session may see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from launcher.errors import ConfigurationInvalid, RepositoryNotAllowed
from launcher.models import HomeKind, Repository, Trust

_FORGES = frozenset({"gh", "gl", "gist"})


def spellings(repository: Repository) -> tuple[str, ...]:
    """The forms of a repository that patterns are compared with, made from its canonical identity only.

    A link's own spelling is never looked at, so no way of writing a link gets around a pattern. A request to merge
    has the forms of the repository it is for.
    """
    identity = repository.id.rpartition("#")[0] if repository.is_proposal else repository.id
    provider, _, path = identity.partition(":")
    host, _, rest = path.partition("/")
    forms = [f"{provider}/{path}"]
    if provider in _FORGES:
        forms += [f"{provider}/{rest}", f"git/https://{host}/{rest}"]
    if provider == "git" and "://" not in path:
        forms.append(f"git/https://{path}")
    return tuple(forms)


def _matches(repository: Repository, patterns: Sequence[str]) -> bool:
    # Forges do not tell capitals apart, and their identities are lower-case; other hosts do.
    forge = repository.id.partition(":")[0] in _FORGES
    forms = spellings(repository)
    return any(fnmatchcase(form, pattern.lower() if forge else pattern) for pattern in patterns for form in forms)


@dataclass(frozen=True)
class TrustPolicy:
    """The operator's say about repositories.

    trusted, banned: shell patterns on ``<provider>/<path>``, for example ``gh/my-org/*``; ``*`` crosses slashes.
    allowed: when not empty, nothing else may launch. Banned wins over everything.
    A pull or merge request is somebody's code who may have no say in the repository: what is banned bans it, too, but
    neither trust nor permission for the repository is one for it.
    Raises ConfigurationInvalid for an empty pattern or one without a provider: those would match by accident.
    """

    trusted: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    banned: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for pattern in (*self.trusted, *self.allowed, *self.banned):
            provider, slash, rest = pattern.partition("/")
            if not (provider and slash and rest):
                raise ConfigurationInvalid(
                    f"{pattern!r} is not a repository pattern.",
                    hint="Write <provider>/<path>, for example gh/my-org/* or git/https://git.example.org/*.",
                )

    def check(self, repository: Repository) -> None:
        """Raise RepositoryNotAllowed for a banned repository, or one outside a non-empty allow list."""
        if self.allowed and repository.is_proposal:
            raise RepositoryNotAllowed(
                "This hub launches chosen repositories only, and no pull or merge requests.",
                hint="Launch a branch of the repository.",
            )
        self.check_not_banned(repository)
        if self.allowed and not _matches(repository, self.allowed):
            raise _refusal(repository)

    def check_not_banned(self, repository: Repository) -> None:
        """Raise RepositoryNotAllowed for a banned repository: all there is to ask about the operator's own list."""
        if _matches(repository, self.banned):
            raise _refusal(repository)

    def trust(self, repository: Repository, *, mine: bool) -> Trust:
        """The trust tier; ``mine`` is whether this person vouched for the repository before."""
        if _matches(repository, self.trusted) and not repository.is_proposal:
            return Trust.TRUSTED
        return Trust.MINE if mine else Trust.UNKNOWN


def _refusal(repository: Repository) -> RepositoryNotAllowed:
    return RepositoryNotAllowed(
        f"{repository.display_name} may not be launched on this hub.",
        hint="Ask the people who run this hub if you think it should be.",
    )


def home_for(trust: Trust) -> HomeKind:
    """Unknown code never sees the person's home."""
    return HomeKind.PROJECT if trust is Trust.UNKNOWN else HomeKind.PERSONAL
