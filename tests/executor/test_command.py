"""Which file a command names, and whose mode is changed for it (nomad-protocol §8.10)."""

import os
from pathlib import Path

import pytest

from trio_driver.executor.command import find_command, find_session_command
from trio_driver.model import LaunchError


@pytest.fixture
def task_dir(tmp_path: Path) -> Path:
    path = tmp_path / "alloc" / "web"
    (path / "local").mkdir(parents=True)
    return path


def program(path: Path, *, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def find(command: str, task_dir: Path, *, path: str = "/usr/bin:/bin") -> str:
    return find_command(command, task_dir=str(task_dir), path=path)


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_the_first_place_wins(task_dir: Path, tmp_path: Path) -> None:
    on_path = program(tmp_path / "bin" / "tool")
    below = program(task_dir / "tool")
    local = program(task_dir / "local" / "tool")
    for expected in (local, below, on_path):
        assert find("tool", task_dir, path=str(on_path.parent)) == str(expected)
        expected.unlink()


def test_an_absolute_command_is_looked_for_in_the_tasks_directory_first(task_dir: Path) -> None:
    own = program(task_dir / "bin" / "sh")
    assert find("/bin/sh", task_dir) == str(own)
    own.unlink()
    assert find("/bin/sh", task_dir) == "/bin/sh"


def test_a_command_in_a_directory_below_is_found(task_dir: Path) -> None:
    own = program(task_dir / "local" / "app" / "bin" / "server")
    assert find("app/bin/server", task_dir) == str(own)


def test_what_is_not_executable_on_the_path_is_passed_over(task_dir: Path, tmp_path: Path) -> None:
    program(tmp_path / "one" / "tool", mode=0o644)
    (tmp_path / "two" / "tool").mkdir(parents=True)
    found = program(tmp_path / "three" / "tool")
    path = ":".join(str(tmp_path / name) for name in ("one", "two", "three"))
    assert find("tool", task_dir, path=path) == str(found)


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("", "must not be empty"),
        ("/no/such/file", 'command "/no/such/file": No such file or directory'),
        ("no-such-tool", "found neither in"),
    ],
)
def test_a_command_that_is_nowhere_is_an_error_that_names_it(
    task_dir: Path, command: str, text: str
) -> None:
    with pytest.raises(LaunchError) as raised:
        find(command, task_dir)
    assert text in str(raised.value)
    assert raised.value.step == "command"


@pytest.mark.parametrize(("before", "after"), [(0o610, 0o755), (0o600, 0o755), (0o644, 0o755)])
def test_a_file_of_the_task_is_made_executable(task_dir: Path, before: int, after: int) -> None:
    own = program(task_dir / "local" / "tool", mode=before)
    find("tool", task_dir)
    assert mode_of(own) == after


def test_a_file_that_is_executable_keeps_its_mode(task_dir: Path) -> None:
    own = program(task_dir / "local" / "tool", mode=0o2775)
    find("tool", task_dir)
    assert mode_of(own) == 0o2775


def test_a_file_outside_of_the_task_keeps_its_mode(task_dir: Path, tmp_path: Path) -> None:
    outside = program(tmp_path / "tool", mode=0o644)
    assert find(str(outside), task_dir) == str(outside)
    assert mode_of(outside) == 0o644


@pytest.mark.parametrize("attack", ["symlink", "hardlink", "linked-directory", "parent"])
def test_no_name_in_the_tasks_directory_changes_the_mode_of_a_file_outside(
    task_dir: Path, tmp_path: Path, attack: str
) -> None:
    victim = program(tmp_path / "elsewhere" / "tool", mode=0o600)
    command = "tool"
    match attack:
        case "symlink":
            (task_dir / "local" / "tool").symlink_to(victim)
        case "hardlink":
            os.link(victim, task_dir / "local" / "tool")
        case "linked-directory":
            (task_dir / "local").rmdir()
            (task_dir / "local").symlink_to(victim.parent)
        case _:
            command = "../../../elsewhere/tool"
            assert (task_dir / "local" / command).exists()
    find(command, task_dir)
    assert mode_of(victim) == 0o600


def test_a_fifo_is_no_command_and_blocks_nobody(task_dir: Path) -> None:
    os.mkfifo(task_dir / "local" / "tool")
    with pytest.raises(LaunchError):
        find("tool", task_dir)


def test_without_a_task_directory_the_path_is_left() -> None:
    assert find_command("sh", task_dir="", path="/bin") == "/bin/sh"


def find_in_session(command: str, task_dir: Path, *, path: str = "/usr/bin:/bin") -> str:
    work_dir = str(task_dir / "local")
    return find_session_command(command, work_dir=work_dir, task_dir=str(task_dir), path=path)


def test_a_session_finds_a_path_from_where_it_works(task_dir: Path) -> None:
    own = program(task_dir / "local" / "bin" / "tool")
    program(task_dir / "bin" / "tool")
    assert find_in_session("bin/tool", task_dir) == str(own)
    own.unlink()
    assert find_in_session("bin/tool", task_dir) == str(task_dir / "bin" / "tool")


def test_a_session_finds_a_name_on_the_path_before_the_tasks_own(
    task_dir: Path, tmp_path: Path
) -> None:
    on_path = program(tmp_path / "bin" / "tool")
    local = program(task_dir / "local" / "tool")
    for expected in (on_path, local):
        assert find_in_session("tool", task_dir, path=str(on_path.parent)) == str(expected)
        expected.unlink()


def test_a_session_finds_an_absolute_path_as_it_is(task_dir: Path) -> None:
    program(task_dir / "bin" / "sh")
    assert find_in_session("/bin/sh", task_dir) == "/bin/sh"


def test_what_a_session_does_not_find_is_an_error_that_names_it(task_dir: Path) -> None:
    for command in ("", "no-such-tool", "./no-such-tool", "/no/such/tool"):
        with pytest.raises(LaunchError, match="command"):
            find_in_session(command, task_dir)
