"""`trio-driver logs`: the log reader's files, followed over rotation, and no link out of them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import trio

from tests.state.test_directory import record_of_this_process
from tests.support.waiting import until
from trio_driver.cli.commands import run_command_line
from trio_driver.cli.task_logs import LogFiles, copy_files, open_log_directory
from trio_driver.model import Exited
from trio_driver.state import ExecutorRecord, ExitRecord, StateDirectory, open_state_directory

ALLOC_ID = "0123456789-abcd"


class Logs:
    """A running task `web` (this process is its executor) and its log files."""

    def __init__(self, root: Path) -> None:
        self.state: StateDirectory = open_state_directory(root / "state")
        self.directory = root / "alloc-root" / ALLOC_ID / "alloc" / "logs"
        self.directory.mkdir(parents=True)
        task_id = f"{ALLOC_ID}/web/1"
        self.run = self.state.run_of(task_id=task_id, alloc_id=ALLOC_ID, task_name="web")
        self.run.create()
        self.record: ExecutorRecord = msgspec.structs.replace(
            record_of_this_process(),
            task_id=task_id,
            alloc_id=ALLOC_ID,
            task_name="web",
            alloc_root=str(root / "alloc-root"),
        )
        self.run.write_executor(self.record)

    def write(self, name: str, text: str) -> None:
        with (self.directory / name).open("a") as file:
            file.write(text)

    def end(self) -> None:
        record = ExitRecord(exit=Exited(0), ended_at_s=1.0, boot_id=self.record.boot_id)
        self.run.write_exit(record)

    def show(self, *options: str) -> int:
        return run_command_line(["logs", "--state-dir", str(self.state.path), "web", *options])


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


Captured = pytest.CaptureFixture[str]


def test_both_streams_come_out_of_ours_oldest_file_first(logs: Logs, capfd: Captured) -> None:
    logs.write("web.stdout.10", "last\n")
    logs.write("web.stdout.9", "first\n")
    logs.write("web.stderr.0", "error\n")
    logs.write("web2.stdout.0", "another task's\n")
    assert logs.show() == 0
    assert capfd.readouterr() == ("first\nlast\n", "error\n")


@pytest.mark.parametrize(("option", "expected"), [("--stdout", ("o", "")), ("--stderr", ("", "e"))])
def test_one_stream_can_be_chosen(
    logs: Logs, capfd: Captured, option: str, expected: tuple[str, str]
) -> None:
    logs.write("web.stdout.0", "o")
    logs.write("web.stderr.0", "e")
    assert logs.show(option) == 0
    assert capfd.readouterr() == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [(0, ""), (1, "4\n"), (2, "3\n4\n"), (3, "2\n3\n4\n"), (9, "1\n2\n3\n4\n")],
)
def test_the_last_lines_are_counted_over_files(
    logs: Logs, capfd: Captured, lines: int, expected: str
) -> None:
    logs.write("web.stdout.0", "1\n2")
    logs.write("web.stdout.1", "\n3\n")
    logs.write("web.stdout.2", "4\n")
    assert logs.show("--stdout", "-n", str(lines)) == 0
    assert capfd.readouterr().out == expected


@pytest.mark.parametrize(
    ("lines", "expected"), [(1, "unfinished"), (2, "x" * 70_000 + "\nunfinished")]
)
def test_a_line_that_has_not_ended_is_one(
    logs: Logs, capfd: Captured, lines: int, expected: str
) -> None:
    logs.write("web.stdout.0", "first\n" + "x" * 70_000 + "\nunfinished")
    assert logs.show("--stdout", "-n", str(lines)) == 0
    assert capfd.readouterr().out == expected


def test_an_ended_tasks_logs_are_shown_while_they_are_there(logs: Logs, capfd: Captured) -> None:
    logs.write("web.stdout.0", "was here\n")
    logs.end()
    assert logs.show("-f") == 0
    assert capfd.readouterr().out == "was here\n"


@pytest.fixture
def files(logs: Logs) -> Iterator[LogFiles]:
    with open_log_directory(logs.record) as dir_fd:
        yield LogFiles(dir_fd, "web", "stdout")


async def test_following_goes_on_over_rotation_and_ends_with_the_task(
    logs: Logs, files: LogFiles, nursery: trio.Nursery
) -> None:
    seen = b""
    done = trio.Event()

    async def sink(chunk: bytes) -> None:
        nonlocal seen
        seen += chunk

    async def follow() -> None:
        await copy_files(files, sink, start=(0, 0), may_come=lambda: not logs.run.read_exit())
        done.set()

    nursery.start_soon(follow)
    expected = b""
    for number in range(4):
        for word in ("a", "b\n"):
            logs.write(f"web.stdout.{number}", word)
            expected += word.encode()
            await until(lambda: seen == expected, "it was shown")  # noqa: B023
        logs.write(f"web.stdout.{number}", "late\n")
        expected += b"late\n"
        (logs.directory / f"web.stdout.{number - 2}").unlink(missing_ok=True)
    await until(lambda: seen == expected, "all was shown")
    assert not done.is_set()
    logs.end()
    with trio.fail_after(60):
        await done.wait()


def make_link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_directory(path: Path) -> None:
    path.mkdir()


def make_hard_link(path: Path) -> None:
    other = path.with_name("other")
    other.write_text("secret")
    path.hardlink_to(other)


@pytest.mark.parametrize("make", [make_link, make_fifo, make_directory, make_hard_link])
@pytest.mark.parametrize("options", [(), ("-f",), ("-n", "3")], ids=["all", "follow", "tail"])
def test_what_the_task_put_there_instead_is_not_read(
    logs: Logs, capfd: Captured, make: Callable[[Path], None], options: tuple[str, ...]
) -> None:
    make(logs.directory / "web.stdout.0")
    assert logs.show(*options) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert "web.stdout.0 is not read" in err


@pytest.mark.parametrize("depth", [1, 2], ids=["logs", "alloc"])
def test_a_directory_that_the_task_replaced_by_a_link_is_not_followed(
    logs: Logs, tmp_path: Path, capfd: Captured, depth: int
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "logs").mkdir(parents=True)
    for path in (elsewhere, elsewhere / "logs"):
        (path / "web.stdout.0").write_text("secret")
    logs.directory.rmdir()
    if depth == 2:
        logs.directory.parent.rmdir()
        logs.directory.parent.symlink_to(elsewhere)
    else:
        logs.directory.symlink_to(elsewhere)
    assert logs.show() == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert "alloc/logs cannot be read" in err


def test_a_task_without_log_files_is_told(logs: Logs, capfd: Captured) -> None:
    assert logs.show() == 1
    assert "has no log files in" in capfd.readouterr().err


def test_an_allocation_that_was_removed_is_told(logs: Logs, capfd: Captured) -> None:
    logs.directory.rmdir()
    assert logs.show() == 1
    assert "No such file or directory" in capfd.readouterr().err
