"""Every case of `cases` is a test; the tests themselves stand where they belong."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from .cases import CLIENT_CASES, SERVER_CASES, TRAPS


def marked() -> dict[str, list[str]]:
    """The tests of this folder by the cases that they are marked with."""
    tests: dict[str, list[str]] = {}
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for call in node.decorator_list:
                    if isinstance(call, ast.Call) and ast.unparse(call.func) == "case":
                        for name in map(ast.literal_eval, call.args):
                            tests.setdefault(name, []).append(f"{path.name}::{node.name}")
    return tests


MARKED = marked()


def test_there_are_63_cases_of_servers_and_17_of_clients() -> None:
    assert (len(SERVER_CASES), len(CLIENT_CASES)) == (63, 17)


@pytest.mark.parametrize("name", [*SERVER_CASES, *CLIENT_CASES, *TRAPS])
def test_every_case_is_a_test(name: str) -> None:
    assert MARKED.get(name), f"no test is marked with case({name!r})"
