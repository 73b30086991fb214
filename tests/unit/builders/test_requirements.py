import pytest

from launcher.builders.uv.requirements import for_uv


@pytest.mark.parametrize(
    ("pip", "uv"),
    [
        ("humanize\n", "humanize\n"),
        ("-rmore.txt\n", "-r more.txt\n"),
        ("--requirement=more.txt\n", "-r more.txt\n"),
        ("-cc.txt\n", "-c c.txt\n"),
        ("-e./pkg\n", "-e ./pkg\n"),
        ("-e .[extra]\n", "-e .[extra]\n"),
        ("-e git+https://h/r@main#egg=pkg\n", "pkg @ git+https://h/r@main\n"),
        ("-e git+https://h/r\n", "git+https://h/r\n"),
        ("human\\\nize >= 4\n", "humanize >= 4\n"),
        ("a==1 --hash=sha256:00 \\\n  --hash=sha256:11\n", "a==1 --hash=sha256:00   --hash=sha256:11\n"),
        ('a --global-option="-v" --hash=sha256:00\n', "a --hash=sha256:00\n"),
        ("--prefer-binary\na\n", "\na\n"),
        ("a\n\n# why\nfoo bar\n", "a\n\n\nfoo bar\n"),
        ("a \\\n  >=1\nb\n", "a   >=1\n\nb\n"),
        ("--extra-index-url https://h/simple # comment\n", "--extra-index-url https://h/simple\n"),
        ('a ; python_version < "4"  # why\n', 'a ; python_version < "4"\n'),
        ("--pre\n", "--pre\n"),
        ('"unpartnered -r\n', '"unpartnered -r\n'),
    ],
)
def test_what_pip_reads_is_written_as_uv_reads_it(pip, uv):
    assert for_uv(pip) == uv
