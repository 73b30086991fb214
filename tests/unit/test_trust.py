import pytest

from launcher.errors import ConfigurationInvalid, RepositoryNotAllowed
from launcher.models import HomeKind, Repository, RepositoryId, Trust
from launcher.policy.trust import TrustPolicy, home_for


def repository(identity: str, url: str = "") -> Repository:
    provider = identity.partition(":")[0]
    return Repository(RepositoryId(identity), provider, identity, "name", url)


ORG = repository("gh:github.com/my-org/notes", "https://github.com/my-org/notes")
PLAIN = repository("git:http://127.0.0.1:99/notes", "http://127.0.0.1:99/notes")


@pytest.mark.parametrize(
    ("pattern", "trusted"),
    [
        ("gh/my-org/*", True),
        ("gh/MY-ORG/Notes", True),
        ("gh/my-org/other", False),
        ("gh/my-or", False),
        ("gh/*", True),
        ("gl/my-org/*", False),
        ("git/https://github.com/my-org/*", True),
    ],
)
def test_patterns_match_the_canonical_repository(pattern, trusted):
    expected = Trust.TRUSTED if trusted else Trust.UNKNOWN
    assert TrustPolicy(trusted=(pattern,)).trust(ORG, mine=False) is expected


def test_git_patterns_match_any_git_url():
    policy = TrustPolicy(trusted=("git/*",))
    assert policy.trust(PLAIN, mine=False) is Trust.TRUSTED
    assert TrustPolicy(trusted=("git/http://127.0.0.1:99/*",)).trust(PLAIN, mine=False) is Trust.TRUSTED


def test_a_ban_cannot_be_evaded_by_the_spelling_of_the_address():
    repository_id = RepositoryId("git:git.example.org/team/notes")
    spelled = Repository(repository_id, "git", "notes", "notes", "https://git.example.org/team//notes.git/")
    with pytest.raises(RepositoryNotAllowed):
        TrustPolicy(banned=("git/https://git.example.org/team/notes",)).check(spelled)


def test_capitals_matter_where_the_host_tells_them_apart():
    upper = repository("git:git.example.org/Team/notes")
    assert TrustPolicy(trusted=("git/git.example.org/Team/*",)).trust(upper, mine=False) is Trust.TRUSTED
    assert TrustPolicy(trusted=("git/git.example.org/team/*",)).trust(upper, mine=False) is Trust.UNKNOWN


def test_a_person_can_vouch_and_only_unknown_gets_a_project_home():
    policy = TrustPolicy()
    assert policy.trust(ORG, mine=True) is Trust.MINE
    assert policy.trust(ORG, mine=False) is Trust.UNKNOWN
    assert home_for(Trust.UNKNOWN) is HomeKind.PROJECT
    assert home_for(Trust.MINE) is home_for(Trust.TRUSTED) is HomeKind.PERSONAL


def test_nobody_vouches_for_a_request_to_merge_but_the_person():
    request = repository("gh:github.com/my-org/notes#pull/3")
    for pattern in ("gh/my-org/*", "gh/my-org/notes*", "gh/*", "git/https://github.com/my-org/notes#pull/3"):
        assert TrustPolicy(trusted=(pattern,)).trust(request, mine=False) is Trust.UNKNOWN
        assert TrustPolicy(trusted=(pattern,)).trust(request, mine=True) is Trust.MINE
        with pytest.raises(RepositoryNotAllowed, match="no pull or merge requests"):
            TrustPolicy(allowed=(pattern,)).check(request)
    for banned in ("gh/my-org/notes", "gh/my-org/*"):
        with pytest.raises(RepositoryNotAllowed):
            TrustPolicy(banned=(banned,)).check(request)
    TrustPolicy(banned=("gh/other/*",)).check(request)


def test_banned_wins_over_trusted_and_allowed():
    with pytest.raises(RepositoryNotAllowed):
        TrustPolicy(trusted=("gh/*",), allowed=("gh/*",), banned=("gh/my-org/*",)).check(ORG)


def test_an_allow_list_closes_everything_else():
    policy = TrustPolicy(allowed=("gh/my-org/*",))
    policy.check(ORG)
    with pytest.raises(RepositoryNotAllowed):
        policy.check(PLAIN)


@pytest.mark.parametrize("pattern", ["", "*", "gh", "gh/", "/x"])
def test_patterns_that_would_match_by_accident_are_refused(pattern):
    with pytest.raises(ConfigurationInvalid, match="not a repository pattern"):
        TrustPolicy(trusted=(pattern,))
