"""Showing one's build to others: a link that says that somebody who may see the build showed it.

The key is bound to the build and made from the service's secret, so that nothing is remembered. It opens the build and
its log to people of this hub who have the link, and nothing else; it ends when the operator changes the secret.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

_LENGTH = 32  # 160 bits


class ShareKeys:
    """Makes and checks keys. ``previous``: secrets whose keys still count."""

    def __init__(self, secret: bytes, previous: Sequence[bytes] = ()) -> None:
        self._secrets = (secret, *previous)

    def key(self, build_id: str) -> str:
        """The key of a build, ``[a-z2-7]`` of one length."""
        return _key(self._secrets[0], build_id)

    def opens(self, key: str | None, build_id: str) -> bool:
        """Whether the key is that build's."""
        if not key or not key.isascii():
            return False
        return any(hmac.compare_digest(_key(secret, build_id), key) for secret in self._secrets)


def _key(secret: bytes, build_id: str) -> str:
    digest = hmac.new(secret, b"share-build:" + build_id.encode(), hashlib.sha256).digest()
    return base64.b32encode(digest).decode().lower()[:_LENGTH]
