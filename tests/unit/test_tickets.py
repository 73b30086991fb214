from datetime import UTC, datetime, timedelta

import jwt
import pytest

from launcher.errors import ConfigurationInvalid, TicketInvalid
from launcher.tickets import LIFETIME, TicketSigner, new_secret

SECRET = new_secret()


def claims(**changes):
    now = datetime.now(UTC)
    good = {
        "iss": "launcher",
        "aud": "launcher:start",
        "sub": "ana",
        "server": "notes-abc",
        "jti": "1",
        "iat": now,
        "exp": now + LIFETIME,
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def test_a_ticket_is_read_back_by_its_user_and_server():
    signer = TicketSigner(SECRET)
    token, ticket = signer.sign("ana", "notes-abc")
    assert signer.read(token, user="ana", server_name="notes-abc").jti == ticket.jti


def test_two_tickets_are_never_the_same():
    signer = TicketSigner(SECRET)
    assert signer.sign("ana", "notes")[1].jti != signer.sign("ana", "notes")[1].jti


@pytest.mark.parametrize(("user", "server"), [("bob", "notes-abc"), ("ana", "other"), ("", "")])
def test_a_ticket_of_somebody_else_or_for_another_server_is_refused(user, server):
    signer = TicketSigner(SECRET)
    token, _ = signer.sign("ana", "notes-abc")
    with pytest.raises(TicketInvalid):
        signer.read(token, user=user, server_name=server)


@pytest.mark.parametrize(
    "token",
    [
        jwt.encode(claims(), "x" * 64, algorithm="HS256"),
        jwt.encode(claims(), SECRET, algorithm="HS512"),
        jwt.encode(claims(), None, algorithm="none"),
        jwt.encode(claims(aud="launcher:build"), SECRET, algorithm="HS256"),
        jwt.encode(claims(iss="someone"), SECRET, algorithm="HS256"),
        jwt.encode(claims(exp=datetime.now(UTC) - timedelta(seconds=1)), SECRET, algorithm="HS256"),
        jwt.encode(claims(exp=None), SECRET, algorithm="HS256"),
        jwt.encode(claims(jti=None), SECRET, algorithm="HS256"),
        "",
        "a.b.c",
        "x" * 1_000_000,
    ],
    ids=["secret", "algorithm", "none", "audience", "issuer", "expired", "no-exp", "no-jti", "empty", "junk", "long"],
)
def test_forged_and_old_tickets_are_refused(token):
    with pytest.raises(TicketInvalid):
        TicketSigner(SECRET).read(token, user="ana", server_name="notes-abc")


def test_a_short_secret_is_refused_at_start():
    with pytest.raises(ConfigurationInvalid, match="too short"):
        TicketSigner("secret")
