"""Child: a plugin process as its host sees it, from exec to the last byte of its pipes.

Owns the process, its pidfd and its two pipes. The block of `open_child` cannot be left while the
process lives.

Rules:
- As for an agent, the process has ended when both pipes are at their end and it has been reaped.
  A process that inherited a pipe keeps an agent waiting for ever (H1); here it is an error.
- It is killed alone, by pidfd, not its group: so does an agent.

Must not know: gRPC.

Source: nomad-protocol §1.1, §1.4, §1.6, §1.7, §1.12 (go-plugin client.go, internal/cmdrunner).
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from trio_driver.goplugin.diagnostics import describe
from trio_driver.goplugin.handshake import Handshake, HandshakeError, host_environment
from trio_driver.goplugin.hclog import LINE_LIMIT_BYTES, LogReader
from trio_driver.linux import signal_pidfd

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence

    from trio_driver.goplugin.hclog import LogRecord

LOGGER: Final = logging.getLogger("trio_driver.goplugin")

START_LIMIT_S: Final = 60.0
"""An agent's patience between exec and handshake."""

EXIT_LIMIT_S: Final = 2.0
"""An agent's patience between the answer to Shutdown and the end of the process."""

_OWN_EXIT_LIMIT_S: Final = 1.0
"""For a process that closed stdout without a handshake to tell its exit status by itself."""

_REAP_LIMIT_S: Final = 5.0
"""After SIGKILL only a process in the kernel's hands (D state) takes longer."""

_PIPE_LIMIT_S: Final = 1.0
"""The pipes of a reaped process are at their end at once, unless somebody else holds them."""

_LAST_MESSAGES: Final = 20
"""How much of stderr a handshake's error shows."""


class PipeHeldError(Exception):
    """The plugin has ended, but a process that it started holds its stdout or stderr (H1).

    An agent would wait for that process for ever.
    """


