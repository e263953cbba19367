"""The rules of the house that a program can check: floors, front doors, shields and sizes.

What is listed by name in `DEBT` and `BACK_DOORS` is allowed, visibly, each with its reason.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]

FLOORS = {
    "_proto": 0,
    **dict.fromkeys(("rpc", "hcl", "model", "linux"), 1),
    **dict.fromkeys(("goplugin", "spawner", "state"), 2),
    "executor": 3,
    "sdk": 4,
    "drivers": 5,
    **dict.fromkeys(("cli", "testing"), 6),
}
"""A package imports from lower floors only; neighbours do not know each other."""

SAME_FLOOR = {("spawner", "state"), ("linux", "model")}
"""Stairs within a floor, in the order (from, to)."""

BACK_DOORS: set[tuple[str, str]] = set()
"""Modules that are imported past their package's front door, as (file, module)."""

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40

DEBT: set[str] = set()
"""Files and functions that are too long: `path` or `path:function`."""

BOUNDED = {"move_on_after", "move_on_at", "fail_after", "fail_at"}


def sources(*folders: str) -> list[Path]:
    """Hand-written Python files, relative to the project."""
    found = (path for folder in folders for path in (PROJECT / folder).rglob("*.py"))
    return sorted(
        path.relative_to(PROJECT)
        for path in found
        if not path.name.endswith(("_pb2.py", "_grpc.py"))
    )


EVERYTHING = sources("trio_driver", "tests", "bench", "examples", "proto")
PACKAGES = sources("trio_driver")


def tree_of(path: Path) -> ast.Module:
    return ast.parse((PROJECT / path).read_text(encoding="utf-8"), str(path))


def imported_modules(tree: ast.Module) -> Iterator[str]:
    """Full names of what is imported from the project, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith("trio_driver."))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            if node.module == "trio_driver":
                yield from (f"trio_driver.{name.name}" for name in node.names)
            elif (node.module or "").startswith("trio_driver."):
                yield str(node.module)


def import_problem(path: Path, module: str) -> str | None:
    """What is wrong with the import of `module` in the file at `path`, if anything."""
    parts = path.parts[1:]
    own = parts[0] if len(parts) > 1 else ""
    target, _, inside = module.removeprefix("trio_driver.").partition(".")
    if target == own or (str(path), module) in BACK_DOORS:
        return None
    if target not in FLOORS:
        return f"{module} is no package of the house"
    if own and FLOORS[target] >= FLOORS[own] and (own, target) not in SAME_FLOOR:
        return f"{module} is not on a lower floor"
    if inside and target != "_proto":
        return f"{module} is behind the front door of {target}"
    return None


@pytest.mark.parametrize("path", PACKAGES, ids=str)
def test_imports_go_down_and_through_front_doors(path: Path) -> None:
    problems = (import_problem(path, module) for module in imported_modules(tree_of(path)))
    assert [problem for problem in problems if problem] == []


def shield_problem(node: ast.Call, lines: list[str], statement_line: int) -> str | None:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if name not in BOUNDED or "inf" in ast.unparse(node.args[0] if node.args else node):
        return f"line {node.lineno}: a shield without a bound"
    comment: list[str] = []
    for line in reversed(lines[: statement_line - 1]):
        if not line.strip().startswith("#"):
            break
        comment.append(line)
    text = "\n".join(reversed(comment))
    if "# Shield:" not in text or "Ends by:" not in text:
        return f"line {node.lineno}: a shield without `# Shield:` and `# Ends by:` above"
    return None


def shield_problems(path: Path) -> Iterator[str]:
    lines = (PROJECT / path).read_text(encoding="utf-8").splitlines()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Attribute) and target.attr == "shield"
            for target in node.targets
        ):
            yield f"line {node.lineno}: a shield that is switched on"
        calls = node.items if isinstance(node, ast.With | ast.AsyncWith) else []
        for call in (item.context_expr for item in calls):
            if isinstance(call, ast.Call) and is_shield(call):
                yield from filter(None, [shield_problem(call, lines, node.lineno)])


def is_shield(call: ast.Call) -> bool:
    return any(keyword.arg == "shield" for keyword in call.keywords)


@pytest.mark.parametrize("path", EVERYTHING, ids=str)
def test_every_shield_is_bounded_and_explained(path: Path) -> None:
    assert list(shield_problems(path)) == []
    in_with = sum(
        isinstance(item.context_expr, ast.Call) and is_shield(item.context_expr)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.With | ast.AsyncWith)
        for item in node.items
    )
    everywhere = sum(
        isinstance(node, ast.Call) and is_shield(node) for node in ast.walk(tree_of(path))
    )
    assert everywhere == in_with, "a shield outside of a `with`"


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function; its docstring does not count, for it shall never be shortened to fit."""
    first = function.body[0]
    end = function.end_lineno or function.lineno
    if ast.get_docstring(function) is not None:
        return end - (first.end_lineno or first.lineno) + first.lineno - function.lineno
    return end - function.lineno + 1


def too_long(path: Path) -> Iterator[str]:
    if len((PROJECT / path).read_text(encoding="utf-8").splitlines()) > MAX_FILE_LINES:
        yield str(path)
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if length(node) > MAX_FUNCTION_LINES:
                yield f"{path}:{node.name}"


def test_files_and_functions_are_short_or_listed() -> None:
    assert {name for path in EVERYTHING for name in too_long(path)} == DEBT
