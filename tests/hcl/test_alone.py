"""hcl needs nothing but msgspec and the generated messages."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from trio_driver import hcl

ALLOWED = {"msgspec", "trio_driver._proto", "trio_driver.hcl"}


def imported(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)


def test_hcl_imports_nothing_but_msgspec_and_the_messages() -> None:
    for source in Path(str(hcl.__file__)).parent.rglob("*.py"):
        for module in imported(source):
            head = ".".join(module.split(".")[:2]) if module.startswith("trio_driver") else module
            assert head in ALLOWED or head.split(".")[0] in sys.stdlib_module_names, (
                source,
                module,
            )


def test_importing_hcl_loads_neither_trio_nor_the_transport() -> None:
    code = "import sys, trio_driver.hcl; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    modules = set(loaded.stdout.split())
    assert "trio_driver.hcl" in modules
    assert not {"trio", "purerpc", "anyio", "h2", "trio_driver.rpc", "trio_driver.sdk"} & modules
