"""The fork server's process: a poll loop without Trio and without threads, so that what it forks is
whole.

Owns: the executors it forked, the watch over every executor of its state directory, and the strays
that a dead executor left to it. It outlives the plugin that started it; it ends when no plugin is
connected and no executor lives.

Rules:
- Nothing in the loop waits for anything but poll(2). What must be repeated until it holds is
  repeated by the loop.
- An executor that its plugin did not commit dies with that plugin: it notices by itself, and is
  killed here when it is too stuck to notice.
- A child that is no executor was left by a dead one (we are a subreaper), and is killed.
- `sys.modules` does not grow after the first fork: an import after an upgrade would mix two
  versions.

Must not know: Trio, RPCs, what an executor does.
"""

import logging
import os
import select
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from trio_driver.linux import (
    ProcessId,
    close_all_except,
    identify,
    set_child_subreaper,
    set_name,
)
from trio_driver.spawner.files import lock_path_of, log_path_of, socket_path_of, stage_path_of
from trio_driver.spawner.home import enter_home, leave_home
from trio_driver.spawner.messages import (
    MAX_MESSAGE_BYTES,
    MessageError,
    SpawnReply,
    SpawnRequest,
    decode,
    encode,
)
from trio_driver.spawner.pages import keep_pages_shared
from trio_driver.spawner.watch import Watch, Watched
from trio_driver.state import Fence, StateDirectory

LOGGER = logging.getLogger("trio_driver.spawner")

RunExecutor = Callable[[StateDirectory, SpawnRequest, ProcessId, int], None]
"""What a fork does: run the executor of the request, for the plugin, with its control socket.
Injected, for it is above us."""

FIRST_CONNECTION_S = 10.0
"""How long a new spawner waits for the plugin that started it."""

RESCAN_S = 30.0
"""How often executors of another build's spawner are looked for; its death in between is the
plugins' to see."""

RESCAN_SOON_S = 0.1
"""The same after an executor was met on its way to its first record, which takes milliseconds."""

BACKLOG = 128

READY, HELD = b"r", b"h"
"""What a new spawner tells the plugin that started it: it listens, or another one of its build
does."""


def run_spawner(
    state: StateDirectory,
    build: str,
    run_executor: RunExecutor,
    rehearse: Callable[[Path], None],
    *,
    ready_fd: int,
) -> None:
    """Be the spawner of `build` until no plugin is connected and no executor lives.

    `rehearse` is called once before the first fork, with an empty directory of ours, to do what
    every fork would otherwise do first; the socket gets its name afterwards, so that no request
    waits for it. One byte on `ready_fd` tells whether this process listens or another one does.
    """
    lock_path = lock_path_of(state, build)
    fence = Fence.try_take(lock_path)
    if fence is None:
        _tell_starter(ready_fd, HELD)
        return
    set_name("trio-spawner")
    set_child_subreaper()
    home = enter_home()
    path = socket_path_of(state, build)
    path.unlink(missing_ok=True)
    with _stage(state, build) as directory:
        rehearse(directory)
    fillers = keep_pages_shared()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as listener:
        listener.bind(str(path))
        listener.listen(BACKLOG)
        is_wanted = _tell_starter(ready_fd, READY)
        patience_s = FIRST_CONNECTION_S if is_wanted else 0.0
        _Zygote(state, listener, run_executor).serve(patience_s)
        path.unlink(missing_ok=True)
    del fillers
    log_path_of(state, build).unlink(missing_ok=True)  # ended as it should: nobody will read it
    lock_path.unlink(missing_ok=True)
    leave_home(home)


@contextmanager
def _stage(state: StateDirectory, build: str) -> Generator[Path]:
    """An empty directory for the length of the block; what a killed spawner left of it is removed."""
    path = stage_path_of(state, build)
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _tell_starter(ready_fd: int, word: bytes) -> bool:
    """Whether the plugin that started us still listens; what a dead one's executors left is ours
    to end all the same."""
    try:
        os.write(ready_fd, word)
    except BrokenPipeError:
        return False
    finally:
        os.close(ready_fd)
    return True


