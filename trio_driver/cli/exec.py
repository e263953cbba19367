"""`trio-driver exec`: a command in a running task, without an agent and without a plugin.

Rules:
- It runs in the task's executor, as the task's user and in its cgroup; when we go, all that it left
  is killed there.
- A terminal of ours is raw while its keys are the command's, and as it was before when we leave,
  whatever ends us but SIGKILL.
- Its exit code is ours; a failure to start it is `EXIT_NOT_STARTED`.

Must not know: what an executor does with it.
"""

import contextlib
import errno
import os
import signal
import termios
import tty
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import trio

from trio_driver._proto import driver_pb2
from trio_driver.cli.errors import CommandError
from trio_driver.cli.logs import CHUNK_BYTES, Terminal
from trio_driver.cli.tasks import NamedRun, find_run, named_runs, open_state, state_path
from trio_driver.executor import ExecSession, ExecSpec, open_exec
from trio_driver.model import DriverError, describe_exit
from trio_driver.state import RecordError

EXIT_NOT_STARTED = 125
"""As env(1) and others that run a command have it: the command's own codes are told from ours."""

ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

STDIN, STDOUT, STDERR = 0, 1, 2


class ExecError(CommandError):
    """The command was not started, or the session was lost."""

    exit_code = EXIT_NOT_STARTED


def exec_in_task(
    word: str,
    command: Sequence[str],
    state_dir: str | None,
    *,
    has_stdin: bool,
    has_terminal: bool,
) -> int:
    """Run `command` in the task named by `word`; returns its exit code, 128 + its number for a
    signal.

    Args:
        has_stdin: what comes on our stdin is the command's.
        has_terminal: the command gets a terminal, and ours is passed through to it.

    Raises:
        TaskNameError: `word` names no task, or several.
        ExecError: the task does not run, the command could not be started, the executor was lost.
    """
    named = find_run(
        word, named_runs(open_state(state_dir, "exec")), state_path(state_dir), prefer_live=True
    )
    if has_terminal and not os.isatty(STDIN):
        raise ExecError(
            "exec: -t needs a terminal on stdin; leave it away to pass a pipe or a file"
        )
    _check_live(named)
    spec = ExecSpec(command=command, tty=has_terminal, no_stdin=not has_stdin and not has_terminal)
    try:
        return trio.run(_run, named, spec, has_stdin)
    except* DriverError as group:
        raise ExecError(f"exec: {group.exceptions[0]}") from None


def _check_live(named: NamedRun) -> None:
    try:
        ending = named.run.read_exit()
    except RecordError as error:
        raise ExecError(f"exec: {error}") from None
    if ending is not None:
        raise ExecError(f"exec: task {named.label} {describe_exit(ending.exit)}")
    if not named.is_live:
        raise ExecError(f"exec: task {named.label} does not run: its executor is dead")


async def _run(named: NamedRun, spec: ExecSpec, has_stdin: bool) -> int:
    outcome = _Outcome()
    async with open_exec(named.run, spec) as session, trio.open_nursery() as nursery:
        with contextlib.ExitStack() as stack:
            turn = trio.Lock()  # a session takes one message after the other
            nursery.start_soon(_watch_signals, nursery.cancel_scope, outcome)
            if spec.tty:
                nursery.start_soon(_pass_sizes, session, turn)
            if has_stdin and spec.tty:  # without input of ours, Ctrl-C is ours, too
                stack.enter_context(raw_terminal(STDIN))
            if has_stdin:
                nursery.start_soon(_pass_input, session, turn)
            outcome.code = await _pass_output(session)
            nursery.cancel_scope.cancel()
    return outcome.code


class _Outcome:
    """Our exit code, as soon as it is known."""

    code = EXIT_NOT_STARTED


async def _watch_signals(scope: trio.CancelScope, outcome: _Outcome) -> None:
    with trio.open_signal_receiver(*ENDING_SIGNALS) as signals:
        async for signum in signals:
            outcome.code = 128 + signum
            scope.cancel()


async def _pass_output(session: ExecSession) -> int:
    """Write what comes to our own streams until the command has ended; its exit code."""
    stdout, stderr = Terminal(STDOUT), Terminal(STDERR)
    result = driver_pb2.ExitResult(exit_code=EXIT_NOT_STARTED)
    async for output in session:
        try:
            if output.stdout.data:
                await stdout.write(output.stdout.data)
            if output.stderr.data:
                await stderr.write(output.stderr.data)
        except BrokenPipeError:  # nobody reads ours any more
            return 128 + signal.SIGPIPE
        if output.exited:
            result = output.result
    return 128 + result.signal if result.signal else result.exit_code


async def _pass_input(session: ExecSession, turn: trio.Lock) -> None:
    """Send what comes on our stdin, then its end."""
    while chunk := await _read_stdin():
        async with turn:
            await session.write_stdin(chunk)
    async with turn:
        await session.close_stdin()


async def _read_stdin() -> bytes:
    """What is there; empty at the end. Nothing of ours makes stdin non-blocking: others may share it."""
    try:
        await trio.lowlevel.wait_readable(STDIN)
    except OSError as error:
        if error.errno != errno.EPERM:  # epoll takes no plain file, which never blocks
            raise
    try:
        return os.read(STDIN, CHUNK_BYTES)
    except OSError as error:
        if error.errno == errno.EIO:  # the terminal is gone
            return b""
        raise


async def _pass_sizes(session: ExecSession, turn: trio.Lock) -> None:
    """Give the session our terminal's size, now and on each change."""
    with trio.open_signal_receiver(signal.SIGWINCH) as changes:
        await _pass_size(session, turn)
        async for _ in changes:
            await _pass_size(session, turn)


async def _pass_size(session: ExecSession, turn: trio.Lock) -> None:
    try:
        size = os.get_terminal_size(STDIN)
    except OSError:  # it is gone, and so are we soon
        return
    async with turn:
        await session.resize(rows=size.lines, columns=size.columns)


@contextmanager
def raw_terminal(fd: int) -> Generator[None]:
    """Every key goes through as it is for the length of the block; then the terminal is as before.

    It is not waited for output to be seen: a terminal may have been stopped, or gone.
    """
    before = termios.tcgetattr(fd)
    tty.setraw(fd, termios.TCSANOW)
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):  # it is gone
            termios.tcsetattr(fd, termios.TCSANOW, before)
