"""Real processes and cgroups for the tests of `trio_driver.linux`; nothing of them may be left."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from trio_driver.linux import cgroup, children_of, fd_count

LIMIT_S = 20.0
"""Longest that any wait of these tests takes before it fails; enough for an emulated machine."""


ANSWER_FD = 50
"""Where a child of `run_in_fork` has its end of the pipe."""


def unshare_pid_namespace() -> None:
    """Have the next child of this process be the first one of a new pid namespace. Needs root."""
    clone_newpid = 0x20000000
    if ctypes.CDLL(None, use_errno=True).unshare(clone_newpid) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


class Child:
    """A Python child process that runs `script`, which says on its stdout when it is ready."""

    def __init__(self, script: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self._unread = b""

    @property
    def pid(self) -> int:
        return self.process.pid

    def read_line(self) -> str:
        """The next line of the child's output; fails the test if there is none in time."""
        assert self.process.stdout is not None
        while b"\n" not in self._unread:
            ready, _, _ = select.select([self.process.stdout], [], [], LIMIT_S)
            assert ready, "the child says nothing"
            chunk = self.process.stdout.read(4096)
            assert chunk, "the child has ended"
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    def write_line(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode() + b"\n")

    def finish(self) -> int:
        """Close its stdin, at which it ends by itself with all that it started; its return code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(LIMIT_S)

    def end(self) -> int:
        """Kill it unless it has ended; its return code."""
        self.process.kill()
        code = self.process.wait(LIMIT_S)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        return code


StartChild = Callable[..., Child]


def join(start_child: StartChild, path: Path) -> int:
    """Pid of a new process that lives in the cgroup at `path`."""
    child = start_child(SLEEPER)
    cgroup.join(path, pid=child.pid)
    return child.pid


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Generator[None]:  # pyright: ignore[reportUnusedFunction]
    """Fail a test that leaves an fd or a child process."""
    fds, children = fd_count(), set(children_of(os.getpid()))
    yield
    assert set(children_of(os.getpid())) <= children, "a child process is left"
    assert fd_count() <= fds, "a file descriptor is left"


@pytest.fixture
def start_child(_nothing_is_left: None) -> Generator[StartChild]:
    """Start children (`Child`) that are killed and reaped at the end of the test."""
    started: list[Child] = []

    def start(script: str, *arguments: str) -> Child:
        started.append(Child(script, *arguments))
        return started[-1]

    yield start
    for child in started:
        child.end()


SUPERVISED = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(36, 1)
if pid := os.fork():
    print(pid, flush=True)
    try:
        while True:
            os.wait()
    except ChildProcessError:
        os._exit(0)
"""
"""Put before a script that leaves orphans: its first process, which outputs the pid of the second,
collects them (PR_SET_CHILD_SUBREAPER) and ends when none is left. The second runs the script."""

SLEEPER = "import sys; print('ready', flush=True); sys.stdin.read()"
"""A child that is ready and then waits for the end of its stdin."""


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Look until it is so: for what the kernel announces to nobody. Fails after `LIMIT_S`."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, f"not in {LIMIT_S} s: {what}"
        os.sched_yield()


def _cgroup_root(version: str) -> Path:
    mounts = cgroup.find_mounts()
    root = mounts.unified if version == "v2" else mounts.v1.get("freezer")
    if root is None:
        pytest.skip(f"this host has no cgroup {version} hierarchy")
    if not os.access(root, os.W_OK):
        pytest.skip(f"needs root: {root} is not writable")
    return root


def _scratch(version: str) -> Generator[Path]:
    path = _cgroup_root(version) / f"trio-driver-test-{os.getpid()}"
    assert cgroup.make(path), f"left by an earlier test: {path}"
    try:
        yield path
    finally:
        cgroup.kill(path)
        wait_until(lambda: not cgroup.is_populated(path), f"{path} is empty")
        wait_until(lambda: cgroup.remove_tree(path), f"{path} is removed")


@pytest.fixture(params=["v2", "v1"])
def cgroup_dir(request: pytest.FixtureRequest, _nothing_is_left: None) -> Generator[Path]:
    """A cgroup of this test alone: in the v2 hierarchy, and in the v1 freezer hierarchy."""
    yield from _scratch(request.param)


@pytest.fixture
def v2_dir(_nothing_is_left: None) -> Generator[Path]:
    """A v2 cgroup of this test alone."""
    yield from _scratch("v2")


@pytest.fixture
def v1_dir(_nothing_is_left: None) -> Generator[Path]:
    """A v1 cgroup, in the freezer hierarchy, of this test alone."""
    yield from _scratch("v1")


@pytest.fixture
def dir_fd(tmp_path: Path, _nothing_is_left: None) -> Generator[int]:
    """`tmp_path` as an open directory."""
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def run_in_fork(body: Callable[[], object]) -> str:
    """Run `body` in a forked child; the repr of what it returned. Its exception fails the test.

    The answer comes through `ANSWER_FD` of the child: a body that closes fds leaves that one.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        answer = "!it died"
        try:
            os.dup2(writer, ANSWER_FD)
            answer = repr(body())
        except Exception as error:
            answer = f"!{error!r}"
        finally:
            os.write(ANSWER_FD, answer.encode())
            os._exit(0)
    os.close(writer)
    try:
        answer = os.read(reader, 65536).decode()
    finally:
        os.close(reader)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert not answer.startswith("!"), answer
    return answer
