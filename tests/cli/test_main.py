"""The three things that one program is."""

import os
import subprocess
import sys

import pytest

from trio_driver.cli.main import COOKIE_NAME, is_plugin

from .program import PYTHON_PATH, Sandbox

FOR_PEOPLE = ("asyncio", "click", "hcl2", "lark", "rich", "trio_driver.cli.commands")


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        ([], {}, False),
        ([], {COOKIE_NAME: "x"}, True),
        (["run"], {COOKIE_NAME: "x"}, False),
        (["spawner", "/run/x", "abc", "5"], {}, True),
        (["ps"], {}, False),
    ],
)
def test_an_agent_and_a_plugin_are_told_from_a_person(
    arguments: list[str], environ: dict[str, str], expected: bool
) -> None:
    assert is_plugin(arguments, environ) is expected


def test_a_plugin_imports_nothing_that_only_people_need() -> None:
    code = (
        "import sys, trio_driver.cli.main, trio_driver.drivers, trio_driver.sdk;"
        f"print([name for name in {FOR_PEOPLE!r} if name in sys.modules])"
    )
    environ = {"PYTHONPATH": PYTHON_PATH, "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_a_person_without_a_command_gets_help(sandbox: Sandbox) -> None:
    result = sandbox.run_command([str(sandbox.program)])
    text = result.stdout + result.stderr
    assert text.startswith("Usage: trio-driver")
    assert "Traceback" not in text


def test_a_wrong_cookie_is_explained(sandbox: Sandbox) -> None:
    result = sandbox.run_command(["/usr/bin/env", f"{COOKIE_NAME}=x", str(sandbox.program)])
    assert (result.returncode, result.stdout) == (1, "")
    assert "Nomad" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unknown_command_is_refused(sandbox: Sandbox) -> None:
    result = sandbox.run_command([str(sandbox.program), "nope"])
    assert result.returncode == 2
    assert "No such command" in result.stderr
