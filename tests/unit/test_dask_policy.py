"""Who gets Dask, who may choose it, and whose environment gets its packages."""

from __future__ import annotations

import pytest

from launcher.models import HomeKind, Person, Username
from launcher.policy.dask import DaskPolicy

SCOPE = "access:services!service=dask-gateway"
MEMBER = Person(Username("ana"), groups=frozenset({"course"}), scopes=frozenset({SCOPE, "servers!user=ana"}))
ADMIN = Person(Username("root"), admin=True, scopes=frozenset({"access:services"}))
BARE = Person(Username("bob"), scopes=frozenset({"servers!user=bob"}))
OTHER_SERVICE = Person(Username("eve"), scopes=frozenset({"access:services!service=binder", SCOPE + "-2"}))


@pytest.mark.parametrize("person", [MEMBER, ADMIN])
def test_who_has_the_scope_gets_dask_in_repositories_they_trust(person):
    policy = DaskPolicy(SCOPE)
    assert policy.allows(person, HomeKind.PERSONAL)
    assert policy.refusal(person, HomeKind.PERSONAL) == ""
    assert not policy.allows(person, HomeKind.PROJECT)
    assert policy.refusal(person, HomeKind.PROJECT) == "Repositories you did not say you trust get no Dask."


@pytest.mark.parametrize("person", [BARE, OTHER_SERVICE])
def test_who_lacks_the_scope_is_told_which_of_the_two_reasons_it_is(person):
    assert DaskPolicy(SCOPE, ("course",)).refusal(person, HomeKind.PERSONAL) == "Your groups on this hub have no Dask."
    for policy in (DaskPolicy(SCOPE), DaskPolicy(SCOPE, ("course",))):
        assert not policy.allows(person, HomeKind.PERSONAL)
        assert not policy.can_choose(person)
    assert SCOPE in DaskPolicy(SCOPE).refusal(person, HomeKind.PERSONAL)
    member = Person(Username("cy"), groups=frozenset({"course"}))
    assert "token" in DaskPolicy(SCOPE, ("course",)).refusal(member, HomeKind.PERSONAL)


@pytest.mark.parametrize(
    ("environments", "person", "home", "chosen", "added"),
    [
        ("choice", MEMBER, HomeKind.PERSONAL, True, True),
        ("choice", MEMBER, HomeKind.PERSONAL, False, False),
        ("choice", MEMBER, HomeKind.PROJECT, True, False),
        ("choice", BARE, HomeKind.PERSONAL, True, False),
        ("asked", MEMBER, HomeKind.PERSONAL, True, False),
        ("always", MEMBER, HomeKind.PERSONAL, False, True),
        ("always", BARE, HomeKind.PROJECT, False, True),
    ],
)
def test_packages_are_added_where_the_operator_or_the_person_says_so(environments, person, home, chosen, added):
    assert DaskPolicy(SCOPE, (), environments).adds(person, home, chosen=chosen) is added


@pytest.mark.parametrize("environments", ["asked", "choice", "always"])
@pytest.mark.parametrize("home", list(HomeKind))
def test_a_hub_without_dask_allows_adds_and_says_nothing(environments, home):
    off = DaskPolicy(environments=environments)
    assert not off.allows(ADMIN, home)
    assert not off.adds(ADMIN, home, chosen=True)
    assert not off.can_choose(ADMIN)
    assert off.refusal(BARE, home) == ""