class _Zygote:
    """The loop and its connections."""

    def __init__(
        self, state: StateDirectory, listener: socket.socket, run_executor: RunExecutor
    ) -> None:
        self._state = state
        self._listener = listener
        self._run_executor = run_executor
        self._watch = Watch(state)
        self._plugins: dict[int, tuple[socket.socket, ProcessId]] = {}
        self._wakeup, wakeup_end = socket.socketpair()
        self._wakeup.setblocking(False)
        wakeup_end.setblocking(False)
        self._wakeup_end = wakeup_end
        signal.signal(signal.SIGCHLD, lambda _signum, _frame: None)
        signal.set_wakeup_fd(wakeup_end.fileno())

    def serve(self, patience_s: float) -> None:
        """Run until idle; a first plugin may take `patience_s` to come."""
        first_plugin_by_s = time.monotonic() + patience_s
        rescan_at_s = time.monotonic() + self._look_at_all()
        while True:
            now_s = time.monotonic()
            if now_s >= rescan_at_s:
                rescan_at_s = now_s + self._look_at_all()
            pause_s = self._watch.step(now_s)
            if not self._plugins and not self._watch.is_busy and now_s >= first_plugin_by_s:
                return
            due_s = min(now_s + pause_s if pause_s is not None else rescan_at_s, rescan_at_s)
            if not self._plugins and first_plugin_by_s > now_s:
                due_s = min(due_s, first_plugin_by_s)
            if self._poll(max(0.0, due_s - now_s)):
                first_plugin_by_s = 0.0

    def _look_at_all(self) -> float:
        """Watch what is new in the state directory; seconds until the next look."""
        return RESCAN_S if self._watch.watch_all() else RESCAN_SOON_S

    def _poll(self, timeout_s: float) -> bool:
        """Wait for something to happen and deal with it; whether a plugin has come."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        pidfds = self._watch.pidfds
        for fd in (*self._plugins, *pidfds):
            poll.register(fd, select.POLLIN)
        came = False
        for fd, _ in poll.poll(timeout_s * 1000):
            if fd == self._listener.fileno():
                came = self._accept() or came
            elif fd == self._wakeup.fileno():
                self._wakeup.recv(4096)
            elif fd in self._plugins:
                self._receive(fd)
            else:
                self._watch.report_death(fd, time.monotonic())
        _reap_children()
        return came

    def _accept(self) -> bool:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return False
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        plugin = identify(int.from_bytes(credentials[:4], sys.byteorder))
        if plugin is None:  # it has come, and ended already
            connection.close()
            return True
        connection.setblocking(False)
        self._plugins[connection.fileno()] = (connection, plugin)
        return True

    def _receive(self, fd: int) -> None:
        connection, plugin = self._plugins[fd]
        fds: list[int] = []
        try:
            data, fds, _, _ = socket.recv_fds(
                connection, MAX_MESSAGE_BYTES, 1, socket.MSG_CMSG_CLOEXEC
            )
            if not data:
                self._close(fd)
                return
            request = decode(SpawnRequest, data)
            if len(fds) != 1:
                raise MessageError("a request brings exactly one descriptor")
            self._spawn(connection, plugin, request, fds[0])
        except (MessageError, OSError) as error:
            LOGGER.warning("drops the connection of plugin %d: %s", plugin.pid, error)
            self._close(fd)
        finally:
            for received in fds:
                os.close(received)

    def _close(self, fd: int) -> None:
        connection, _ = self._plugins.pop(fd)
        connection.close()

    def _spawn(
        self, connection: socket.socket, plugin: ProcessId, request: SpawnRequest, control_fd: int
    ) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            connection.send(encode(SpawnReply(error=f"fork: {error.strerror}")))
            return
        if pid == 0:
            self._become_executor(request, plugin, control_fd)
        pidfd = os.pidfd_open(pid)
        executor = identify(pid)
        assert executor is not None, "an unreaped child has an entry in /proc"
        run = self._state.run_of(
            task_id=request.task_id, alloc_id=request.alloc_id, task_name=request.task_name
        )
        self._watch.add(pidfd, Watched(run, executor, plugin))
        reply = SpawnReply(executor.pid, executor.start_ticks, executor.boot_id)
        socket.send_fds(connection, [encode(reply)], [pidfd])

    def _become_executor(self, request: SpawnRequest, plugin: ProcessId, control_fd: int) -> None:
        """In the fork: keep the control socket and the log, forget everything else, run, leave by
        `os._exit`."""
        status = 70
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            close_all_except({0, 1, 2, control_fd})
            os.setsid()
            self._run_executor(self._state, request, plugin, control_fd)
            status = 0
        except BaseException:  # noqa: ASYNC103 - a fork: it never returns
            LOGGER.exception("executor of task %s failed", request.task_id)
        finally:
            os._exit(status)


def _reap_children() -> None:
    """Forget children that have ended; their pidfds tell the watch."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
