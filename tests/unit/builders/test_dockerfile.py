"""What a Dockerfile may say: what is read of it, what is refused in words before anything runs, what COPY takes."""

import io
import tarfile
from contextlib import closing
from datetime import UTC, datetime

import pytest

from launcher.builders.container.dockerfile.bases import Bases, full_name
from launcher.builders.container.dockerfile.checkout import check_out
from launcher.builders.container.dockerfile.context import Context, Copy
from launcher.builders.container.dockerfile.ignore import Ignored
from launcher.builders.container.dockerfile.instructions import read_dockerfile
from launcher.builders.container.dockerfile.way import check_images
from launcher.builders.container.dockerfile.words import expand, pairs, words
from launcher.builders.uv.limits import BuildLimits
from launcher.engine.base import Image
from launcher.errors import BuildLimitExceeded, RecipeError, RecipeInvalid, RecipeUnsupported
from launcher.models import RecipeKind
from tests.support.builds import request

BASE = Image("sha256:" + "0" * 64, (), (), {}, 1, datetime.now(UTC), (), {}, "")
BASES = Bases(BASE, ["docker.io/library/python:3.*", "quay.io/jupyter/*"])


def read(text):
    found = read_dockerfile(text, "Dockerfile")
    check_images(found, "Dockerfile", BASES)
    return found


def test_stages_arguments_and_continued_lines():
    found = read(
        "# a comment\nARG VERSION=3.12\nFROM python:${VERSION} AS Made\nRUN one && \\\n# between\n    two\n"
        "FROM localhost/launcher/base\nCOPY --from=made --chown=1000 /a /b\ncopy --from=0 /a /c\n"
    )
    first, second = found.stages
    assert (first.base, first.name) == ("python:3.12", "made")
    assert first.instructions[0].value.split() == ["one", "&&", "two"]
    assert second.instructions[0].flags == {"from": "made", "chown": "1000"}
    assert second.instructions[1].name == "COPY"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FROM evil.example.org/x", "does not build on evil.example.org/x"),
        ("FROM python:2.7", "does not build on python:2.7"),
        ("ARG B=evil\nFROM ${B}:1", "does not build on evil:1"),
        ("FROM quay.io/jupyter/../../localhost/launcher/environment", "does not build on quay.io/jupyter/../.."),
        ("FROM quay.io/jupyter/x?y", "does not build on"),
        ("FROM scratch", "an empty image"),
        ("FROM localhost/launcher/base\nCOPY --from=evil /a /a", "does not build on evil"),
        ("FROM localhost/launcher/base AS a\nCOPY --from=1 /a /a\nFROM a", "does not build on 1"),
        ("# syntax=evil/frontend\nFROM python:3.12", "another program"),
        ("# escape=`\nFROM python:3.12", "escape character"),
        ("FROM --platform=linux/s390x python:3.12", "FROM --platform=linux/s390x is not allowed"),
        ("FROM python:3.12\nRUN --security=insecure id", "RUN --security=insecure is not allowed"),
        ("FROM python:3.12\nRUN --network=host id", "RUN --network=host is not allowed"),
        ("FROM python:3.12\nRUN --mount=type=bind,source=/,target=/x id", "is not allowed"),
        ("FROM python:3.12\nRUN --mount=type=secret,id=x id", "is not allowed"),
        ("FROM python:3.12\nRUN <<EOF\nid\nEOF", "here-document"),
    ],
)
def test_what_this_hub_does_not_do_is_refused_before_anything_runs(text, said):
    with pytest.raises(RecipeUnsupported) as refused:
        read(text)
    assert said in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize(
    "text",
    ["", "# nothing", "RUN id", "FROM", "FROM a b", "FROM ${NOTHING}", "FROM python:3.12\nDANCE now", "FROM a\0b",
     "FROM python:3.12\nONBUILD RUN id", "ARG 1+1\nFROM a", "FROM python:3.12\n" + "RUN id\n" * 1001],
)  # fmt: skip
def test_what_is_no_dockerfile_is_an_error_in_words(text):
    with pytest.raises(RecipeError) as refused:
        read(text)
    assert "Dockerfile" in refused.value.message


def test_a_cache_mount_and_the_own_platform_change_nothing():
    (stage,) = read("FROM --platform=linux python:3.12\nRUN --mount=type=cache,target=/x --network=none id\n").stages
    assert stage.instructions[0].value == "id"


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("python", "docker.io/library/python:latest"),
        ("docker.io/python:3", "docker.io/library/python:3"),
        ("jupyter/base", "docker.io/jupyter/base:latest"),
        ("localhost:5000/a", "localhost:5000/a:latest"),
        ("quay.io/jupyter/r@sha256:1", "quay.io/jupyter/r@sha256:1"),
    ],
)
def test_names_are_compared_as_registries_have_them(name, full):
    assert full_name(name) == full


def test_variables_and_words():
    known = {"A": "x y", "EMPTY": ""}
    assert expand(r"$A ${A} ${EMPTY:-other} ${NO:-1} ${A:+set} ${NO:+set} \$A", known) == "x y x y other 1 set  $A"
    assert words('["a b", "$A"]', known) == ["a b", "x y"]
    assert words("'a b' c", known) == ["a b", "c"]
    assert pairs('B=1 C="two words" D=$A', known, "here") == {"B": "1", "C": "two words", "D": "x y"}
    assert pairs("B several words", known, "here") == {"B": "several words"}


