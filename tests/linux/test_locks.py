"""Record locks between real processes."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
from collections.abc import Generator
from pathlib import Path

import pytest

from trio_driver.linux import ForeignLockError, children_of, lock_owner, locks, try_lock

from .conftest import (
    SUPERVISED,
    StartChild,
    needs_root,
    run_in_fork,
    unshare_pid_namespace,
    wait_until,
)

HOLDER = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.lockf(fd, fcntl.LOCK_EX)
print('locked', flush=True)
sys.stdin.read()
"""


FORKING_HOLDER = """
fd = os.open(sys.argv[1], os.O_RDWR)
import fcntl
fcntl.lockf(fd, fcntl.LOCK_EX)
if os.fork():
    print('locked', flush=True)
sys.stdin.read()
"""


@pytest.fixture
def lock_fd(tmp_path: Path, _nothing_is_left: None) -> Generator[int]:
    fd = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def test_struct_flock_is_what_this_machine_uses() -> None:
    # Type and whence in the first four bytes, then three aligned fields: 32 bytes on 64-bit Linux.
    assert locks._FLOCK.size == 32  # pyright: ignore[reportPrivateUsage]


def test_a_free_lock_is_taken_and_taking_it_again_succeeds(lock_fd: int) -> None:
    assert lock_owner(lock_fd) is None
    assert try_lock(lock_fd)
    assert try_lock(lock_fd)
    assert lock_owner(lock_fd) is None


def test_a_held_lock_is_refused_and_names_its_owner(
    lock_fd: int, tmp_path: Path, start_child: StartChild
) -> None:
    child = start_child(HOLDER, str(tmp_path / "lock"))
    assert child.read_line() == "locked"
    assert not try_lock(lock_fd)
    assert lock_owner(lock_fd) == child.pid
    child.end()
    assert lock_owner(lock_fd) is None
    assert try_lock(lock_fd)


def test_a_forked_child_does_not_inherit_the_lock(lock_fd: int) -> None:
    assert try_lock(lock_fd)
    seen = run_in_fork(lambda: (try_lock(lock_fd), lock_owner(lock_fd)))
    assert seen == f"(False, {os.getpid()})"


def test_a_lock_dies_with_its_owner_though_a_child_keeps_the_fd(
    lock_fd: int, tmp_path: Path, start_child: StartChild
) -> None:
    child = start_child(SUPERVISED + FORKING_HOLDER, str(tmp_path / "lock"))
    owner = int(child.read_line())
    assert child.read_line() == "locked"
    assert lock_owner(lock_fd) == owner
    os.kill(owner, signal.SIGKILL)
    wait_until(lambda: try_lock(lock_fd), "the lock is free")
    assert children_of(child.pid) != []
    assert child.finish() == 0


def test_a_read_only_fd_cannot_take_the_lock(tmp_path: Path, lock_fd: int) -> None:
    fd = os.open(tmp_path / "lock", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="Bad file descriptor"):
            try_lock(fd)
    finally:
        os.close(fd)


def test_a_lock_without_an_owning_process_is_foreign(lock_fd: int, tmp_path: Path) -> None:
    # An open-file-description lock belongs to no process. Source: fcntl(2), F_OFD_SETLK is 37.
    other = os.open(tmp_path / "lock", os.O_RDWR)
    try:
        fcntl.fcntl(other, 37, struct.pack("@hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        assert not try_lock(lock_fd)
        with pytest.raises(ForeignLockError):
            lock_owner(lock_fd)
    finally:
        os.close(other)


@needs_root
def test_a_lock_held_outside_our_pid_namespace_is_foreign(
    lock_fd: int, tmp_path: Path, start_child: StartChild
) -> None:
    child = start_child(HOLDER, str(tmp_path / "lock"))
    assert child.read_line() == "locked"

    def in_new_namespace() -> int | str | None:
        try:
            return lock_owner(lock_fd)
        except ForeignLockError:
            return "foreign"

    def body() -> str:
        unshare_pid_namespace()
        return run_in_fork(in_new_namespace)

    assert run_in_fork(body) == repr("'foreign'")