class Child:
    """A plugin process that this process started."""

    def __init__(
        self, process: trio.Process, *, on_log: Callable[[LogRecord], None], command: Sequence[str]
    ) -> None:
        self.process = process
        self.pidfd = os.pidfd_open(process.pid)
        self.exited = trio.Event()
        """Set when both pipes are at their end and the process has been reaped."""
        self.is_plugin = False
        """It has given a handshake: worth asking, and waiting for."""
        self._command = command
        self._on_log = on_log
        self._log_reader = LogReader()
        self._last_messages: deque[str] = deque(maxlen=_LAST_MESSAGES)

    async def wait_handshake(self, *, limit_s: float) -> Handshake:
        """The first line on stdout.

        Args:
            limit_s: seconds until the plugin is given up.

        Raises:
            HandshakeError: another line, none in time, or the process ended. It has been killed
                and reaped then; the diagnostics show its exit status and what it said on stderr.
        """
        line: bytes | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_stderr)
            with trio.move_on_after(limit_s) as waiting:
                line = await self._read_first_line()
            nursery.cancel_scope.cancel()
        if waiting.cancelled_caught:
            problem = f"no handshake within {limit_s:g} s"
        elif line is None:
            problem = "the process closed its stdout without a handshake"
            with trio.move_on_after(_OWN_EXIT_LIMIT_S):
                await self.run()
        else:
            try:
                handshake = Handshake.parse(os.fsdecode(line))
            except HandshakeError as error:
                problem = error.message
            else:
                self.is_plugin = True
                return handshake
        await self.end(limit_s=0)
        diagnostics = describe(
            self._command, returncode=self.process.returncode, said=self._last_messages
        )
        raise HandshakeError(problem, diagnostics=diagnostics)

    async def run(self) -> None:
        """Read both pipes to their end and reap the process; sets `exited`.

        If cancelled, nothing that was read is lost, and it can be called again.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_stderr)
            nursery.start_soon(self._read_stdout)
        await self.process.wait()
        self.exited.set()

    async def end(self, *, limit_s: float) -> None:
        """Wait `limit_s` seconds for the process to end by itself, then kill it; reap it.

        Raises:
            PipeHeldError: it is gone, but its pipes are not at their end.
            trio.TooSlowError: the kernel did not report the exit within 5 s of SIGKILL.

        If cancelled it is killed at once and reaped all the same.
        """
        try:
            with trio.move_on_after(limit_s):
                await self.run()
                return
        finally:
            if self.process.returncode is None:
                if limit_s > 0:
                    LOGGER.warning("plugin %d is killed", self.process.pid)
                signal_pidfd(self.pidfd, signal.SIGKILL)
                # Shield: a killed but unreaped child would stay a zombie.
                # Ends by: SIGKILL, at the latest after _REAP_LIMIT_S.
                with trio.fail_after(_REAP_LIMIT_S, shield=True):
                    await self.process.wait()
        with trio.move_on_after(_PIPE_LIMIT_S):
            await self.run()
            return
        raise PipeHeldError(f"another process holds stdout or stderr of plugin {self.process.pid}")

    async def close(self) -> None:
        """Release descriptors; of a process that has ended."""
        os.close(self.pidfd)
        for pipe in (self._stdout, self._stderr):
            await trio.aclose_forcefully(pipe)

    @property
    def _stdout(self) -> trio.abc.ReceiveStream:
        assert self.process.stdout is not None
        return self.process.stdout

    @property
    def _stderr(self) -> trio.abc.ReceiveStream:
        assert self.process.stderr is not None
        return self.process.stderr

    async def _read_first_line(self) -> bytes | None:
        """The line, or what there is of one that is too long; None at the end of stdout."""
        line = bytearray()
        while b"\n" not in line and len(line) < LINE_LIMIT_BYTES:
            chunk = await self._stdout.receive_some()
            if not chunk:
                return bytes(line) or None
            line += chunk
        return bytes(line.split(b"\n", 1)[0])

    async def _read_stdout(self) -> None:
        """What follows the handshake means nothing; unread it would block the plugin."""
        while await self._stdout.receive_some():
            pass

    async def _read_stderr(self) -> None:
        while data := await self._stderr.receive_some():
            self._log(self._log_reader.feed(bytes(data)))
        self._log(self._log_reader.close())

    def _log(self, records: Iterable[LogRecord]) -> None:
        for record in records:
            self._last_messages.append(record.message)
            try:
                self._on_log(record)
            except BaseException:
                # It ends the block; the plugin's own end is still read, and needs no second error.
                self._on_log = _ignore
                raise


def _ignore(_record: LogRecord) -> None:
    pass


@asynccontextmanager
async def open_child(
    command: Sequence[str], *, env: Mapping[str, str] | None, on_log: Callable[[LogRecord], None]
) -> AsyncGenerator[Child]:
    """Run `command` as an agent runs a plugin: our session, our stdin, our environment and more.

    Args:
        command: path and arguments; no shell.
        env: the agent's environment; None is ours.
        on_log: called with what the plugin logs.

    Leaving the block waits `EXIT_LIMIT_S` for the process to end, then kills it; cancelled or not.
    One that has given no handshake is killed at once.

    Raises:
        HandshakeError: it cannot be executed.
        PipeHeldError: when leaving, see `Child.end`.
    """
    environ = {**(os.environ if env is None else env), **host_environment()}
    try:
        process = await trio.lowlevel.open_process(
            list(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ
        )
    except OSError as error:
        diagnostics = describe(command, returncode=None, said=())
        raise HandshakeError(
            f"cannot execute: {error.strerror}", diagnostics=diagnostics
        ) from error
    child = Child(process, on_log=on_log, command=command)
    try:
        try:
            yield child
        finally:
            # Shield: leaving the block means that the process is gone, cancelled or not.
            # Ends by: the limits of `end`, which kills; the one here is never reached.
            with trio.fail_after(EXIT_LIMIT_S + _REAP_LIMIT_S + 2 * _PIPE_LIMIT_S, shield=True):
                await child.end(limit_s=EXIT_LIMIT_S if child.is_plugin else 0)
    finally:
        # Shield: closing never waits, but would do nothing when cancelled.
        # Ends by: at once.
        with trio.move_on_after(_PIPE_LIMIT_S, shield=True):
            await child.close()
