"""`trio-driver logs`: what a task wrote, from the files of Nomad's log reader, without an agent.

The reader writes `<task>.stdout.N` below the allocation's `alloc/logs`, goes on with N + 1 when a
file is full, and removes the oldest.

Rules:
- The directory is the task's to write, and we are root: it is walked without following a link, and
  nothing is read but a plain file that has no other name.
- A file is read to its end once more after the next one is seen: what came in between is not lost.

Source: nomad-protocol §7. Must not know: agents.
"""

import contextlib
import errno
import os
import re
import stat
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import trio

from trio_driver.cli.errors import RunError
from trio_driver.cli.logs import CHUNK_BYTES, Sink, Terminal
from trio_driver.cli.tasks import NamedRun, find_run, named_runs, open_state, state_path
from trio_driver.linux import open_beneath
from trio_driver.state import ExecutorRecord

LOOK_S = 0.2
"""Between two looks for more: the reader writes ten times a second."""

LATE_OUTPUT_S = 1.0
"""How long to wait for more after the task has ended."""

STREAMS = ("stdout", "stderr")

_FILE_FLAGS = os.O_RDONLY | os.O_NONBLOCK
"""A FIFO in a file's place must not stop us before it was looked at."""


class LogFiles:
    """The files of one stream of a task in an open directory."""

    def __init__(self, dir_fd: int, task_name: str, stream: str) -> None:
        self.stream = stream
        self._dir_fd = dir_fd
        self._prefix = f"{task_name}.{stream}."

    def numbers(self) -> list[int]:
        """The numbers of the files that there are, oldest first."""
        pattern = re.compile(re.escape(self._prefix) + "([0-9]{1,9})", re.ASCII)
        found = (pattern.fullmatch(name) for name in os.listdir(self._dir_fd))
        return sorted(int(match[1]) for match in found if match is not None)

    @contextmanager
    def opened(self, number: int) -> Generator[int | None]:
        """The file of this number for the length of the block; None when it has been removed.

        Raises:
            RunError: it is nothing that the log reader made.
        """
        name = f"{self._prefix}{number}"
        try:
            fd = open_beneath(self._dir_fd, name, _FILE_FLAGS)
        except FileNotFoundError:
            yield None
            return
        except OSError as error:
            reason = "a link, and not followed" if error.errno == errno.ELOOP else error.strerror
            raise RunError(f"logs: {name} is not read: it is {reason}") from None
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                raise RunError(f"logs: {name} is not read: it is no plain file with one name")
            yield fd
        finally:
            os.close(fd)

    def start_of_tail(self, lines: int) -> tuple[int, int]:
        """Number and offset where the last `lines` lines begin; the first file's start if there are
        not as many."""
        start, missing = (0, 0), lines + 1
        for number in reversed(self.numbers()):
            with self.opened(number) as fd:
                if fd is None:
                    break
                offset, missing = _tail_offset(fd, missing)
            start = (number, offset)
            if missing <= 0:
                break
        return start


def _tail_offset(fd: int, newlines: int) -> tuple[int, int]:
    """Where to begin so that `newlines` line ends, less the last, follow; how many are still missing."""
    end = os.fstat(fd).st_size
    if end and os.pread(fd, 1, end - 1) != b"\n":
        newlines -= 1  # the last line has not ended
    while end > 0:
        begin = max(0, end - CHUNK_BYTES)
        chunk = os.pread(fd, end - begin, begin)
        while (at := chunk.rfind(b"\n")) >= 0:
            newlines -= 1
            if newlines <= 0:
                return begin + at + 1, 0
            chunk = chunk[:at]
        end = begin
    return 0, newlines


