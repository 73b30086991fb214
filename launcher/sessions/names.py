"""Names that JupyterHub and the file system accept, one for each repository or person and never shared."""

from __future__ import annotations

import base64
import hashlib
import re

from launcher.models import Repository, ServerName

_SERVER_NAME = re.compile(r"[a-z](?:[a-z0-9]|-(?!-)){0,8}-[a-z2-7]{20}")
_SLUG_LENGTH = 9


def _digest(text: str, length: int) -> str:
    """The first characters of a lower-case base32 SHA-256; 5 bits each."""
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()[:length]


def _slug(text: str, length: int) -> str:
    """The readable part of a name: ``[a-z0-9-]``, no double or outer hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:length].strip("-")


def server_name(repository: Repository) -> ServerName:
    """The server name of a repository's sessions: the same for ever, another for every other repository.

    At most 30 characters of ``[a-z0-9-]``, first a letter, no double hyphen: JupyterHub 6's rule
    (``jupyterhub.utils.is_valid_safe_slug``), fine for 5 too. 100 bits of hash make it injective in practice.
    """
    slug = _slug(repository.name, _SLUG_LENGTH)
    if not slug or not slug[0].isalpha():
        slug = f"r-{slug}"[:_SLUG_LENGTH].strip("-")
    return ServerName(f"{slug}-{_digest(repository.id, 20)}")


def is_launch_server(name: str) -> bool:
    """Whether a server name has the form that `server_name` makes."""
    return _SERVER_NAME.fullmatch(name) is not None


def project_name(repository: Repository) -> str:
    """The directory name of a repository's project homes: readable start, 130 bits of hash."""
    return f"{_slug(repository.name, 30) or 'repository'}-{_digest(repository.id, 26)}"
