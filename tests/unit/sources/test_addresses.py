from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import AddressRefused, ConfigurationInvalid, SourceUnavailable
from launcher.sources.addresses import AddressPolicy, is_public
from tests.support.sources import assert_for_people

REFUSED = [
    "--upload-pack=touch /tmp/p",
    "-oProxyCommand=x",
    "ext::sh -c touch% /tmp/p",
    "fd::17",
    "file:///etc",
    "/etc",
    "../../repo",
    ".",
    "",
    "x" * 10_000_000,
    "http://169.254.169.254/latest",
    "http://[::ffff:169.254.169.254]/x",
    "http://2130706433/x",
    "http://0x7f000001/x",
    "http://017700000001/x",
    "http://127.1/x",
    "http://\u2460\u2461\u2466.0.0.1/x",
    "http://0/x",
    "https://169.254.169.254/latest",
    "https://[::ffff:169.254.169.254]/x",
    "https://2130706433/x",
    "https://0x7f000001/x",
    "https://0x7f.1/x",
    "https://017700000001/x",
    "https://0177.0.0.1/x",
    "https://127.1/x",
    "https://127.0.0.1/x",
    "https://\u2460\u2461\u2466.0.0.1/x",
    "https://0/x",
    "https://[::1]/x",
    "https://[::1%25lo]/x",
    "https://[64:ff9b::a9fe:a9fe]/x",
    "https://[2002:a9fe:a9fe::]/x",
    "https://[fd00:ec2::254]/",
    "https://[::127.0.0.1]/",
    "https://[2001::1]/",
    "http://localhost:8081/hub/api",
    "https://localhost/",
    "https://github.com@evil.test/x",
    "https://github.com:443@evil.test/",
    "https://github.com\\@evil.test/",
    "https://github.com\u2044evil.test/",
    "https://github.com\t@evil.test/",
    "https://git\thub.com/a",
    "https://\uff47ithub.com/a/b",
    "https://github\u3002com/a/b",
    "https:///github.com/a/b",
    "https:github.com/a/b",
    "https:/github.com/a/b",
    "//github.com/a/b",
    "ssh://-oProxyCommand=touch$IFS/tmp/p/x",
    "git@host:-x/y",
    "ssh://git@host:22;id/x",
    "git://127.0.0.1:1/x",
    "https://user:token@host.example/x",
    "https://host.example/a.git#frag?x",
    "https://host.example/%2e%2e/%2e%2e/x",
    "https://host.example/a/../b",
    "https://host.example/a/%2E/b",
    "ftp://host.example/x",
    "gopher://host.example/x",
    "dict://host.example/x",
    "javascript:alert(1)",
    "data:text/html,x",
    "https://host.example:0/x",
    "https://host.example:65536/x",
    "https://host.example:-1/x",
    "https://host.example:22/x",
    "https://host.example:6379/x",
    "https://host.example:4\u0663/x",
    "https://host.example/\r\nx",
    "https://host.example/%0d%0ax",
    "https://host.example/\x00",
    "https://host.example/%00",
    "https://host.example/\ud800",
    "https://host.example/%zz",
    "https://host.example/a b",
    "https://-host.example/x",
    "https://host-.example/x",
    "https://host_name.example/x",
    "https://host..example/x",
    "https://.example/x",
    "https://host.example./x",
    "https://" + "a" * 64 + ".example/x",
    "https://" + "a." * 140 + "example/x",
    "http://host.example/x",
    "https://host.example/x\n",
]


@pytest.mark.parametrize("url", REFUSED, ids=lambda url: ascii(url[:40]))
def test_what_is_no_public_https_address_is_refused_with_one_answer(url: str) -> None:
    with pytest.raises(AddressRefused) as caught:
        AddressPolicy().check_url(url)
    assert caught.value.message == "This address cannot be used."
    assert_for_people(caught.value)


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("HTTPS://GitHub.COM/Org/Repo", "https://github.com/Org/Repo"),
        ("https://github.com:443/a", "https://github.com/a"),
        ("https://github.com", "https://github.com/"),
        ("https://git.example:8443/a?b=c", "https://git.example:8443/a?b=c"),
        ("https://bücher.example/a", "https://xn--bcher-kva.example/a"),
        ("https://BÜCHER.example/a", "https://xn--bcher-kva.example/a"),
        ("https://host.example/é", "https://host.example/%C3%A9"),
        ("https://xn--gthub-cta.com/a/b", "https://xn--gthub-cta.com/a/b"),
        ("https://8.8.8.8/a", "https://8.8.8.8/a"),
        ("https://[2606:4700:0::1111]/a", "https://[2606:4700::1111]/a"),
    ],
)
def test_a_public_address_has_one_spelling(url: str, canonical: str) -> None:
    policy = AddressPolicy()
    assert policy.check_url(url).url == canonical
    assert policy.check_url(canonical).url == canonical


