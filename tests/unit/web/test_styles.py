"""Styles know no left and no right, so that pages in languages of the other direction are their mirror image."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

STYLES = sorted((Path(__file__).parents[3] / "frontend" / "src" / "styles").glob("*.css"))
SIDED = re.compile(r"(?:^|[\s;{-])(?:left|right)\s*:|:\s*(?:left|right)\b|\b(?:margin|padding|border)-(?:left|right)\b")
FOUR_SIDES = re.compile(r"\b(?:margin|padding|inset):([^;}]*)")


def sided(text: str) -> list[str]:
    """What says left or right, also as the second and fourth of four sides."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    found = [match[0].strip() for match in SIDED.finditer(text)]
    for match in FOUR_SIDES.finditer(text):
        sides = re.sub(r"\([^()]*(?:\([^()]*\)[^()]*)*\)", "()", match[1]).split()
        if len(sides) == 4 and sides[1] != sides[3]:
            found.append(match[0])
    return found


@pytest.mark.parametrize("style", STYLES, ids=lambda path: path.name)
def test_styles_say_start_and_end(style):
    assert sided(style.read_text()) == []


def test_a_side_would_be_found():
    text = "a { margin-left: 1px; left: 0; text-align: right } /* left: 0 */ .bright { top: 0; margin: 0 1px 0 2px }"
    assert len(sided(text)) == 4
