"""Sphinx configuration. The reference is generated from the code before every build, see ``generate.py``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import generate

import launcher

project = "Launcher"
copyright = "the launcher contributors"  # noqa: A001 - Sphinx wants this name
version = release = launcher.__version__

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "reference/generated"]
nitpicky = True

html_theme = "pydata_sphinx_theme"
html_title = "Launcher"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "footer_start": ["copyright"],
    "footer_end": [],
    "navbar_align": "left",
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": False,
}

generate.write(Path(__file__).parent / "reference" / "generated")
