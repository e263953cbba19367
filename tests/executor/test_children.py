"""The one place that reaps: our own by their exit, strangers that became ours too."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator

import pytest
import trio

from trio_driver.executor.children import Children
from trio_driver.linux import children_of
from trio_driver.model import Exited, Signaled, TaskExit

SCRIPT = """
import os, signal, sys, trio
from trio_driver.executor.children import Children
from trio_driver.linux import children_of, set_child_subreaper

set_child_subreaper()
children = Children()

def fork(body):
    if (pid := os.fork()) == 0:
        try:
            body()
        finally:
            os._exit(0)
    return pid

def orphan():
    if os.fork() == 0:
        signal.pause()

async def main():
    async with trio.open_nursery() as nursery:
        await nursery.start(children.reap_until_cancelled)
        own = children.register(fork(signal.pause))
        fork(orphan)                                  # its child becomes ours
        with trio.fail_after(20):
            while len(children_of(os.getpid())) != 2:  # the orphan and our own
                await trio.sleep(0.001)
            while children.kill_all_nowait():
                await trio.sleep(0.001)
            await own.ended.wait()
        print(own.task_exit, children_of(os.getpid()))
        nursery.cancel_scope.cancel()

trio.run(main)
"""


@pytest.fixture
async def children(nursery: trio.Nursery) -> AsyncGenerator[Children]:
    """Reaps for the length of the test: this process has no other children."""
    assert children_of(os.getpid()) == []
    children = Children()
    await nursery.start(children.reap_until_cancelled)
    yield children
    assert children_of(os.getpid()) == []


def fork(code: int | None) -> int:
    """A child that exits with `code`, or waits."""
    if (pid := os.fork()) == 0:
        try:
            if code is None:
                signal.pause()
        finally:
            os._exit(code or 0)
    return pid


@pytest.mark.parametrize("code", [0, 3, 255])
async def test_an_exit_is_told_with_its_code(children: Children, code: int) -> None:
    child_exit = children.register(fork(code))
    with trio.fail_after(10):
        await child_exit.ended.wait()
    assert child_exit.task_exit == Exited(code)


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
async def test_a_death_by_signal_is_told_with_its_number(
    children: Children, signum: signal.Signals
) -> None:
    pid = fork(None)
    child_exit = children.register(pid)
    assert child_exit.task_exit is None
    assert children.is_unreaped(pid)
    os.kill(pid, signum)
    with trio.fail_after(10):
        await child_exit.ended.wait()
    expected: TaskExit = Signaled(int(signum))
    assert child_exit.task_exit == expected
    assert not children.is_unreaped(pid)


async def test_a_stranger_is_reaped_too(children: Children) -> None:
    fork(0)
    registered = children.register(fork(0))
    with trio.fail_after(10):
        await registered.ended.wait()
    while children.reap_nowait():
        os.sched_yield()


async def test_every_child_is_killed_registered_or_not(children: Children) -> None:
    own, stranger = fork(None), fork(None)
    child_exit = children.register(own)
    with trio.fail_after(10):
        while children.kill_all_nowait():
            await trio.sleep(0.001)
        await child_exit.ended.wait()
    assert child_exit.task_exit == Signaled(9)
    assert stranger not in children_of(os.getpid())


async def test_no_children_is_nothing_to_do(children: Children) -> None:
    assert not children.reap_nowait()
    assert not children.kill_all_nowait()


def test_an_orphan_of_a_child_is_found_and_killed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert done.stdout == "Signaled(signum=9) []\n"
