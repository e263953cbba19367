"""The rules of the house that a program can check: floors, front doors, shields and sizes.

What breaks one for a good reason is listed by name, so that it can be seen.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]

FLOORS = (
    {"_proto"},
    {"rpc", "hcl", "model", "linux"},
    {"goplugin", "spawner", "state"},
    {"executor"},
    {"sdk"},
    {"drivers"},
    {"cli", "testing"},
)
"""A package imports from lower floors only; neighbours do not know each other (design: Layout)."""

STAIRS = {("spawner", "state")}
"""Steps within a floor, from the one that imports to the one that is imported."""

BACK_DOORS: set[tuple[str, str]] = set()
"""Modules that a file may import past their package's front door, as (file, module)."""

MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 40

DEBT: set[str] = set()
"""What is longer all the same: `file` or `file:function`."""

BOUNDED_SCOPE = re.compile(r"trio\.(move_on|fail)_(after|at)\((?!.*\binf\b)")


def sources(*folders: str) -> list[Path]:
    """Python files written by hand."""
    found = (path for folder in folders for path in (PROJECT / folder).rglob("*.py"))
    by_hand = (path for path in found if not path.name.endswith(("_pb2.py", "_grpc.py")))
    return sorted(path.relative_to(PROJECT) for path in by_hand)


def read(path: Path) -> tuple[list[str], ast.Module]:
    text = (PROJECT / path).read_text(encoding="utf-8")
    return text.splitlines(), ast.parse(text)


EVERYTHING = sources("trio_driver", "tests", "bench", "examples", "proto")


def imported_modules(tree: ast.Module) -> Iterator[str]:
    """Full names of the project's modules that are imported, wherever the import stands."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "trio_driver":
            names = [f"trio_driver.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "."]
        yield from (name for name in names if name.startswith(("trio_driver.", ".")))


def import_problem(path: Path, module: str) -> str | None:
    """What is wrong with the import of `module` in the file at `path`, if anything."""
    own = path.parts[1]  # a package, or a file that stands above all floors
    target, _, inside = module.removeprefix("trio_driver.").partition(".")
    floors = {name: number for number, names in enumerate(FLOORS) for name in names}
    if target == own or (str(path), module) in BACK_DOORS:
        return None
    if target not in floors:
        return f"{module}: no package of the house"
    if floors[target] >= floors.get(own, len(FLOORS)) and (own, target) not in STAIRS:
        return f"{module}: not on a lower floor"
    return f"{module}: behind a front door" if inside and target != "_proto" else None


@pytest.mark.parametrize("path", sources("trio_driver"), ids=str)
def test_imports_go_down_and_through_front_doors(path: Path) -> None:
    problems = {module: import_problem(path, module) for module in imported_modules(read(path)[1])}
    assert [problem for problem in problems.values() if problem] == []


def is_explained(lines: list[str], number: int) -> bool:
    """Whether the comment above line `number` tells of a shield why it is there and what ends it."""
    comment = ""
    while number > 1 and lines[number - 2].strip().startswith("#"):
        number -= 1
        comment = f"{lines[number - 1].strip()}\n{comment}"
    return "# Shield: " in comment and "Ends by: " in comment


@pytest.mark.parametrize("path", EVERYTHING, ids=str)
def test_every_shield_is_bounded_and_explained(path: Path) -> None:
    lines, tree = read(path)
    bad = [
        f"{path}:{node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if (isinstance(node, ast.Call) and any(word.arg == "shield" for word in node.keywords))
        or (isinstance(node, ast.Attribute) and node.attr == "shield")
        if not (BOUNDED_SCOPE.match(ast.unparse(node)) and is_explained(lines, node.lineno))
    ]
    assert bad == []


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Length without the docstring, which shall never be shortened to fit."""
    first = function.body[0] if ast.get_docstring(function) is not None else None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if first else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def too_long(path: Path) -> Iterator[str]:
    lines, tree = read(path)
    if len(lines) > MAX_FILE_LINES:
        yield str(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if body_lines(node) > MAX_FUNCTION_LINES:
                yield f"{path}:{node.name}"


def test_files_and_functions_are_short_or_listed() -> None:
    assert {name for path in EVERYTHING for name in too_long(path)} == DEBT
