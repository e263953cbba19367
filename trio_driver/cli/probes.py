"""What this host's kernel does for us, each thing tried once with the functions that executors use.

Rules:
- A probe is called in a process of its own. It leaves nothing: what it forks it kills and reaps, what
  it makes it removes.
- One that fails raises an OSError, or says what it saw instead.

Must not know: how guarantees are shown.
"""

import contextlib
import os
import select
import signal
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from trio_driver.linux import (
    has_ended,
    identify,
    namespaces,
    open_fifo_writer,
    open_pidfd,
    parent_of,
    set_child_subreaper,
    set_parent_death_signal,
    signal_pidfd,
)
from trio_driver.spawner import enter_home, leave_home
from trio_driver.state import Fence, fence_owner

LIMIT_MS = 10_000
"""For what the kernel does at once."""


class ProbeError(Exception):
    """The kernel did something else; the text says what."""


def _require(condition: object, text: str) -> None:
    if not condition:
        raise ProbeError(text)


def _wait_for_ever() -> NoReturn:
    while True:
        signal.pause()


@contextmanager
def _forked(body: Callable[[], object]) -> Generator[int]:
    """A child that has done `body`, and waits; killed and reaped when the block is left."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            body()
            os.write(writer, b"1")
            os.close(writer)
            _wait_for_ever()
        finally:
            os._exit(1)
    os.close(writer)
    try:
        is_ready = os.read(reader, 1)
        _require(is_ready, "a child could not do its part")
        yield pid
    finally:
        os.close(reader)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _wait_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(LIMIT_MS))


def pidfd() -> str:
    """A process is held, signalled and waited for by descriptor."""
    with _forked(lambda: None) as pid:
        process = identify(pid)
        assert process is not None, "an unreaped child has an entry in /proc"
        fd = open_pidfd(process)
        try:
            _require(not has_ended(fd), "a living process counted as ended")
            signal_pidfd(fd, signal.SIGKILL)
            _require(_wait_ended(fd), "the end of a process was not told")
        finally:
            os.close(fd)
    return "a child was killed, and seen to end, through its pidfd"


def subreaper() -> str:
    """An orphan becomes the child of the process that is to reap it."""
    set_child_subreaper()
    reader, writer = os.pipe()
    middle = os.fork()
    if middle == 0:
        orphan = os.fork()
        if orphan == 0:
            _wait_for_ever()
        os.write(writer, str(orphan).encode())
        os._exit(0)
    orphan = int(os.read(reader, 32))
    os.waitpid(middle, 0)
    parent = parent_of(orphan)
    os.kill(orphan, signal.SIGKILL)
    _require(parent == os.getpid(), f"an orphan became the child of pid {parent}")
    os.waitpid(orphan, 0)
    return "an orphan became the child of its subreaper"


def parent_death() -> str:
    """A process gets a signal when the one that forked it ends."""
    set_child_subreaper()
    reader, writer = os.pipe()

    def fork_again() -> None:
        child = os.fork()
        if child == 0:
            set_parent_death_signal(signal.SIGKILL)
            os.write(writer, str(os.getpid()).encode())
            _wait_for_ever()

    with _forked(fork_again) as executor:
        child = int(os.read(reader, 32))
        fd = os.pidfd_open(child)
        try:
            os.kill(executor, signal.SIGKILL)
            is_dead = _wait_ended(fd)
        finally:
            os.close(fd)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    _require(is_dead, "a child outlived the process that forked it")
    return "a child was killed by the kernel when its parent was"


def locks(directory: Path) -> str:
    """A lock names its owner and ends with it, on the file system that has the state directory."""
    handle, name = tempfile.mkstemp(prefix=".trio-driver-", dir=directory)
    os.close(handle)
    path = Path(name)
    try:
        with _forked(lambda: Fence.try_take(path)) as pid:
            owner = fence_owner(path)
            _require(owner == pid, f"a lock held by pid {pid} was said to be of {owner}")
        _require(fence_owner(path) is None, "a lock outlived its owner")
    finally:
        path.unlink(missing_ok=True)
    return f"a lock in {directory} named its owner, and ended with it"


def log_pipes() -> str:
    """A log pipe is opened without waiting for a reader, and no link is followed to it."""
    with tempfile.TemporaryDirectory(prefix="trio-driver-") as name:
        os.mkfifo(f"{name}/pipe")
        os.symlink("pipe", f"{name}/link")
        directory = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _require(
                open_fifo_writer(directory, "pipe") is None, "a pipe without reader was opened"
            )
            reader = os.open(f"{name}/pipe", os.O_RDONLY | os.O_NONBLOCK)
            writer = open_fifo_writer(directory, "pipe")
            _require(writer is not None, "a pipe with a reader was not opened")
            os.close(writer or -1)
            os.close(reader)
            with contextlib.suppress(OSError):
                open_fifo_writer(directory, "link")
                raise ProbeError("a link to a pipe was followed")
        finally:
            os.close(directory)
    return "a pipe was opened with and without a reader, a link to it was refused"


def home() -> list[str]:
    """Spawner and executors live in cgroups outside the agent's; those that could be entered."""
    entered = enter_home()
    leave_home(entered)
    return [str(path) for path in entered]


def pid_namespace() -> str:
    """A task can have process numbers of its own, so that the kernel ends all with the first."""
    namespaces.leave_namespaces(namespaces.CLONE_NEWPID)
    first = os.fork()
    if first == 0:
        os._exit(0 if os.getpid() == 1 else 1)
    _require(os.waitpid(first, 0)[1] == 0, "the first process of a namespace is not number 1")
    return "a process was number 1 in a namespace of its own"


def net_namespace() -> str:
    """A task can run in a network namespace."""
    namespaces.leave_namespaces(namespaces.CLONE_NEWNET)
    return "a process was in a network namespace of its own"
