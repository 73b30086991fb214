"""READMEs and notebooks of strangers: what is shown, and that nothing of it can do anything."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.web.documents import render

DANGEROUS = re.compile(
    r"<(?:script|style|iframe|object|embed|form|input|link|meta|base|svg|math)\b|\son\w+\s*=|\sstyle=|"
    r"""src=["'](?!data:image/)|href=["']?\s*(?:javascript|data):""",
    re.IGNORECASE,
)
TRICKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<img src='https://evil.example.org/pixel.png'>",
    "![](https://evil.example.org/pixel.png)",
    "![](data:image/svg+xml;base64,PHN2Zz4=)",
    "[x](javascript:alert(1))",
    "<a href='JaVaScRiPt:alert(1)'>x</a>",
    "<a href='data:text/html;base64,PHNjcmlwdD4='>x</a>",
    "<svg><script>alert(1)</script></svg>",
    "<math><mtext><style><img src=x onerror=alert(1)></style></mtext></math>",
    "<form action='/services/binder/'><button>Trust</button></form>",
    "<iframe src='/hub/home'></iframe><base href='https://evil.example.org/'>",
    "<div style='position:fixed;inset:0'>Log in</div>",
]


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("kind", ["markdown", "cell", "html"])
def test_no_trick_gets_through(trick, kind):
    if kind == "markdown":
        shown = render("README.md", f"# Title\n\n{trick}\n".encode())
    else:
        cells = [{"cell_type": "markdown", "source": [trick]}]
        output = {"output_type": "display_data", "data": {"text/html": trick, "text/plain": "x"}}
        if kind == "html":
            cells = [{"cell_type": "code", "source": "", "outputs": [output]}]
        shown = render("a.ipynb", json.dumps({"cells": cells}).encode())
    assert DANGEROUS.search(shown) is None
    assert not re.search(r"<[^a][^>]*evil", shown)


def test_markdown_is_what_people_expect():
    text = b"# Title\n\n*very* `code`\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n[docs](https://docs.example.org)\n"
    shown = render("README.md", text)
    for part in ("<h1>Title</h1>", "<em>very</em>", "<code>code</code>", "<td>1</td>"):
        assert part in shown
    assert re.search(r'<a href="https://docs.example.org"[^>]*rel="noopener noreferrer nofollow"', shown)
    assert 'target="_blank"' in shown


def test_a_notebook_shows_its_outputs():
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": ["\x1b[31mred\x1b[0m & more\n"]},
        {"output_type": "execute_result", "data": {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure>"}},
        {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["\x1b[0;31mboom\x1b[0m"]},
    ]
    cell = {"cell_type": "code", "source": ["x = 1 < 2\n", "x"], "outputs": outputs}
    shown = render("a.ipynb", json.dumps({"cells": [cell]}).encode())
    for part in ("x = 1 &lt; 2\nx", "red &amp; more", 'src="data:image/png;base64,iVBORw0KGgo="', "boom"):
        assert part in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"cells": 3}', b'{"cells": [3]}', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_notebook_is_shown_as_text(text):
    assert render("a.ipynb", text).startswith("<pre>")


def test_other_files_are_text():
    assert render("README", b"<b>plain</b>") == "<pre>&lt;b&gt;plain&lt;/b&gt;</pre>"
    assert render("README.rst", b"Title\n=====") == "<pre>Title\n=====</pre>"


@given(st.binary(max_size=400), st.sampled_from(["README.md", "a.ipynb", "README"]))
def test_anything_can_be_rendered(content, path):
    assert DANGEROUS.search(re.sub(r"<pre>.*?</pre>", "", render(path, content), flags=re.DOTALL)) is None