async def copy_files(
    files: LogFiles, sink: Sink, *, start: tuple[int, int], may_come: Callable[[], bool] | None
) -> None:
    """Hand the files' content to `sink`, from number and offset `start` on.

    Args:
        may_come: whether the task may still write; None to end with what there is.

    Raises:
        RunError: a file is nothing that the log reader made.
    """
    number, offset = start
    while True:
        later = [each for each in files.numbers() if each >= number]
        if later:
            number, offset = await _copy_file(
                files, later[0], offset if later[0] == number else 0, sink
            )
            if len(later) > 1:
                # The next one is there, so what was read to its end before may have grown, but grows no more.
                await _copy_file(files, number, offset, sink)
                number, offset = later[1], 0
                continue
        if may_come is None or not await _wait_for_more(files, number, offset, may_come):
            return


async def _copy_file(files: LogFiles, number: int, offset: int, sink: Sink) -> tuple[int, int]:
    """Hand over what is in one file from `offset` on; where it ended."""
    with files.opened(number) as fd:
        while fd is not None and (chunk := os.pread(fd, CHUNK_BYTES, offset)):
            offset += len(chunk)
            await sink(chunk)
    return number, offset


async def _wait_for_more(
    files: LogFiles, number: int, offset: int, may_come: Callable[[], bool]
) -> bool:
    """Whether there is more after `offset`, waiting for it while the task may write."""
    late_until_s: float | None = None
    while True:
        await trio.sleep(LOOK_S)
        with files.opened(number) as fd:
            if fd is not None and os.fstat(fd).st_size > offset:
                return True
        if any(each > number for each in files.numbers()):
            return True
        now_s = trio.current_time()
        if may_come():
            late_until_s = None
        elif late_until_s is None:
            late_until_s = now_s + LATE_OUTPUT_S
        elif now_s > late_until_s:
            return False


@contextmanager
def open_log_directory(record: ExecutorRecord) -> Generator[int]:
    """The directory of a task's log files, for the length of the block.

    Raises:
        RunError: there is none, or a link is in the way.
    """
    # The allocation's directory is the agent's own; what is below it the task may have replaced.
    path = Path(record.alloc_root, record.alloc_id)
    with contextlib.ExitStack() as stack:
        try:
            alloc_fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            stack.callback(os.close, alloc_fd)
            log_fd = open_beneath(alloc_fd, "alloc/logs", os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, log_fd)
        except OSError as error:
            raise RunError(f"logs: {path}/alloc/logs cannot be read: {error.strerror}") from None
        yield log_fd


def show_logs(
    word: str, state_dir: str | None, *, streams: Sequence[str], follow: bool, lines: int | None
) -> int:
    """Print what the task named by `word` wrote, each stream to ours; returns the exit code.

    Args:
        follow: go on until the task has ended.
        lines: begin with the last so many of each stream; None for all.

    Raises:
        TaskNameError: `word` names no task, or several.
        RunError: there are no log files, or what is there was not made by the log reader.
    """
    runs = named_runs(open_state(state_dir, "logs"))
    named = find_run(word, runs, state_path(state_dir), prefer_live=True)
    if named.record is None:
        raise RunError(f"logs: the record of {named.label} cannot be read")
    with open_log_directory(named.record) as dir_fd:
        files = [LogFiles(dir_fd, named.record.task_name, stream) for stream in streams]
        if not follow and not any(each.numbers() for each in files):
            raise RunError(
                f"logs: {named.label} has no log files in {named.record.alloc_root}/"
                f"{named.record.alloc_id}/alloc/logs: its job has disabled them, or it was not "
                "started by an agent"
            )
        try:
            trio.run(_show, files, named if follow else None, lines)
        except* BrokenPipeError:
            pass  # nobody reads any more
    return 0


async def _show(files: Sequence[LogFiles], live: NamedRun | None, lines: int | None) -> None:
    may_come = None if live is None else lambda: live.is_live
    outputs = {"stdout": sys.stdout, "stderr": sys.stderr}

    async def copy(each: LogFiles) -> None:
        start = (0, 0) if lines is None else each.start_of_tail(lines)
        terminal = Terminal(outputs[each.stream].fileno())
        await copy_files(each, terminal.write, start=start, may_come=may_come)

    if live is None:  # one after the other: they may be the same terminal
        for each in files:
            await copy(each)
        return
    async with trio.open_nursery() as nursery:
        for each in files:
            nursery.start_soon(copy, each)
