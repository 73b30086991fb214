"""All spellings of one repository are one, and two repositories are never one."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import LauncherError, SpecInvalid
from launcher.sources import RepositorySources, SourcesConfig
from launcher.sources.addresses import AddressPolicy
from launcher.sources.identity import Forges
from launcher.sources.providers import directory_name


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> RepositorySources:
    return RepositorySources(SourcesConfig(tmp_path_factory.mktemp("cache")))


def identity(sources: RepositorySources, spec: str) -> str:
    provider, _, raw = spec.partition("/")
    return sources.repository(sources.parse(provider, raw)).id


def git(url: str, ref: str = "HEAD") -> str:
    return f"git/{quote(url, safe='')}/{ref}"


@pytest.mark.parametrize(
    "spec",
    [
        "gh/Org/Repo/main",
        "gh/org/repo/HEAD",
        "gh/org/repo.git/some/branch",
        "gh/org/repo/main/",
        "gh/%6Frg/repo/main",
        git("https://github.com/org/repo"),
        git("https://github.com/org/repo.git"),
        git("https://github.com/org/repo.GIT"),
        git("https://github.com/org/repo.git/"),
        git("https://github.com:443/org/repo"),
        git("HTTPS://GitHub.com/ORG/Repo"),
        git("https://github.com//org///repo/"),
        git("https://github.com/%6Frg/re%70o"),
        git("https://github.com/org%2Frepo"),
    ],
)
def test_one_github_repository_has_one_identity(public: RepositorySources, spec: str) -> None:
    assert identity(public, spec) == "gh:github.com/org/repo"


@pytest.mark.parametrize(
    "spec",
    [
        "gl/Group%2FSub%2Fproject/main",
        "gl/group%2Fsub%2Fproject.git/main",
        git("https://gitlab.com/group/sub/Project.git"),
    ],
)
def test_one_gitlab_project_has_one_identity(public: RepositorySources, spec: str) -> None:
    assert identity(public, spec) == "gl:gitlab.com/group/sub/project"


@pytest.mark.parametrize(
    "spec",
    ["gist/someone/ABCDEF12", "gist/Someone/abcdef12/HEAD", git("https://gist.github.com/abcdef12.git"),
     git("https://gist.github.com/someone/abcdef12")],
)  # fmt: skip
def test_one_gist_has_one_identity(public: RepositorySources, spec: str) -> None:
    assert identity(public, spec) == "gist:gist.github.com/abcdef12"


def test_other_hosts_tell_capitals_apart(public: RepositorySources) -> None:
    assert identity(public, git("https://Git.Example/A/b.git")) == "git:git.example/A/b"
    assert identity(public, git("https://git.example/a/b")) == "git:git.example/a/b"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("gh/a-b/c/main", "gh/a/b-c/main"),
        ("gh/org/repo/main", "gl/org%2Frepo/main"),
        ("gh/org/repo/main", git("https://git.example/github.com/org/repo")),
        (git("https://git.example/a/b"), git("https://git.example:8443/a/b")),
        (git("https://git.example/a%20b"), git("https://git.example/a%2520b")),
        (git("https://github.com/org/repo"), git("https://xn--gthub-cta.com/org/repo")),
        (git("https://git.example/a%23b"), git("https://git.example/a")),
        (git("https://git.example/a%3Fb"), git("https://git.example/a")),
        (git("https://gist.github.com/a"), git("https://gist.github.com/b")),
    ],
)
def test_different_repositories_stay_different(public: RepositorySources, one: str, other: str) -> None:
    assert identity(public, one) != identity(public, other)


def test_http_and_https_of_one_port_are_different_places(tmp_path: Path) -> None:
    sources = RepositorySources(
        SourcesConfig(tmp_path / "cache", allow_hosts=frozenset({"127.0.0.1:443", "127.0.0.1:80"}))
    )
    names = {
        identity(sources, git(f"{scheme}://127.0.0.1:{port}/r")) for scheme in ("http", "https") for port in (80, 443)
    }
    assert len(names) == 4


@pytest.mark.parametrize(
    "url", ["https://github.com", "https://github.com/", "https://github.com//", "https://git.example/%ff"]
)
def test_an_address_without_a_repository_is_refused(public: RepositorySources, url: str) -> None:
    with pytest.raises(SpecInvalid):
        public.parse("git", git(url)[4:])


def test_an_identity_fits_its_column(public: RepositorySources) -> None:
    with pytest.raises(SpecInvalid):
        public.parse("git", git("https://git.example/" + "a" * 1100)[4:])


segments = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="/"), min_size=1, max_size=8
)
paths = st.lists(segments.filter(lambda text: text not in {".", ".."}), min_size=1, max_size=4)
FORGES = Forges({"github.com": "gh"})
POLICY = AddressPolicy()


def spelled(segment: str, encode: str) -> str:
    """One of the ways to write a part of a path."""
    text = quote(segment, safe="")
    return "".join(f"%{ord(letter):02x}" if letter in encode else letter for letter in text)


@given(paths, st.text("ghijxyz-.", max_size=3), st.integers(1, 3))
def test_every_spelling_of_a_path_is_one_repository(path: list[str], encode: str, slashes: int) -> None:
    plain = "/".join(quote(part, safe="") for part in path)
    odd = ("/" * slashes).join(spelled(part, encode) for part in path) + "/" * (slashes - 1)
    ids = {FORGES.repository(POLICY.check_url(f"https://git.example/{text}")).id for text in (plain, odd)}
    assert len(ids) == 1


@given(
    paths,
    paths,
    st.sampled_from(["git.example", "github.com", "git.example:8443"]),
    st.sampled_from(["git.example", "github.com"]),
)
def test_two_repositories_never_share_an_identity(one: list[str], two: list[str], host: str, other: str) -> None:
    def meaning(where: str, path: list[str]) -> tuple[str, ...]:
        last = path[-1][:-4] if path[-1].lower().endswith(".git") and len(path[-1]) > 4 else path[-1]
        whole = "/".join([*path[:-1], last])
        return (where, whole.lower() if where == "github.com" else whole)

    def name(where: str, path: list[str]) -> str:
        return FORGES.repository(
            POLICY.check_url(f"https://{where}/" + "/".join(quote(part, safe="") for part in path))
        ).id

    assert (name(host, one) == name(other, two)) == (meaning(host, one) == meaning(other, two))


@given(st.text())
def test_a_directory_name_is_always_safe(text: str) -> None:
    name = directory_name(text)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name)
    assert not name.lower().endswith(".git")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("repo.git", "repo"),
        ("my repo!", "my-repo"),
        (".git", None),
        ("..", None),
        ("-rf", "rf"),
        ("日本", None),
        (".hidden", "hidden"),
        ("a.git.git", "a"),
    ],
)
def test_a_directory_name_is_close_to_the_repositorys(text: str, name: str | None) -> None:
    made = directory_name(text)
    assert made == name if name else made.startswith("repository-") or made == "git"


@given(st.text(max_size=50), st.sampled_from(["gh", "gl", "git", "gist"]))
def test_any_text_is_a_spec_or_a_clear_error(public: RepositorySources, text: str, provider: str) -> None:
    try:
        spec = public.parse(provider, text)
    except LauncherError as error:
        clear = error.http_status in (400, 403)
    else:
        clear = spec.raw == text and unquote(public.repository(spec).id).isprintable()
    assert clear
