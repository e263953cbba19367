"""The plugin's side of the spawner: find the one of this build or start it, ask it, replace it when
it does not answer.

Rules:
- Only StartTask waits for the spawner; no other call may depend on its health.
- Every request has a deadline. Past it the spawner is killed by its pidfd, replaced, and asked once
  more.
- While tasks run there is a spawner, for it ends what a dead executor leaves; while none run, none
  is started.
- It gets a clean environment, for the agent's carries tokens, and none of the agent's pipes (H1).
"""

import errno
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import trio
from trio_util import AsyncValue, wait_any

from trio_driver.linux import ProcessId, has_ended, identify, open_pidfd, signal_pidfd, wait_pidfd
from trio_driver.model import DriverError
from trio_driver.spawner.files import log_path_of, socket_path_of
from trio_driver.spawner.messages import (
    MAX_MESSAGE_BYTES,
    MessageError,
    SpawnReply,
    SpawnRequest,
    decode,
    encode,
)
from trio_driver.spawner.zygote import READY
from trio_driver.state import StateDirectory

LOGGER = logging.getLogger("trio_driver.spawner")

FD_BYTES = 4
"""Size of a descriptor in a control message: an `int`. Source: unix(7), SCM_RIGHTS."""

START_LIMIT_S = 60.0
"""From exec to listening: 0.3 s on an idle host, and a node that boots has better things to do."""

REQUEST_LIMIT_S = 3.0
"""A fork takes some milliseconds; a spawner that is slower than this is stopped or broken."""

KILL_LIMIT_S = 5.0
"""How long a killed spawner may take to be gone."""

PART_LIMIT_S = 0.3
"""Little of the 2 s that an agent gives a plugin to end; a spawner without executors takes 0.02 s."""

RETRY_S = 5.0
"""Pause after a spawner could not be started while tasks run."""

KEPT_VARIABLES = (
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "PATH",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONPYCACHEPREFIX",
    "TMPDIR",
    "TZ",
    "VIRTUAL_ENV",
    "XDG_RUNTIME_DIR",
)
"""What the spawner keeps of the agent's environment: what Python needs to start as the plugin
did."""


class SpawnError(DriverError):
    """No executor could be forked; another attempt may succeed."""

    recoverable = True


@dataclass(frozen=True, slots=True)
class SpawnedExecutor:
    """A new executor; `pidfd` and our end of its control connection are the receiver's to close."""

    process: ProcessId
    pidfd: int
    control: socket.socket


class _GoneError(Exception):
    """The spawner ended, or closed the connection, before it answered."""