@pytest.fixture
def context(tmp_path):
    """Makes a context of files, links (``-> target``) and lines of .dockerignore."""
    opened = []

    def make(files, ignored=()):
        with tarfile.open(tmp_path / "context.tar", "w") as archive:
            for name, text in files.items():
                member = tarfile.TarInfo(name)
                if text.startswith("-> "):
                    member.type, member.linkname = tarfile.SYMTYPE, text[3:]
                member.size, member.mode = (0 if member.issym() else len(text)), 0o4755
                archive.addfile(member, io.BytesIO(text.encode()))
        opened.append(Context(tmp_path / "context.tar", ignored))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def names(context, *sources, target="/t", into=False, **more):
    return sorted(one.name for one in context.select(Copy(sources, target, **more), into_directory=into).members)


def test_what_copy_takes(context):
    files = context(
        {"a.txt": "a", "sub/b.txt": "b", "sub/deep/c.txt": "c", "link": "-> sub/b.txt", "secret": "s"}, ["secret"]
    )
    assert names(files, "a.txt") == ["t"]
    assert names(files, "a.txt", into=True) == ["t/a.txt"]
    assert names(files, "*.txt", into=True) == ["t/a.txt"]
    assert names(files, "sub") == ["t/b.txt", "t/deep", "t/deep/c.txt"]
    assert "t/secret" not in names(files, ".")
    assert "t/link" in names(files, ".")
    (followed,) = files.select(Copy(("link",), "/t"), into_directory=False).members
    assert followed.isfile()
    (one,) = files.select(Copy(("a.txt",), "/t", (5, 6)), into_directory=False).members
    assert (one.uid, one.gid, one.mode) == (5, 6, 0o755), "no power of its own comes with a file"


@pytest.mark.parametrize("source", ["../x", "nothing", "out", "absolute", "loop", "*.none"])
def test_nothing_outside_the_repository_can_be_copied(context, source):
    files = context({"out": "-> ../../etc/passwd", "absolute": "-> /etc/passwd", "loop": "-> loop"})
    with pytest.raises(RecipeInvalid):
        names(files, source)


def test_contents_decide_the_digest_and_times_do_not(context):
    first, second = (
        context({"a": text}).select(Copy(("a",), "/t"), into_directory=False).write(io.BytesIO()) for text in ("1", "2")
    )
    assert first != second


def test_a_name_that_a_file_has_besides_is_copied_as_that_file(tmp_path):
    with tarfile.open(tmp_path / "linked.tar", "w") as archive:
        one, other = tarfile.TarInfo("d/one"), tarfile.TarInfo("d/other")
        one.size, other.type, other.linkname = 3, tarfile.LNKTYPE, "d/one"
        archive.addfile(one, io.BytesIO(b"abc"))
        archive.addfile(other)
    buffer = io.BytesIO()
    with closing(Context(tmp_path / "linked.tar")) as linked:
        linked.select(Copy(("d",), "/t/"), into_directory=True).write(buffer)
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as copied:
        assert {name: copied.extractfile(name).read() for name in ("t/one", "t/other")} == {
            "t/one": b"abc", "t/other": b"abc"
        }  # fmt: skip


def test_values_that_double_in_every_line_are_refused_before_they_fill_the_memory():
    assert expand("$A$A", {"A": "x" * 50_000}) == "x" * 100_000
    with pytest.raises(RecipeInvalid, match="longer"):
        expand("$A" * 100_000, {"A": "x" * 100_000})


@pytest.mark.parametrize(
    ("lines", "out", "kept"),
    [
        (["secret", "*.pyc"], ["secret", "secret/x/y", "a.pyc"], ["a/secret", "a/b.pyc", "secrets"]),
        (["**/*.pyc", "!a/keep.pyc"], ["b.pyc", "a/b.pyc", "a/b/c.pyc"], ["a/keep.pyc", "a"]),
        (["/docs/**/raw", "[^a]?.txt"], ["docs/raw", "docs/1/2/raw/x", "bx.txt"], ["docs/1", "ax.txt"]),
        (["*", "!only"], ["x", "x/y"], ["only", "only/z"]),
        # what keeps docker's own client busy for longer than anybody waits
        (["**/" * 40 + "x", "*a" * 40 + "b"], ["a/" * 60 + "x"], ["a/" * 60 + "y", "a" * 255]),
    ],
)
def test_what_a_dockerignore_names_stays_out(lines, out, kept):
    ignored = Ignored(lines)
    assert [path for path in out if path not in ignored] == []
    assert [path for path in kept if path in ignored] == []


async def test_a_commit_of_more_than_a_build_may_write_is_not_checked_out(tmp_path):
    files = {"a": "x" * 600, "b": "x" * 600, ".gitconfig": "[core]\n\tbare = nonsense\n"}
    wanted = request(tmp_path, {"Dockerfile": "FROM x\n", **files}, RecipeKind.DOCKERFILE, "Dockerfile", tree="0" * 40)
    with pytest.raises(BuildLimitExceeded, match="files take more"):
        await check_out(wanted, tmp_path / "place" / "one", links=True, limits=BuildLimits(disk_bytes=1000))
    assert not (tmp_path / "place").exists()
    await check_out(wanted, tmp_path / "place" / "one", links=True, limits=BuildLimits(disk_bytes=10_000))
    assert (tmp_path / "place" / "one" / "b").read_text() == files["b"]
