"""Build tokens: one person, one spec, one page, five minutes."""

from __future__ import annotations

import base64
import dataclasses
import json

import jwt
import pytest

from launcher.errors import BuildTokenInvalid
from launcher.web.tokens import BuildTokens, TokenSubject

SECRET = b"0123456789abcdef0123456789abcdef"
OTHER = b"fedcba9876543210fedcba9876543210"
SUBJECT = TokenSubject("gh/u/r/HEAD/", "hub.example.org", "alice")


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def tokens(clock):
    return BuildTokens(SECRET, now=clock)


@pytest.mark.parametrize("confirmed", [True, False])
def test_a_token_says_whether_the_person_confirmed(tokens, confirmed):
    assert tokens.verify(tokens.issue(SUBJECT, confirmed=confirmed), SUBJECT) is confirmed


@pytest.mark.parametrize(
    "change",
    [{"spec_path": "gh/u/r/HEAD"}, {"spec_path": "gh/u/r%2FHEAD/"}, {"origin": "evil.test"}, {"username": "bob"}],
)
def test_a_token_for_something_else_is_refused(tokens, change):
    with pytest.raises(BuildTokenInvalid):
        tokens.verify(tokens.issue(SUBJECT, confirmed=True), dataclasses.replace(SUBJECT, **change))


def test_a_token_ends_after_five_minutes(tokens, clock):
    token = tokens.issue(SUBJECT, confirmed=True)
    clock.now += 299
    assert tokens.verify(token, SUBJECT)
    clock.now += 10
    with pytest.raises(BuildTokenInvalid):
        tokens.verify(token, SUBJECT)


def test_an_open_page_renews_its_token_for_a_day(tokens, clock):
    token = tokens.issue(SUBJECT, confirmed=True)
    for _ in range(23):
        clock.now += 3600
        token = tokens.renew(token, SUBJECT)
        assert tokens.verify(token, SUBJECT)
    clock.now += 3600
    with pytest.raises(BuildTokenInvalid):
        tokens.renew(token, SUBJECT)


def test_the_secret_can_be_rotated(tokens, clock):
    rotated = BuildTokens(OTHER, previous=[SECRET], now=clock)
    assert rotated.verify(tokens.issue(SUBJECT, confirmed=True), SUBJECT)
    with pytest.raises(BuildTokenInvalid):
        BuildTokens(OTHER, now=clock).verify(tokens.issue(SUBJECT, confirmed=True), SUBJECT)


def _claims(clock, **changes):
    claims = {
        "aud": SUBJECT.spec_path,
        "origin": SUBJECT.origin,
        "sub": SUBJECT.username,
        "iat": int(clock()),
        "exp": int(clock()) + 300,
        "confirmed": True,
    }
    return {name: value for name, value in {**claims, **changes}.items() if value is not None}


@pytest.mark.parametrize("missing", ["aud", "origin", "sub", "iat", "exp", "confirmed"])
def test_every_claim_is_required(tokens, clock, missing):
    token = jwt.encode(_claims(clock, **{missing: None}), SECRET, algorithm="HS256")
    with pytest.raises(BuildTokenInvalid):
        tokens.verify(token, SUBJECT)


@pytest.mark.parametrize(
    "changes",
    [{"aud": [SUBJECT.spec_path, "x"]}, {"confirmed": "yes"}, {"confirmed": 1}, {"exp": "9999999999"}],
)
def test_claims_of_the_wrong_type_are_refused(tokens, clock, changes):
    with pytest.raises(BuildTokenInvalid):
        tokens.verify(jwt.encode(_claims(clock, **changes), SECRET, algorithm="HS256"), SUBJECT)


def test_other_algorithms_are_refused(tokens, clock):
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    unsigned = f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(_claims(clock))}."
    other = jwt.encode(_claims(clock), SECRET * 2, algorithm="HS512")
    for token in (unsigned, other, "", "x", "a.b.c", "é", "x" * 1_000_000):
        with pytest.raises(BuildTokenInvalid):
            tokens.verify(token, SUBJECT)
