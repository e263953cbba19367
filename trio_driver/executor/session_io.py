"""The descriptors of a session: a terminal, or pipes; what goes in and what comes out.

Rules:
- A session's processes never have our ends, nor do ours stay open beside theirs: the end of a
  stream must be seen.
- They belong to the task's user, who may open them again (`/dev/stdout`, `/dev/tty`).
- A process that does not read makes the writer wait, one that has stopped reading makes it discard.
"""

import errno
import grp
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial

import trio
from trio_util import wait_any

from trio_driver.executor.launch import LaunchPlan
from trio_driver.linux import Credentials, end_of_input, open_terminal, set_terminal_size
from trio_driver.model import LaunchError

CHUNK_BYTES = 4096
"""Most that is read at once. Source: nomad-protocol §4.11."""

TERMINAL_MODE = 0o620
"""Its user reads and writes, others of its group (`tty`, for write(1)) only write."""


@dataclass(slots=True, kw_only=True)
class SessionIo:
    """Both sides of a session's streams, see `open_session_io`."""

    stdin: int
    stdout: int
    stderr: int
    """The process's."""
    input: int
    """Ours, to write; -1 when there is nothing to write to."""
    outputs: dict[str, int]
    """Ours, to read, by the name of the stream that they are to the client."""
    is_terminal: bool
    over: trio.Event = field(default_factory=trio.Event)
    """Set when nobody writes any more: what is there is read, and more is not waited for."""
    _theirs: ExitStack = field(default_factory=ExitStack)
    _input_ends_line: bool = True

    def fill(self, plan: LaunchPlan) -> LaunchPlan:
        """The plan with the process's ends."""
        return replace(
            plan,
            stdin=self.stdin,
            stdout=self.stdout,
            stderr=self.stderr,
            has_terminal=self.is_terminal,
        )

    def close_theirs(self) -> None:
        """Close the process's ends in this process, once the process has them."""
        self._theirs.close()

    def resize(self, *, rows: int, columns: int) -> None:
        """Give the terminal a size; nothing happens when it is hung up."""
        with suppress(OSError):
            set_terminal_size(self.input, rows=rows, columns=columns)

    async def write(self, data: bytes) -> None:
        """Write all of `data`, or discard it when nobody reads any more.

        If cancelled, a part may have been written.
        """
        rest = memoryview(data)
        while rest and self.input >= 0:
            try:
                rest = rest[os.write(self.input, rest) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self.input)
            except OSError as error:
                if error.errno not in (errno.EPIPE, errno.EIO):
                    raise
                return
        if data:
            self._input_ends_line = data.endswith((b"\n", b"\r"))

    async def end_input(self) -> None:
        """Let the process read the end of its input. A terminal's is typed: it stays open."""
        if self.is_terminal:
            # The first one only ends a line that was begun.
            await self.write(end_of_input(self.input) * (1 if self._input_ends_line else 2))
        elif self.input >= 0:
            os.close(self.input)
            self.input = -1

    async def read(self, name: str) -> bytes:
        """What comes from one of `outputs`; nothing at its end.

        If cancelled nothing is lost.
        """
        fd = self.outputs[name]
        while True:
            try:
                return os.read(fd, CHUNK_BYTES)
            except BlockingIOError:
                if self.over.is_set():
                    return b""
            except OSError as error:
                if error.errno == errno.EIO:  # nobody has the terminal open any more
                    return b""
                raise
            await wait_any(partial(trio.lowlevel.wait_readable, fd), self.over.wait)


@contextmanager
def open_session_io(
    *, tty: bool, merge_stderr: bool, no_stdin: bool, owner: Credentials | None
) -> Generator[SessionIo]:
    """Streams for the length of the block.

    Raises:
        LaunchError: there are no more terminals, or no more descriptors.
    """
    with ExitStack() as ours, ExitStack() as theirs:
        try:
            if tty:
                io = _open_terminal(owner, ours, theirs)
            else:
                io = _open_pipes(owner, ours, theirs, merge_stderr=merge_stderr, no_stdin=no_stdin)
        except OSError as error:
            step = "terminal" if tty else "pipe"
            raise LaunchError.from_errno(step, "", error.errno or 0) from error
        try:
            yield io
        finally:
            if not tty and io.input >= 0:
                os.close(io.input)


def _open_terminal(owner: Credentials | None, ours: ExitStack, theirs: ExitStack) -> SessionIo:
    terminal = open_terminal()
    ours.callback(os.close, terminal.master)
    theirs.callback(os.close, terminal.slave)
    os.set_blocking(terminal.master, False)
    if owner is not None:
        os.fchown(terminal.slave, owner.uid, _terminal_group(owner))
        os.fchmod(terminal.slave, TERMINAL_MODE)
    return SessionIo(
        stdin=terminal.slave,
        stdout=terminal.slave,
        stderr=terminal.slave,
        input=terminal.master,
        outputs={"stdout": terminal.master},
        is_terminal=True,
        _theirs=theirs,
    )


def _terminal_group(owner: Credentials) -> int:
    try:
        return grp.getgrnam("tty").gr_gid
    except KeyError:
        return owner.gid


def _open_pipes(
    owner: Credentials | None,
    ours: ExitStack,
    theirs: ExitStack,
    *,
    merge_stderr: bool,
    no_stdin: bool,
) -> SessionIo:
    stdout, stdout_end = _open_output(owner, ours, theirs)
    outputs = {"stdout": stdout}
    stderr_end = stdout_end
    if not merge_stderr:
        outputs["stderr"], stderr_end = _open_output(owner, ours, theirs)
    if no_stdin:
        stdin_end, stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), -1
    else:
        stdin_end, stdin = os.pipe()
        os.set_blocking(stdin, False)
        _give(stdin, owner)
    theirs.callback(os.close, stdin_end)
    return SessionIo(
        stdin=stdin_end,
        stdout=stdout_end,
        stderr=stderr_end,
        input=stdin,
        outputs=outputs,
        is_terminal=False,
        _theirs=theirs,
    )


def _open_output(owner: Credentials | None, ours: ExitStack, theirs: ExitStack) -> tuple[int, int]:
    reader, writer = os.pipe()
    ours.callback(os.close, reader)
    theirs.callback(os.close, writer)
    os.set_blocking(reader, False)
    _give(writer, owner)
    return reader, writer


def _give(pipe: int, owner: Credentials | None) -> None:
    if owner is not None:
        os.fchown(pipe, owner.uid, owner.gid)
