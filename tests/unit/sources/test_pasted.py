"""Whatever people paste becomes the spec they mean, or a sentence."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import SpecInvalid
from launcher.sources.pasted import read_pasted

BADGE = "https://mybinder.org/badge_logo.svg"
PULL = (
    "https://hub.test/hub/user-redirect/git-pull?repo=https%3A%2F%2Fgithub.com%2Forg%2Frepo"
    "&branch=dev&urlpath=lab%2Ftree%2Frepo%2Fn%2Fa.ipynb"
)
SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "spec", "path"),
    [
        ("org/repo", "gh/org/repo/HEAD", ""),
        (" https://github.com/org/repo ", "gh/org/repo/HEAD", ""),
        ("github.com/org/repo/", "gh/org/repo/HEAD", ""),
        ("http://www.github.com/org/repo.git", "gh/org/repo/HEAD", ""),
        ("https://github.com/org/repo?tab=readme#usage", "gh/org/repo/HEAD", ""),
        ("https://github.com/org/repo/tree/main", "gh/org/repo/main", ""),
        ("https://github.com/org/repo/tree/v1.0/docs/a%20b", "gh/org/repo/v1.0", "docs/a b"),
        ("https://github.com/org/repo/blob/main/a/b.ipynb?raw=true#L3", "gh/org/repo/main", "a/b.ipynb"),
        ("https://raw.githubusercontent.com/org/repo/main/a.ipynb", "gh/org/repo/main", "a.ipynb"),
        ("https://raw.githubusercontent.com/org/repo/refs/heads/main/a.ipynb", "gh/org/repo/main", "a.ipynb"),
        (f"https://github.com/org/repo/commit/{SHA}", f"gh/org/repo/{SHA}", ""),
        (f"https://github.com/org/repo/tree/{SHA}/a/b", f"gh/org/repo/{SHA}", "a/b"),
        ("https://github.com/org/repo/tree/refs/heads/main/docs", "gh/org/repo/main", "docs"),
        ("https://github.com/org/repo/edit/main/README.md", "gh/org/repo/main", "README.md"),
        ("https://github.com/org/repo/commits/main", "gh/org/repo/main", ""),
        ("https://github.com/org/repo/archive/refs/heads/main.zip", "gh/org/repo/main", ""),
        ("https://github.com/org/repo/archive/v1.0.tar.gz", "gh/org/repo/v1.0", ""),
        ("https://github.com/org/repo/pull/17", "gh/org/repo/refs/pull/17/head", ""),
        ("https://github.com/org/repo/pull/17/files#diff-1", "gh/org/repo/refs/pull/17/head", ""),
        ("https://github.com/org/repo/pull/17/commits/" + SHA, "gh/org/repo/refs/pull/17/head", ""),
        ("https://github.com/org/repo#readme", "gh/org/repo/HEAD", ""),
        ("https://github.dev/org/repo/tree/main", "gh/org/repo/main", ""),
        ("https://vscode.dev/github/org/repo", "gh/org/repo/HEAD", ""),
        ("https://api.github.com/repos/org/repo", "gh/org/repo/HEAD", ""),
        ("https://github.com/org/repo/releases/tag/v2", "gh/org/repo/v2", ""),
        ("https://github.com/org/repo/issues/3", "gh/org/repo/HEAD", ""),
        ("git@github.com:org/repo.git", "gh/org/repo/HEAD", ""),
        ("ssh://git@github.com/org/repo.git", "gh/org/repo/HEAD", ""),
        ("git://github.com/org/repo", "gh/org/repo/HEAD", ""),
        ("ssh://git@github.com:org/repo.git", "gh/org/repo/HEAD", ""),
        ("ssh://git@git.example.org:2222/u/r", "git/https%3A%2F%2Fgit.example.org%2Fu%2Fr/HEAD", ""),
        ("github.com:org/repo", "gh/org/repo/HEAD", ""),
        ("gh/org/repo/feature/x", "gh/org/repo/feature/x", ""),
        ("git/https%3A%2F%2Fgit.example.org%2Fu/main", "git/https%3A%2F%2Fgit.example.org%2Fu/main", ""),
        ("https://github.com/org/repo.", "gh/org/repo/HEAD", ""),
        ("“https://github.com/org/repo”,", "gh/org/repo/HEAD", ""),
        ("(https://github.com/org/repo)", "gh/org/repo/HEAD", ""),
        ("<https://github.com/org/repo>.", "gh/org/repo/HEAD", ""),
        ("[my course](https://github.com/org/repo/tree/main)", "gh/org/repo/main", ""),
        ("[my course](<https://github.com/org/repo> 'a title').", "gh/org/repo/HEAD", ""),
        (
            f"[![Binder]({BADGE})](https://mybinder.org/v2/gh/org/repo/dev?labpath=a.ipynb)",
            "gh/org/repo/dev",
            "a.ipynb",
        ),
        (f'<a href="https://mybinder.org/v2/gh/org/repo/dev"><img src="{BADGE}"></a>', "gh/org/repo/dev", ""),
        (f".. image:: {BADGE}  :target: https://mybinder.org/v2/gh/org/repo/dev  :alt: x", "gh/org/repo/dev", ""),
        ("`my course <https://github.com/org/repo>`_", "gh/org/repo/HEAD", ""),
        ("$ git clone https://github.com/org/repo.git course", "gh/org/repo/HEAD", ""),
        ("git clone --depth 1 -b feature/x git@github.com:org/repo.git", "gh/org/repo/feature/x", ""),
        ("https://mybinder.org/repo/org/repo", "gh/org/repo/HEAD", ""),
        (f"https://gist.githubusercontent.com/ana/0a1b2c/raw/{SHA}/a.ipynb", f"gist/ana/0a1b2c/{SHA}", ""),
        ("https://gist.github.com/ana/0a1b2c#file-a-ipynb", "gist/ana/0a1b2c/HEAD", ""),
        ("https://nbviewer.org/gist/ana/0a1b2c", "gist/ana/0a1b2c/HEAD", ""),
        ("https://user:secret@github.com/org/repo", "gh/org/repo/HEAD", ""),
        ("https://gist.github.com/ana/0a1b2c", "gist/ana/0a1b2c/HEAD", ""),
        (f"https://gist.github.com/ana/0a1b2c/{SHA}", f"gist/ana/0a1b2c/{SHA}", ""),
        ("https://gitlab.com/group/sub/project", "gl/group%2Fsub%2Fproject/HEAD", ""),
        ("https://gitlab.com/group/project/-/tree/main/docs?ref_type=heads", "gl/group%2Fproject/main", "docs"),
        ("https://gitlab.com/group/project/-/blob/main/a.ipynb", "gl/group%2Fproject/main", "a.ipynb"),
        ("https://gitlab.com/group/sub/project/tree/main/docs", "gl/group%2Fsub%2Fproject/main", "docs"),
        (
            "https://gitlab.com/group/project/-/merge_requests/5/diffs",
            "gl/group%2Fproject/refs/merge-requests/5/head",
            "",
        ),
        ("git@gitlab.com:group/project.git", "gl/group%2Fproject/HEAD", ""),
        ("https://git.example.org/u/r.git", "git/https%3A%2F%2Fgit.example.org%2Fu%2Fr.git/HEAD", ""),
        ("https://git.example.org:8443/r", "git/https%3A%2F%2Fgit.example.org%3A8443%2Fr/HEAD", ""),
        ("https://lab.example.org/g/p/-/blob/dev/a.py", "git/https%3A%2F%2Flab.example.org%2Fg%2Fp/dev", "a.py"),
        (
            "https://codeberg.org/u/r/src/branch/main/n/x.ipynb",
            "git/https%3A%2F%2Fcodeberg.org%2Fu%2Fr/main",
            "n/x.ipynb",
        ),
        ("https://codeberg.org/u/r/pulls/3", "git/https%3A%2F%2Fcodeberg.org%2Fu%2Fr/refs/pull/3/head", ""),
        ("https://codeberg.org/u/r/raw/branch/main/x.csv", "git/https%3A%2F%2Fcodeberg.org%2Fu%2Fr/main", "x.csv"),
        (
            "https://lab.example.org/g/p/-/merge_requests/3",
            "git/https%3A%2F%2Flab.example.org%2Fg%2Fp/refs/merge-requests/3/head",
            "",
        ),
        ("https://ghe.example.org/u/r/blob/main/a.py", "git/https%3A%2F%2Fghe.example.org%2Fu%2Fr/main", "a.py"),
        ("https://bitbucket.org/u/r/src/main/docs/", "git/https%3A%2F%2Fbitbucket.org%2Fu%2Fr/main", "docs"),
        ("10.5281/zenodo.1234", "zenodo/10.5281/zenodo.1234", ""),
        ("doi:10.5281/zenodo.1234", "zenodo/10.5281/zenodo.1234", ""),
        ("DOI 10.5281/zenodo.1234.", "zenodo/10.5281/zenodo.1234", ""),
        ("http://dx.doi.org/10.5281/zenodo.1234", "zenodo/10.5281/zenodo.1234", ""),
        ("https://zenodo.org/badge/DOI/10.5281/zenodo.1234.svg", "zenodo/10.5281/zenodo.1234", ""),
        (
            "https://dataverse.harvard.edu/dataset.xhtml?persistentId=doi:10.7910/DVN/ABC",
            "dataverse/10.7910/DVN/ABC",
            "",
        ),
        ("https://doi.org/10.6084/m9.figshare.77.v2", "figshare/10.6084/m9.figshare.77.v2", ""),
        ("https://doi.org/10.7910/DVN/ABC", "dataverse/10.7910/DVN/ABC", ""),
        ("https://zenodo.org/records/1234", "zenodo/10.5281/zenodo.1234", ""),
        ("https://zenodo.org/doi/10.5281/zenodo.1234", "zenodo/10.5281/zenodo.1234", ""),
        ("https://figshare.com/articles/code/A_title/77/2", "figshare/10.6084/m9.figshare.77.v2", ""),
        ("https://www.hydroshare.org/resource/" + "ab" * 16, "hydroshare/" + "ab" * 16, ""),
        ("https://data.example.org/dataset/x", "ckan/https%3A%2F%2Fdata.example.org%2Fdataset%2Fx", ""),
        ("https://nbviewer.org/github/org/repo/blob/main/a.ipynb", "gh/org/repo/main", "a.ipynb"),
        ("https://colab.research.google.com/github/org/repo/blob/main/a.ipynb", "gh/org/repo/main", "a.ipynb"),
        ("https://mybinder.org/v2/gh/org/repo/feature/x?labpath=a%20b.ipynb", "gh/org/repo/feature/x", "a b.ipynb"),
        ("https://mybinder.org/v2/gh/org/repo/HEAD?urlpath=%2Flab%2Ftree%2Fa.ipynb", "gh/org/repo/HEAD", "a.ipynb"),
        ("https://hub.test/services/binder/v2/gl/g%2Fp/main", "gl/g%2Fp/main", ""),
        ("https://hub.test/services/binder/v2/zenodo/10.5281/zenodo.1/", "zenodo/10.5281/zenodo.1", ""),
        (
            PULL,
            "gh/org/repo/dev",
            "n/a.ipynb",
        ),
    ],
)
def test_every_shape_becomes_the_spec_that_is_meant(text, spec, path):
    found = read_pasted(text)
    assert (found.spec(), found.path) == (spec, path)
    if path:
        assert found.is_file == ("." in path.rpartition("/")[2])


@pytest.mark.parametrize(
    "text",
    [
        "https://github.com/org/repo/tree/feature/x/docs/a.ipynb",
        "https://github.com/org/repo/blob/feature/x/docs/a.ipynb",
        "https://github.com/org/repo/commits/feature/x/docs/a.ipynb",
        "https://raw.githubusercontent.com/org/repo/refs/heads/feature/x/docs/a.ipynb",
        "https://gitlab.com/org/repo/-/blob/feature/x/docs/a.ipynb",
        "https://codeberg.org/org/repo/src/branch/feature/x/docs/a.ipynb",
        "https://bitbucket.org/org/repo/src/feature/x/docs/a.ipynb",
    ],
)
def test_where_a_branch_ends_is_a_guess_that_the_branch_itself_settles(text):
    found = read_pasted(text)
    assert (found.ref, found.path, found.guessed) == ("feature", "x/docs/a.ipynb", True)
    settled = found.with_ref("feature/x")
    assert (settled.ref, settled.path, settled.guessed) == ("feature/x", "docs/a.ipynb", False)
    assert settled.is_file == found.is_file
    other = found.with_ref("main")
    assert (other.ref, other.path) == ("main", "x/docs/a.ipynb"), "the same file of another branch"
    whole = found.with_ref("feature/x/docs/a.ipynb")
    assert (whole.path, whole.is_file) == ("", False)


@pytest.mark.parametrize("ref", ["HEAD", SHA, SHA.upper()])
def test_there_is_nothing_to_guess_behind_a_commit(ref):
    assert not read_pasted(f"https://github.com/org/repo/blob/{ref}/docs/a.ipynb").guessed


def test_a_chosen_branch_wins_over_the_pasted_one():
    assert read_pasted("https://github.com/o/r/tree/main").spec("feature/ä") == "gh/o/r/feature/%C3%A4"
    assert read_pasted("10.5281/zenodo.1").spec("main") == "zenodo/10.5281/zenodo.1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no repository"),
        ("repo", "no address"),
        ("https://github.com/org", "of no repository"),
        ("https://github.com/org/repo/pull/new", "no request"),
        ("https://github.com/orgs/org/repositories", "of no repository"),
        ("https://bitbucket.org/u/r/pull-requests/3", "no branch for a pull request"),
        ("https://org.github.io/book/intro.html", "a site made from a repository"),
        ("https://colab.research.google.com/drive/1aB", "no repository that can be launched"),
        ("https://mybinder.org/", "no launch link"),
        ("pip install git+https://github.com/org/repo", "no address"),
        ("git+https://github.com/org/repo", "https only"),
        ("https://gitlab.com/group", "of no project"),
        ("https://gist.github.com/0a1b2c", "owner"),
        ("https://zenodo.org/communities/x", "no record"),
        ("https://example.org/", "a host"),
        ("ftp://example.org/r", "https only"),
        ("javascript:alert(1)", "no address"),
        ("https://[::1/r", "no address"),
        ("a\nb", "names no repository"),
    ],
)
def test_what_cannot_work_is_a_sentence(text, words):
    with pytest.raises(SpecInvalid, match=words) as raised:
        read_pasted(text)
    assert raised.value.hint


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece",
    [
        " ",
        "](a)",
        '](a "',
        ' "a',
        "<a ",
        "<a href=",
        "`<",
        "`",
        ":target:",
        "a.",
        "a@a.",
        "git clone a",
        "((",
        ").",
        "x ](",
    ],
)
def test_no_text_is_thought_about_for_long(piece):
    """A pattern that tries every way to share what it meets takes minutes for one of these."""
    for around in ("{}", "git clone {}", "]({}", "]({}x", "10.1234/{}", "a {}!"):
        with contextlib.suppress(SpecInvalid):
            read_pasted(around.format(piece * (1900 // len(piece))))


PAGES = (
    "tree|blob|raw|commits|commit|pull|pulls|releases|tag|archive|src|branch|-|merge_requests|refs|heads|v2|gh|git-pull"
)
HOSTS = "github|gitlab|zenodo|figshare|bitbucket|codeberg|mybinder|gist\\.github|raw\\.githubusercontent"
ADDRESSES = st.from_regex(
    rf"https?://({HOSTS})\.(com|org)(/({PAGES}|[a-z%0-9.\-]*)){{0,7}}(\?repo=.*)?", fullmatch=True
)
AROUND = st.sampled_from(
    ["{}", "[x]({})", "<{}>", "`x <{}>`_", "git clone -b a {}", "doi:{}", '<a href="{}">', "{}.", "({})"]
)


@given(st.text() | ADDRESSES, AROUND)
def test_no_text_breaks_it(text, around):
    with contextlib.suppress(SpecInvalid):
        found = read_pasted(around.format(text))
        assert found.spec().count("/") >= 1
        assert found.with_ref("main").ref == "main"
