"""Where a link wants to go inside a session: ``labpath``, ``filepath`` and ``urlpath``, as BinderHub reads them.

The answer is always a path below the session's own URL. Whatever would leave it, now or after a server in the session
decodes it once more, is refused (open redirects through ``//``, schemes, backslashes, ``..``, control characters).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import parse_qsl, quote, unquote

from launcher.errors import PathInvalid

MAX_CHARACTERS = 8 * 1024
_MAX_ENCODINGS = 8  # rounds of percent-encoding we look through; links nest two or three deep
_ENCODE_URI_SAFE = ";,/?:@&=+$-_.!~*'()#"  # what JavaScript's encodeURI leaves alone
_VERBATIM_SAFE = _ENCODE_URI_SAFE + "%[]|^`{}"
_SCHEME = re.compile(r"[^/?#]*:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\\\u2028\u2029\ud800-\udfff]")
_TOKEN = re.compile(r"(?:^|[?&#;])\s*(?:token|access_token)\s*=", re.IGNORECASE)
_PATHS_INSIDE = frozenset({"urlpath", "path", "subpath", "next"})  # parameters of session servers that lead somewhere


def parse_open_path(argument: Callable[[str], str | None]) -> str:
    """The path to open, relative to the session, ready for a URL; "" when the link names none.

    ``argument(name)`` gives a query parameter, decoded once, or None. ``labpath`` wins over ``filepath`` over
    ``urlpath``. Raises PathInvalid.
    """
    if (path := argument("labpath")) is not None:
        return checked("doc/tree/" + _encode_uri(path))
    if (path := argument("filepath")) is not None:
        return checked("tree/" + _encode_uri(path))
    return checked(argument("urlpath") or "")


def _encode_uri(path: str) -> str:
    _refuse_if(_CONTROL.search(path) is not None)
    return quote(path.removesuffix("/"), safe=_ENCODE_URI_SAFE)


def checked(path: str) -> str:
    """The path without leading slashes, safe to append to a session's URL. Raises PathInvalid."""
    _refuse_if(len(path) > MAX_CHARACTERS)
    relative = path.lstrip("/")
    _check(relative)
    return quote(relative, safe=_VERBATIM_SAFE)


def _check(path: str) -> None:
    decoded = _decoded(path)
    _refuse_if(_CONTROL.search(decoded) is not None)
    _refuse_if(_TOKEN.search(decoded) is not None)
    _refuse_if(_SCHEME.match(_decoded(_path_part(path))) is not None)
    _refuse_if(".." in _decoded(_path_part(path)).split("/"))
    _refuse_if(_decoded(_path_part(path)).startswith("/"))
    query = path.partition("#")[0].partition("?")[2]
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name.lower() in _PATHS_INSIDE:
            _refuse_if(value.startswith(("//", "/\\")))
            _check(value.removeprefix("/"))


def _path_part(path: str) -> str:
    return re.split(r"[?#]", path, maxsplit=1)[0]


def _decoded(text: str) -> str:
    """The text after all its layers of percent-encoding. Raises PathInvalid for invalid UTF-8 or too many layers."""
    for _ in range(_MAX_ENCODINGS):
        try:
            decoded = unquote(text, errors="strict")
        except UnicodeError:
            break
        if decoded == text:
            return text
        text = decoded
    raise _invalid()


def _refuse_if(bad: bool) -> None:  # noqa: FBT001 - reads as a sentence
    if bad:
        raise _invalid()


def _invalid() -> PathInvalid:
    return PathInvalid(
        "The path to open does not stay inside the session.",
        hint="Use a relative path such as `lab/tree/index.ipynb`, without a token.",
    )
