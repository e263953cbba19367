"""Identity, pidfds and the process tree, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import replace

import pytest
import trio

from trio_driver.linux import (
    ProcessId,
    boot_id,
    children_of,
    descendants_of,
    has_ended,
    identify,
    is_alive,
    open_pidfd,
    parent_of,
    process,
    signal_pidfd,
    wait_pidfd,
)

from .conftest import SLEEPER, Child, StartChild, wait_until

TREE = """
import os, sys
if (child := os.fork()) == 0:
    if (grandchild := os.fork()) == 0:
        sys.stdin.read()
        os._exit(0)
    print(os.getpid(), grandchild, flush=True)
    os.wait()
    os._exit(0)
os.wait()
"""

DEAD_LEADER = """
import ctypes, sys, threading
def serve():
    print('ready', flush=True)
    sys.stdin.read()
    import os; os._exit(0)
threading.Thread(target=serve).start()
ctypes.CDLL(None).pthread_exit(None)
"""


def started(start_child: StartChild, script: str = SLEEPER) -> tuple[Child, ProcessId]:
    child = start_child(script)
    assert child.read_line() == "ready"
    found = identify(child.pid)
    assert found is not None
    return child, found


def test_a_process_keeps_its_identity_and_no_other_has_it(start_child: StartChild) -> None:
    child, first = started(start_child)
    _, second = started(start_child)
    assert identify(child.pid) == first != second
    assert first.boot_id == boot_id()
    assert is_alive(first)


def test_identity_survives_exec_and_a_name_full_of_parentheses(start_child: StartChild) -> None:
    child = start_child(
        "import os; print('a',flush=True); os.read(0, 1);"
        "open('/proc/self/comm','w').write(') Z 1 (');"
        "print('b',flush=True); os.read(0, 1);"
        "os.execvp('cat', ['cat'])"
    )
    assert child.read_line() == "a"
    before = identify(child.pid)
    child.write_line("")
    assert child.read_line() == "b"
    assert identify(child.pid) == before
    assert parent_of(child.pid) == os.getpid()
    child.write_line("")
    child.write_line("after the exec")
    assert child.read_line() == "after the exec"
    assert identify(child.pid) == before


def test_a_pid_that_nobody_has_is_nobody() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert identify(gone.pid) is None
    assert parent_of(gone.pid) is None
    assert children_of(gone.pid) == []
    assert descendants_of(gone.pid) == []


@pytest.mark.parametrize("pid", [0, -1, 2**31, 2**64])
def test_a_number_that_cannot_be_a_pid_is_nobody(pid: int) -> None:
    assert identify(pid) is None
    with pytest.raises(ProcessLookupError):
        open_pidfd(ProcessId(pid, 1, boot_id()))


@pytest.mark.parametrize(
    "change",
    [{"start_ticks": 1}, {"boot_id": "00000000-0000-0000-0000-000000000000"}],
    ids=["another start", "another boot"],
)
def test_a_reused_pid_gives_no_pidfd(start_child: StartChild, change: dict[str, str | int]) -> None:
    _, found = started(start_child)
    stranger = replace(found, **change)  # pyright: ignore[reportArgumentType]
    assert not is_alive(stranger)
    with pytest.raises(ProcessLookupError, match=str(found.pid)):
        open_pidfd(stranger)


def test_a_pid_that_is_reused_while_it_is_opened_gives_no_pidfd(
    start_child: StartChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, stranger = started(start_child)
    before = replace(stranger, start_ticks=1)
    looks = iter([before, stranger])

    def look(_: int) -> ProcessId:
        return next(looks)

    monkeypatch.setattr(process, "identify", look)
    with pytest.raises(ProcessLookupError):
        open_pidfd(before)


def test_a_thread_id_gives_no_pidfd(start_child: StartChild) -> None:
    child = start_child(
        "import sys,threading; threading.Thread(target=lambda: (print('ready',flush=True),"
        "sys.stdin.read())).start()"
    )
    assert child.read_line() == "ready"
    threads = {int(tid) for tid in os.listdir(f"/proc/{child.pid}/task")} - {child.pid}
    found = identify(threads.pop())
    assert found is not None
    with pytest.raises(ProcessLookupError):
        open_pidfd(found)


async def test_waiting_for_a_pidfd_ends_with_the_process(start_child: StartChild) -> None:
    child, found = started(start_child)
    pidfd = open_pidfd(found)
    try:
        assert not os.get_inheritable(pidfd)
        assert not has_ended(pidfd)
        assert signal_pidfd(pidfd, signal.SIGKILL)
        with trio.fail_after(20):
            await wait_pidfd(pidfd)
        assert has_ended(pidfd)
        # A zombie: it is still somebody, but it is not alive.
        assert identify(child.pid) == found
        assert not is_alive(found)
        os.close(open_pidfd(found))
        child.end()
        assert not signal_pidfd(pidfd, signal.SIGKILL)
        assert not is_alive(found)
    finally:
        os.close(pidfd)


async def test_a_cancelled_wait_can_be_repeated(start_child: StartChild) -> None:
    child, found = started(start_child)
    pidfd = open_pidfd(found)
    try:
        with trio.CancelScope() as scope:
            scope.cancel()
            await wait_pidfd(pidfd)
        assert scope.cancelled_caught
        child.process.kill()
        with trio.fail_after(20):
            await wait_pidfd(pidfd)
    finally:
        os.close(pidfd)


def test_a_process_whose_main_thread_has_ended_is_alive(start_child: StartChild) -> None:
    child, found = started(start_child, DEAD_LEADER)
    stat = f"/proc/{child.pid}/stat"

    def is_zombie() -> bool:
        with open(stat) as file:
            return ") Z " in file.read()

    wait_until(is_zombie, "the main thread has ended")
    assert is_alive(found)
    child.process.kill()
    wait_until(lambda: not is_alive(found), "the process has ended")


def test_signalling_somebody_elses_process_is_an_error() -> None:
    if os.geteuid() == 0:
        pytest.skip("root may signal anybody")
    init = identify(1)
    assert init is not None
    pidfd = open_pidfd(init)
    try:
        with pytest.raises(PermissionError):
            signal_pidfd(pidfd, signal.SIGCONT)
    finally:
        os.close(pidfd)


def test_children_and_descendants_are_found(start_child: StartChild) -> None:
    child = start_child(TREE)
    son, grandson = map(int, child.read_line().split())
    assert children_of(child.pid) == [son]
    assert children_of(son) == [grandson]
    assert descendants_of(child.pid) == [son, grandson]
    assert child.pid in children_of(os.getpid())
    assert parent_of(grandson) == son
    assert child.finish() == 0


def test_children_forked_by_another_thread_are_found(start_child: StartChild) -> None:
    child = start_child(
        "import subprocess,sys,threading\n"
        "def serve():\n"
        "    p = subprocess.Popen(['cat'], stdin=subprocess.PIPE)\n"
        "    print(p.pid, flush=True); sys.stdin.read(); p.communicate()\n"
        "threading.Thread(target=serve).start()\n"
    )
    grandchild = int(child.read_line())
    assert children_of(child.pid) == [grandchild]
    assert child.finish() == 0


def test_children_are_found_without_the_kernels_lists(
    start_child: StartChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = start_child(TREE)
    son, grandson = map(int, child.read_line().split())
    read = process._read  # pyright: ignore[reportPrivateUsage]

    def read_without_lists(path: str) -> bytes | None:
        return None if path.endswith("/children") else read(path)

    def not_there(_: str) -> bool:
        return False

    monkeypatch.setattr(process, "_read", read_without_lists)
    monkeypatch.setattr(process.os.path, "exists", not_there)
    assert children_of(child.pid) == [son]
    assert descendants_of(child.pid) == [son, grandson]
    assert child.finish() == 0


def test_a_walk_of_descendants_is_bounded(
    start_child: StartChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = start_child(TREE)
    son, _ = map(int, child.read_line().split())
    monkeypatch.setattr(process, "DESCENDANTS_LIMIT", 1)
    assert descendants_of(child.pid) == [son]
    assert child.finish() == 0
