"""A build is all that was imported, and the namespaces."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

PROGRAM = "import {imports}\nfrom trio_driver.spawner import build_id\nprint(build_id())\n"


def build_of(program: Path, *prefix: str) -> str:
    """What a process that executes `program` says."""
    command = [*prefix, sys.executable, str(program)]
    env = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{program.parent}"}
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "library.py").write_text("VALUE = 1\n")
    path = tmp_path / "plugin.py"
    path.write_text(PROGRAM.format(imports="library"))
    return path


def test_two_processes_of_one_file_are_one_build(program: Path) -> None:
    assert build_of(program) == build_of(program)


def test_a_build_is_a_short_name(program: Path) -> None:
    name = build_of(program).strip()
    assert len(name) == 12
    assert set(name) <= set("0123456789abcdef")


def test_a_changed_library_is_another_build(program: Path) -> None:
    before = build_of(program)
    (program.parent / "library.py").write_text("VALUE = 1000\n")
    assert build_of(program) != before


def test_a_changed_plugin_file_is_another_build(program: Path) -> None:
    before = build_of(program)
    program.write_text(PROGRAM.format(imports="library, sys"))
    assert build_of(program) != before


def test_the_same_file_by_another_name_is_the_same_build(program: Path) -> None:
    link = program.with_name("link")
    link.symlink_to(program)
    assert build_of(link) == build_of(program)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_another_mount_namespace_is_another_build(program: Path) -> None:
    assert build_of(program, "unshare", "--mount") != build_of(program)
