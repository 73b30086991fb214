"""The build token: proof that a person saw our page for this spec, in this browser, a moment ago."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from launcher.errors import BuildTokenInvalid

_ALGORITHM = "HS256"
_CLAIMS = ("aud", "origin", "sub", "iat", "exp", "confirmed")
_MAX_CHARACTERS = 16 * 1024
_LEEWAY_SECONDS = 5  # replicas' clocks
_RENEWABLE_SECONDS = 24 * 3600


@dataclass(frozen=True)
class TokenSubject:
    """What a build token is bound to.

    spec_path: ``<provider>/<raw spec>`` byte for byte as in the URL, with its trailing slash.
    origin: host and port of the page. username: the person's Hub name.
    """

    spec_path: str
    origin: str
    username: str


class BuildTokens:
    """Issues and checks build tokens (HS256 JWT)."""

    def __init__(
        self,
        secret: bytes,
        *,
        previous: Sequence[bytes] = (),
        expires_seconds: int = 300,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._secrets = (secret, *previous)
        self._expires_seconds = expires_seconds
        self._now = now

    def issue(self, subject: TokenSubject, *, confirmed: bool, started: float | None = None) -> str:
        """A new token. ``started``: when the person first confirmed, kept through renewals; now when None."""
        now = self._now()
        claims = {
            "aud": subject.spec_path,
            "origin": subject.origin,
            "sub": subject.username,
            "iat": int(now if started is None else started),
            "exp": int(now) + self._expires_seconds,
            "confirmed": confirmed,
        }
        return jwt.encode(claims, self._secrets[0], algorithm=_ALGORITHM)

    def verify(self, token: str, subject: TokenSubject) -> bool:
        """Whether the person confirmed. Raises BuildTokenInvalid unless it is ours, fresh and for this subject."""
        claims = self._claims(token, subject)
        if claims["exp"] + _LEEWAY_SECONDS <= self._now():
            raise _invalid()
        return bool(claims["confirmed"])

    def renew(self, token: str, subject: TokenSubject) -> str:
        """A fresh token for an open page whose token may have expired, for a day after the person saw the page.

        Raises BuildTokenInvalid.
        """
        claims = self._claims(token, subject)
        if claims["iat"] + _RENEWABLE_SECONDS <= self._now():
            raise _invalid()
        return self.issue(subject, confirmed=claims["confirmed"], started=claims["iat"])

    def _claims(self, token: str, subject: TokenSubject) -> dict[str, Any]:
        """The claims of a token of ours for the subject, expired or not."""
        claims = self._decode(token, subject.spec_path)
        typed = isinstance(claims["confirmed"], bool) and all(isinstance(claims[name], int) for name in ("iat", "exp"))
        if not typed or claims["sub"] != subject.username or claims["origin"] != subject.origin:
            raise _invalid()
        return claims

    def _decode(self, token: str, spec_path: str) -> dict[str, Any]:
        # Time is checked by the callers, with the injected clock.
        options: Any = {"require": list(_CLAIMS), "verify_exp": False, "verify_iat": False, "strict_aud": True}
        if len(token) <= _MAX_CHARACTERS:
            for secret in self._secrets:
                try:
                    return jwt.decode(token, secret, algorithms=[_ALGORITHM], audience=spec_path, options=options)
                except jwt.InvalidSignatureError:
                    continue  # perhaps signed with the previous secret
                except (jwt.PyJWTError, ValueError):
                    break
        raise _invalid()


def _invalid() -> BuildTokenInvalid:
    return BuildTokenInvalid("Invalid build token", hint="Open the launch page again and start from there.")