@given(st.text(max_size=60).map("https://".__add__) | st.text(max_size=60))
def test_any_text_is_either_refused_or_has_a_spelling_that_stays(text: str) -> None:
    policy = AddressPolicy()
    try:
        address = policy.check_url(text)
    except AddressRefused:
        return
    assert policy.check_url(address.url) == address
    assert address.host.isascii()
    assert "@" not in address.authority


def test_the_operators_host_may_be_private_and_http_on_exactly_its_port() -> None:
    policy = AddressPolicy({"127.0.0.1:8080", "[::1]:9000", "Git.Example:80", "localhost:81"})
    assert policy.check_url("http://127.0.0.1:8080/a").url == "http://127.0.0.1:8080/a"
    assert policy.check_url("https://127.0.0.1:8080/a").scheme == "https"
    assert policy.check_url("http://[::1]:9000/a").authority == "[::1]:9000"
    assert policy.check_url("http://git.example/a").port == 80
    assert policy.check_url("http://localhost:81/a").host == "localhost"
    for other in ("http://127.0.0.1:8081/", "http://127.0.0.1/", "http://localhost:8080/", "http://127.1:8080/"):
        with pytest.raises(AddressRefused):
            policy.check_url(other)


@pytest.mark.parametrize("entry", ["", "host", "host:", ":80", "host:0", "host:99999", "*:80", "a b:80", "http://h:80"])
def test_a_misspelt_allowed_host_is_refused_at_start(entry: str) -> None:
    with pytest.raises(ConfigurationInvalid):
        AddressPolicy({entry})


def answering(*answers: str) -> tuple[AddressPolicy, list[str]]:
    asked: list[str] = []

    async def resolver(host: str, port: int) -> list[str]:
        asked.append(f"{host}:{port}")
        return list(answers)

    return AddressPolicy({"inside.example:8080"}, resolver), asked


@pytest.mark.parametrize(
    "answers",
    [
        ["10.0.0.1"],
        ["93.184.216.34", "10.0.0.1"],
        ["93.184.216.34", "::1"],
        ["64:ff9b::a9fe:a9fe"],
        ["2002:a9fe:a9fe::1"],
        ["::ffff:93.184.216.34"],
        ["100.64.0.1"],
        ["192.0.2.1"],
        ["224.0.0.1"],
        ["0.0.0.0"],
        ["169.254.169.254"],
        ["fe80::1%eth0"],
        ["not an address"],
        [],
    ],
)
async def test_a_name_is_refused_when_one_of_its_addresses_is_not_public(answers: list[str]) -> None:
    policy, _ = answering(*answers)
    with pytest.raises(AddressRefused) as caught:
        await policy.resolve("rebinding.example", 443)
    assert caught.value.message == "This address cannot be used."


async def test_public_answers_are_given_back_to_be_pinned() -> None:
    policy, asked = answering("93.184.216.34", "2606:4700::1111")
    assert await policy.resolve("host.example", 443) == ["93.184.216.34", "2606:4700::1111"]
    assert asked == ["host.example:443"]


async def test_the_operators_name_may_have_any_address_even_one_for_documentation() -> None:
    policy, _ = answering("192.0.2.1")
    assert await policy.resolve("inside.example", 8080) == ["192.0.2.1"]
    with pytest.raises(AddressRefused):
        await policy.resolve("inside.example", 443)


async def test_an_address_is_not_looked_up() -> None:
    policy, asked = answering("10.0.0.1")
    assert await policy.resolve("8.8.8.8", 443) == ["8.8.8.8"]
    assert asked == []


@pytest.mark.parametrize(
    ("number", "error"), [(socket.EAI_NONAME, AddressRefused), (socket.EAI_AGAIN, SourceUnavailable)]
)
async def test_a_name_that_does_not_exist_looks_like_one_that_is_refused(number: int, error: type[Exception]) -> None:
    async def resolver(host: str, port: int) -> list[str]:
        raise socket.gaierror(number, "secret details")

    with pytest.raises(error) as caught:
        await AddressPolicy(resolver=resolver).resolve("nothing.example", 443)
    assert "secret" not in str(caught.value)


@given(st.ip_addresses())
def test_no_private_address_counts_as_public(address: object) -> None:
    ip = ipaddress.ip_address(str(address))
    if ip.is_private or ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_reserved:
        assert not is_public(str(ip))
