"""Which addresses the launcher may talk to: the guard in front of every request that a link can cause.

A link may name any host. Only public https addresses are spoken to, by the addresses that were checked (pinned), so a
name cannot answer one way for the check and another way for the connection. Hosts the operator names are the exception.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

import idna

from launcher.errors import AddressRefused, ConfigurationInvalid, SourceUnavailable

Resolver = Callable[[str, int], Awaitable[list[str]]]
"""Host and port to textual IP addresses; OSError when there are none."""

PUBLIC_PORTS = frozenset({443, 8443})
"""Ports of public hosts; any other port needs the operator's word, so that links are no port scanner."""

MAX_URL_LENGTH = 4096
LOOKUP_SECONDS = 10.0

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[^\s/?#@:\[\]\\%]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[^\s?#\\]*)?(?P<query>\?[^\s#\\]*)?",
    re.IGNORECASE,
)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_TOP_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")  # never a number: 127.1 and 0x7f.1 are no names
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_URL_SAFE = "/%:@!$&'()*+,;=-._~?"

# Networks that `ipaddress` calls global although they carry or hide other addresses.
_DISGUISES = tuple(
    ipaddress.ip_network(network)
    for network in (
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # local-use NAT64
        "2002::/16",  # 6to4
        "2001::/32",  # Teredo
        "::ffff:0:0/96",  # IPv4 written as IPv6
        "::/96",  # the same, deprecated
        "fec0::/10",  # site-local, deprecated
        "192.88.99.0/24",  # 6to4 relays
    )
)


def refused() -> AddressRefused:
    """The one answer to every address that is not spoken to, so that it tells nothing about the network."""
    return AddressRefused(
        "This address cannot be used.",
        hint="Use a public https:// address that exists, without a user name or password in it. "
        "The operator can allow other hosts by name and port.",
    )


@dataclass(frozen=True)
class WebAddress:
    """A checked address. ``host`` is lower-case ASCII (IPv6 without brackets), ``path`` begins with ``/``.

    ``query`` is empty or begins with ``?``. There are never credentials or fragments.
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str

    @property
    def authority(self) -> str:
        """``host`` or ``host:port`` when the port is not the scheme's own; IPv6 in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = {"https": 443, "http": 80}[self.scheme]
        return host if self.port == default else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The address as text, in its one spelling."""
        return f"{self.scheme}://{self.authority}{self.path}{self.query}"


def is_public(address: str) -> bool:
    """Whether a textual IP address is on the public internet and is no disguise of another one."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if any(ip in network for network in _DISGUISES if network.version == ip.version):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback)


def canonical_host(text: str) -> str:
    """A host as lower-case ASCII: a strict DNS name (IDNA 2008 encoded), or a strict IP literal without brackets.

    Raises AddressRefused for anything else, odd spellings of numbers included.
    """
    if text.startswith("["):
        try:
            return ipaddress.IPv6Address(text[1:-1]).compressed
        except ValueError:
            raise refused() from None
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        return _canonical_name(text)


def _canonical_name(text: str) -> str:
    name = text.lower()
    if not name.isascii() or "xn--" in name:
        try:
            encoded = idna.encode(name).decode("ascii")
        except idna.IDNAError:
            raise refused() from None
        if encoded.count(".") != name.count("."):  # a dot of another script
            raise refused()
        name = encoded
    labels = name.split(".")
    strict = all(_LABEL.fullmatch(label) for label in labels) and _TOP_LABEL.fullmatch(labels[-1])
    if not strict or len(name) > 253:  # noqa: PLR2004 - RFC 1035
        raise refused()
    return name


async def system_resolver(host: str, port: int) -> list[str]:
    """The machine's own resolver."""
    loop = asyncio.get_running_loop()
    answers = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


class AddressPolicy:
    """Decides which addresses may be spoken to.

    allow_hosts: ``host:port`` of hosts that may be private and may speak http. Everything else must be public https.
    resolver: how names become addresses; tests bring their own.
    Raises ConfigurationInvalid when an allowed host is not ``host:port``.
    """

    def __init__(self, allow_hosts: Iterable[str] = (), resolver: Resolver = system_resolver) -> None:
        self._allowed = frozenset(_parse_allowed(entry) for entry in allow_hosts)
        self._resolver = resolver

    def allows_privately(self, host: str, port: int) -> bool:
        """Whether the operator named this host and port."""
        return (host, port) in self._allowed

    def check_url(self, url: str) -> WebAddress:
        """The address in its one spelling; asks nobody. Raises AddressRefused for everything not spoken to.

        Credentials and fragments are refused, not dropped: what is shown is what is used.
        """
        match = _URL.fullmatch(url) if len(url) <= MAX_URL_LENGTH else None
        if match is None:
            raise refused()
        scheme = match["scheme"].lower()
        host = canonical_host(match["host"])
        port = int(match["port"]) if match["port"] else {"https": 443, "http": 80}[scheme]
        if not self.allows_privately(host, port):
            self._check_public(scheme, host, port)
        return WebAddress(scheme, host, port, _check_path(match["path"] or "/"), _check_text(match["query"] or ""))

    @staticmethod
    def _check_public(scheme: str, host: str, port: int) -> None:
        if scheme != "https" or port not in PUBLIC_PORTS:
            raise refused()
        literal = ":" in host or host.replace(".", "").isdigit()
        if (literal and not is_public(host)) or (not literal and "." not in host):
            raise refused()

    async def resolve(self, host: str, port: int) -> list[str]:
        """The addresses to connect to, and no others; at least one. ``host`` as in `WebAddress`.

        Raises AddressRefused when a single answer is not public, or the name does not exist; SourceUnavailable when
        the name could not be looked up now.
        """
        allowed = self.allows_privately(host, port)
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                answers = [host] if _is_literal(host) else await self._resolver(host, port)
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN or allowed:
                raise _not_found_now() from None
            raise refused() from None
        except OSError:
            raise _not_found_now() from None
        if not answers or not (allowed or all(is_public(answer) for answer in answers)):
            raise refused()
        return answers


def _not_found_now() -> SourceUnavailable:
    return SourceUnavailable("The host's name could not be looked up.", hint="Try again in a minute.")


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _check_path(path: str) -> str:
    """The path, percent-encoded where it must be; no dot segments however they are spelled."""
    checked = _check_text(path)
    segments = unquote_to_bytes(checked).split(b"/")
    if b"." in segments or b".." in segments:
        raise refused()
    return checked


def _check_text(text: str) -> str:
    try:
        encoded = quote(text, safe=_URL_SAFE)
    except UnicodeEncodeError:  # a lone surrogate
        raise refused() from None
    if _BAD_ESCAPE.search(encoded) or _CONTROL.search(unquote_to_bytes(encoded)):
        raise refused()
    return encoded


def _parse_allowed(entry: str) -> tuple[str, int]:
    host, separator, port = entry.strip().rpartition(":")
    try:
        if not separator or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 2**16:
            raise refused()
        return canonical_host(host), int(port)
    except AddressRefused:
        raise ConfigurationInvalid(
            "An allowed host is not of the form HOST:PORT.",
            hint="Write for example 127.0.0.1:8080, git.example.org:443 or [::1]:8080.",
        ) from None
