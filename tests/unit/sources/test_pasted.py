"""Whatever people paste becomes the spec they mean, or a sentence."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import SpecInvalid
from launcher.sources.pasted import read_pasted

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
        ("https://github.com/org/repo/commits/feature/x", "gh/org/repo/feature/x", ""),
        ("https://github.com/org/repo/releases/tag/v2", "gh/org/repo/v2", ""),
        ("https://github.com/org/repo/issues/3", "gh/org/repo/HEAD", ""),
        ("git@github.com:org/repo.git", "gh/org/repo/HEAD", ""),
        ("ssh://git@github.com/org/repo.git", "gh/org/repo/HEAD", ""),
        ("git://github.com/org/repo", "gh/org/repo/HEAD", ""),
        ("https://user:secret@github.com/org/repo", "gh/org/repo/HEAD", ""),
        ("https://gist.github.com/ana/0a1b2c", "gist/ana/0a1b2c/HEAD", ""),
        (f"https://gist.github.com/ana/0a1b2c/{SHA}", f"gist/ana/0a1b2c/{SHA}", ""),
        ("https://gitlab.com/group/sub/project", "gl/group%2Fsub%2Fproject/HEAD", ""),
        ("https://gitlab.com/group/project/-/tree/main/docs?ref_type=heads", "gl/group%2Fproject/main", "docs"),
        ("https://gitlab.com/group/project/-/blob/main/a.ipynb", "gl/group%2Fproject/main", "a.ipynb"),
        ("git@gitlab.com:group/project.git", "gl/group%2Fproject/HEAD", ""),
        ("https://git.example.org/u/r.git", "git/https%3A%2F%2Fgit.example.org%2Fu%2Fr.git/HEAD", ""),
        ("https://git.example.org:8443/r", "git/https%3A%2F%2Fgit.example.org%3A8443%2Fr/HEAD", ""),
        ("https://lab.example.org/g/p/-/blob/dev/a.py", "git/https%3A%2F%2Flab.example.org%2Fg%2Fp/dev", "a.py"),
        (
            "https://codeberg.org/u/r/src/branch/main/n/x.ipynb",
            "git/https%3A%2F%2Fcodeberg.org%2Fu%2Fr/main",
            "n/x.ipynb",
        ),
        ("10.5281/zenodo.1234", "zenodo/10.5281/zenodo.1234", ""),
        ("doi:10.5281/zenodo.1234", "zenodo/10.5281/zenodo.1234", ""),
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


def test_a_chosen_branch_wins_over_the_pasted_one():
    assert read_pasted("https://github.com/o/r/tree/main").spec("feature/ä") == "gh/o/r/feature/%C3%A4"
    assert read_pasted("10.5281/zenodo.1").spec("main") == "zenodo/10.5281/zenodo.1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no repository"),
        ("repo", "no address"),
        ("https://github.com/org", "of no repository"),
        ("https://github.com/org/repo/pull/17/files", "pull request"),
        ("https://gitlab.com/g/p/-/merge_requests/3", "merge request"),
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


ADDRESSES = st.from_regex(r"https?://(github|gitlab|zenodo|figshare)\.(com|org)(/[a-z%0-9.\-]*){0,6}", fullmatch=True)


@given(st.text() | ADDRESSES)
def test_no_text_breaks_it(text):
    with contextlib.suppress(SpecInvalid):
        assert read_pasted(text).spec().count("/") >= 1
