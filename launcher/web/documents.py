"""READMEs and notebooks of strangers as markup that can do nothing: no scripts, no styles, nothing from elsewhere.

Twice: what is rendered here is cleaned by an allow-list, and it is only ever shown as a document of its own whose
policy, `DOCUMENT_POLICY`, runs and fetches nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup, escape

DOCUMENT_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'self'; img-src data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)
_TAGS = {
    *("a", "abbr", "b", "blockquote", "br", "caption", "code", "dd", "del", "details", "div", "dl", "dt", "em"),
    *("figcaption", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "ins", "kbd", "li", "mark", "ol"),
    *(
        "p",
        "pre",
        "q",
        "s",
        "samp",
        "small",
        "span",
        "strong",
        "sub",
        "summary",
        "sup",
        "table",
        "tbody",
        "td",
        "tfoot",
    ),
    *("th", "thead", "tr", "u", "ul", "var"),
}
_ATTRIBUTES = {
    "a": {"href", "title"},
    "img": {"src", "alt", "title"},
    "ol": {"start"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
}
_IMAGE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]*")
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*")
_ADDRESS = re.compile(r"(?:https?:|mailto:)", re.IGNORECASE)
_SEQUENCE = re.compile(r"\x1b\[[0-9;:?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MOST_CELLS = 200
_MOST_CHARACTERS = 20_000
_markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def render(path: str, content: bytes) -> Markup:
    """A file as markup, by its name: Markdown, a notebook, or else its text."""
    text = content.decode("utf-8", "replace")
    name = path.lower()
    if name.endswith((".md", ".markdown")):
        return markdown(text)
    if name.endswith(".ipynb"):
        return notebook(text)
    return Markup("<pre>{}</pre>").format(text)


def markdown(text: str) -> Markup:
    """Markdown as clean markup."""
    return clean(_markdown.render(text))


def clean(markup: str) -> Markup:
    """Markup of others with everything taken out that could do something or show something from elsewhere."""
    cleaned = nh3.clean(
        markup,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=_attribute,
        url_schemes={"http", "https", "mailto", "data"},
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
    return Markup(cleaned)  # noqa: S704 - it is what the cleaner let through


def _attribute(tag: str, name: str, value: str) -> str | None:
    if (tag, name) == ("img", "src"):
        return value if _IMAGE.fullmatch(value) else None
    if (tag, name) == ("a", "href"):
        return value if _ADDRESS.match(value) else None
    return value


def notebook(text: str) -> Markup:
    """The cells of a notebook with their outputs; what cannot be read as one is shown as text."""
    try:
        body = json.loads(text)
        cells = [_cell(cell) for cell in body["cells"][:_MOST_CELLS]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Markup("<pre>{}</pre>").format(text[:_MOST_CHARACTERS])
    return Markup("\n").join(cells)


def _cell(cell: Mapping[str, Any]) -> Markup:
    source = _joined(cell.get("source", ""))
    match cell.get("cell_type"):
        case "markdown":
            return Markup('<div class="cell text">{}</div>').format(markdown(source))
        case "code":
            outputs = Markup("").join(output for item in cell.get("outputs", ()) for output in _output(item))
            return Markup('<div class="cell"><pre class="code">{}</pre>{}</div>').format(source, outputs)
        case _:
            return Markup('<div class="cell"><pre>{}</pre></div>').format(source)


def _output(output: Mapping[str, Any]) -> Iterator[Markup]:
    kind = output.get("output_type")
    if kind == "stream":
        yield _text(_joined(output.get("text", "")))
    elif kind == "error":
        yield _text("\n".join(map(str, output.get("traceback", ()))))
    else:
        data = output.get("data", {})
        for media in ("image/png", "image/jpeg"):
            image = _joined(data.get(media, ""))
            if image and _BASE64.fullmatch(image):
                yield Markup('<p><img src="data:{};base64,{}" alt=""></p>').format(media, image)
                return
        if "text/html" in data:
            yield Markup('<div class="output">{}</div>').format(clean(_joined(data["text/html"])))
        elif "text/markdown" in data:
            yield Markup('<div class="output">{}</div>').format(markdown(_joined(data["text/markdown"])))
        elif "text/plain" in data:
            yield _text(_joined(data["text/plain"]))


def _text(text: str) -> Markup:
    return Markup('<pre class="output">') + escape(_SEQUENCE.sub("", text)[:_MOST_CHARACTERS]) + Markup("</pre>")


def _joined(source: Any) -> str:
    """A notebook's text: one string, or lines."""
    return source if isinstance(source, str) else "".join(map(str, source))