class Spawner:
    """The spawner of one build, whoever started it; it outlives us."""

    def __init__(
        self, state: StateDirectory, command: Sequence[str], build: str, nursery: trio.Nursery
    ) -> None:
        """Nothing happens before the first request.

        Args:
            command: starts the spawner; state directory, build and a descriptor number are
                appended.
            nursery: where spawners that we start are reaped.
        """
        self._state = state
        self._command = command
        self._build = build
        self._nursery = nursery
        self._turn = trio.Lock()
        """One request at a time: a fork is not worth a protocol with request numbers."""
        self._connection: trio.socket.SocketType | None = None
        self._pidfd = -1

    async def spawn(self, request: SpawnRequest) -> SpawnedExecutor:
        """Fork an executor.

        Raises:
            SpawnError: two spawners in turn could not do it, or the kernel refused the fork.

        If cancelled, the executor may exist; it ends, for its control connection is closed.
        """
        data = encode(request)
        async with self._turn:
            why = ""
            for attempt in (1, 2):
                try:
                    await self._connect()
                    return await self._ask(data)
                except (OSError, MessageError, _GoneError, trio.TooSlowError) as error:
                    why = str(error) or type(error).__name__
                    LOGGER.warning("replaces the spawner, attempt %d: %s", attempt, why)
                    await self._kill()
            raise SpawnError(f"no spawner answers: {why}; see {self._log_path}")

    async def keep(self, live_tasks: AsyncValue[int]) -> None:
        """While tasks run, start another spawner as soon as there is none; until cancelled.

        Args:
            live_tasks: how many tasks run.
        """
        while True:
            await live_tasks.wait_value(lambda count: count > 0)
            try:
                async with self._turn:
                    await self._connect()
                    pidfd = os.dup(self._pidfd)
            except (OSError, SpawnError, _GoneError) as error:
                LOGGER.error("cannot start a spawner while tasks run: %s", error)
                await trio.sleep(RETRY_S)
                continue
            try:
                await _wait_dead_or_unneeded(pidfd, live_tasks)
            finally:
                os.close(pidfd)

    async def part(self) -> None:
        """Disconnect for good; a spawner that is not needed any more is given `PART_LIMIT_S` to be gone."""
        if self._connection is None:
            return
        pidfd = os.dup(self._pidfd)
        try:
            self.disconnect()
            with trio.move_on_after(PART_LIMIT_S):
                await wait_pidfd(pidfd)
        finally:
            os.close(pidfd)

    def disconnect(self) -> None:
        """Close our connection; the spawner lives on with its executors."""
        if self._connection is not None:
            self._connection.close()
            os.close(self._pidfd)
            self._connection, self._pidfd = None, -1

    async def _connect(self) -> None:
        """Be connected to a living spawner of this build, whoever started it."""
        if self._connection is not None and not has_ended(self._pidfd):
            return
        self.disconnect()
        with trio.move_on_after(START_LIMIT_S):
            while not await self._try_connect():
                await self._start()
            return
        raise SpawnError(
            f"the spawner did not start within {START_LIMIT_S:.0f} s; see {self._log_path}"
        )

    async def _try_connect(self) -> bool:
        connection = trio.socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            await connection.connect(str(socket_path_of(self._state, self._build)))
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            spawner = identify(int.from_bytes(credentials[:4], sys.byteorder))
            if spawner is None:
                raise ProcessLookupError(errno.ESRCH, "the spawner has ended")
            self._pidfd = open_pidfd(spawner)
        except (FileNotFoundError, ConnectionRefusedError, ProcessLookupError):
            connection.close()
            return False
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return True

    async def _start(self) -> None:
        """Start a spawner, and wait until it listens or finds another one that does."""
        ready, child_end = os.pipe()
        try:
            with open(self._log_path, "ab", opener=_open_private) as log:
                process = await trio.lowlevel.open_process(
                    [*self._command, str(self._state.path), self._build, str(child_end)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[child_end],
                    cwd="/",
                    env={name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ},
                    start_new_session=True,
                )
        except BaseException:
            os.close(ready)
            raise
        finally:
            os.close(child_end)
        self._nursery.start_soon(process.wait)
        async with trio.lowlevel.FdStream(ready) as stream:
            answer = await stream.receive_some(1)
        if not answer:
            raise _GoneError(f"it ended before it was ready: {self._last_log_line()}")
        if answer != READY:
            LOGGER.debug("another spawner of this build already listens")

    async def _ask(self, data: bytes) -> SpawnedExecutor:
        """One request with a control connection of its own, so that an executor of a request that
        failed ends."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                # Shield: half an exchange would leave its reply, with a descriptor, to the next request.
                # Ends by: the deadline.
                with trio.fail_after(REQUEST_LIMIT_S, shield=True):
                    process, pidfd = await self._exchange(data, theirs)
        except BaseException:
            ours.close()
            raise
        return SpawnedExecutor(process, pidfd, ours)

    async def _exchange(self, data: bytes, control: socket.socket) -> tuple[ProcessId, int]:
        connection = self._connection
        assert connection is not None, "we are connected"
        fd = control.fileno().to_bytes(FD_BYTES, sys.byteorder)
        await connection.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fd)])
        answer, ancillary, _, _ = await connection.recvmsg(
            MAX_MESSAGE_BYTES, socket.CMSG_SPACE(FD_BYTES), socket.MSG_CMSG_CLOEXEC
        )
        fds = [int.from_bytes(rights[:FD_BYTES], sys.byteorder) for _, _, rights in ancillary]
        if not answer:
            raise _GoneError
        reply = decode(SpawnReply, answer)
        if reply.error or not fds:
            raise SpawnError(f"the spawner cannot fork an executor: {reply.error}")
        return reply.process, fds[0]

    def _last_log_line(self) -> str:
        with open(self._log_path, errors="replace") as log:
            return (log.read().splitlines() or ["(empty)"])[-1]

    async def _kill(self) -> None:
        """End the spawner, and be sure that it listens no more: else the next connection would be
        to it too."""
        if self._connection is not None:
            signal_pidfd(self._pidfd, signal.SIGKILL)
            with trio.move_on_after(KILL_LIMIT_S):
                await wait_pidfd(self._pidfd)
        self.disconnect()

    @property
    def _log_path(self) -> str:
        return str(log_path_of(self._state, self._build))


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


async def _wait_dead_or_unneeded(pidfd: int, live_tasks: AsyncValue[int]) -> None:
    async def wait_unneeded() -> None:
        await live_tasks.wait_value(lambda count: count == 0)

    await wait_any(partial(wait_pidfd, pidfd), wait_unneeded)
