"""Modules and functions stay small enough to be read at once."""

import ast
from pathlib import Path

import pytest

import launcher

PACKAGE = Path(launcher.__file__).parent
LONGEST_MODULE = 350
LONGEST_FUNCTION = 60
TABLES = {"errors.py"}
"""Modules that are one flat table and are looked things up in, not read: splitting one would hide what is in it."""
LONGEST_ENTRY = 45


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_and_its_functions_are_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_MODULE or str(path.relative_to(PACKAGE)) in TABLES
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {node.name: node.end_lineno - node.lineno + 1 for node in functions if node.end_lineno}
    assert {name: lines for name, lines in long.items() if lines > LONGEST_FUNCTION} == {}


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_table_holds_entries_and_nothing_else(name):
    docstring, *body = ast.parse((PACKAGE / name).read_text()).body
    assert isinstance(docstring, ast.Expr)
    entries = [node for node in body if not isinstance(node, ast.Import | ast.ImportFrom)]
    assert {type(node) for node in entries} == {ast.ClassDef}
    assert {node.name for node in entries if node.end_lineno - node.lineno >= LONGEST_ENTRY} == set()
