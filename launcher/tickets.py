"""Tickets: signed, single-use statements that a user may start a server with an environment.

The launcher signs, the Hub's spawner shows the ticket back at the redeem address, and the launcher answers with the
plan exactly once. Signature, audience, expiry and user are checked here; "once" is a row in the store.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt

from launcher.errors import ConfigurationInvalid, TicketInvalid

ALGORITHM = "HS256"
LIFETIME = timedelta(seconds=300)
SEAL_HEADER = "X-Launcher-Seal"
"""Header of the answer to a redeemed ticket: see `TicketSigner.seal`."""
_AUDIENCE = "launcher:start"
_ISSUER = "launcher"
_CLAIMS = ["iss", "aud", "sub", "server", "jti", "iat", "exp"]
_MINIMUM_SECRET_BYTES = 32


@dataclass(frozen=True)
class Ticket:
    """What a valid ticket says. dask: the session's token may use Dask-Gateway, if its person may."""

    jti: str
    user: str
    server_name: str
    expires: datetime
    dask: bool = False


def new_secret() -> str:
    """A fresh signing secret, 256 bits in hex."""
    return secrets.token_hex(32)


def kept_secret(path: Path) -> str:
    """A secret that is the same at every start: 64 hex digits in a file that we alone may read, made when missing."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(new_secret())
    return path.read_text().strip()


class TicketSigner:
    """Signs and reads tickets with one shared secret.

    Raises ConfigurationInvalid when the secret is shorter than 32 characters.
    """

    def __init__(self, secret: str) -> None:
        if len(secret) < _MINIMUM_SECRET_BYTES:
            raise ConfigurationInvalid(
                "The ticket secret is too short.",
                hint="Set c.Launcher.ticket_secret to 64 hexadecimal characters; `openssl rand -hex 32` makes some.",
            )
        self._secret = secret

    def sign(
        self, user: str, server_name: str, *, dask: bool = False, now: datetime | None = None
    ) -> tuple[str, Ticket]:
        """A new ticket in its wire form and as a value; it expires after `LIFETIME`."""
        issued = now or datetime.now(UTC)
        ticket = Ticket(secrets.token_urlsafe(24), user, server_name, issued + LIFETIME, dask)
        claims = {
            "iss": _ISSUER,
            "aud": _AUDIENCE,
            "sub": user,
            "server": server_name,
            "jti": ticket.jti,
            "iat": issued,
            "exp": ticket.expires,
            "dask": dask,
        }
        return jwt.encode(claims, self._secret, algorithm=ALGORITHM), ticket

    def read(self, token: str, *, user: str, server_name: str) -> Ticket:
        """The ticket, if it is ours, in time, and for this user and server. Raises TicketInvalid."""
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                audience=_AUDIENCE,
                issuer=_ISSUER,
                options={"require": _CLAIMS},
            )
        except (jwt.PyJWTError, ValueError) as error:
            raise TicketInvalid(
                "This start request was not made by the launcher, or is too old.",
                hint="Open the repository's launch link again.",
            ) from error
        if claims["sub"] != user or claims["server"] != server_name:
            raise TicketInvalid(
                "This start request was made for another person or session.",
                hint="Open the repository's launch link again.",
            )
        expires = datetime.fromtimestamp(claims["exp"], UTC)
        return Ticket(str(claims["jti"]), user, server_name, expires, claims.get("dask") is True)

    def seal(self, token: str, answer: bytes) -> str:
        """Proof that the answer to this ticket comes from the launcher: a keyed hash of both, in hex.

        A session may take the service's port in the moment in which the service is down. It cannot make plans.
        """
        key = hashlib.sha256(b"launcher:plan:" + self._secret.encode()).digest()
        return hmac.new(key, hashlib.sha256(token.encode()).digest() + answer, hashlib.sha256).hexdigest()
