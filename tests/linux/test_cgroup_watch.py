"""Waiting until a cgroup is empty, with Trio and without."""

from __future__ import annotations

import select
from pathlib import Path

import pytest
import trio
import trio.testing

from trio_driver.linux import cgroup, cgroup_watch, fd_count

from .conftest import LIMIT_S, SLEEPER, StartChild, join, wait_until

pytestmark = pytest.mark.cgroup


async def test_the_wait_ends_when_the_last_one_has_ended(
    cgroup_dir: Path, start_child: StartChild
) -> None:
    cgroup.make(cgroup_dir / "a")
    children = [start_child(SLEEPER) for _ in range(3)]
    for child, path in zip(children, [cgroup_dir, cgroup_dir / "a", cgroup_dir], strict=True):
        cgroup.join(path, pid=child.pid)
    ended = False

    async def wait() -> None:
        nonlocal ended
        await watcher.wait_empty()
        ended = True

    with cgroup.watch(cgroup_dir) as watcher:
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.deadline = trio.current_time() + LIMIT_S
            nursery.start_soon(wait)
            for child in children:
                await trio.testing.wait_all_tasks_blocked()
                assert not ended
                assert watcher.is_populated()
                child.process.kill()
                await trio.to_thread.run_sync(child.process.wait)
        assert ended
        assert not watcher.is_populated()


async def test_a_wait_for_what_is_empty_or_gone_does_not_wait(cgroup_dir: Path) -> None:
    with trio.fail_after(LIMIT_S):
        for path in (cgroup_dir, cgroup_dir / "gone"):
            with cgroup.watch(path) as watcher:
                await watcher.wait_empty()


async def test_a_wait_ends_though_the_cgroup_is_removed_meanwhile(
    cgroup_dir: Path, start_child: StartChild
) -> None:
    below = cgroup_dir / "below"
    cgroup.make(below)
    child = start_child(SLEEPER)
    cgroup.join(below, pid=child.pid)
    with cgroup.watch(below) as watcher, trio.fail_after(LIMIT_S):
        assert watcher.is_populated()
        child.end()
        wait_until(lambda: cgroup.remove_tree(below), "it is removed")
        await watcher.wait_empty()
        assert not watcher.is_populated()


async def test_a_cancelled_wait_can_be_repeated(cgroup_dir: Path, start_child: StartChild) -> None:
    child = start_child(SLEEPER)
    cgroup.join(cgroup_dir, pid=child.pid)
    with cgroup.watch(cgroup_dir) as watcher:
        with trio.CancelScope() as scope:
            scope.cancel()
            await watcher.wait_empty()
        assert scope.cancelled_caught
        child.process.kill()
        with trio.fail_after(LIMIT_S):
            await watcher.wait_empty()


def test_a_poll_loop_can_wait_too(cgroup_dir: Path, start_child: StartChild) -> None:
    children = [start_child(SLEEPER) for _ in range(2)]
    for child in children:
        cgroup.join(cgroup_dir, pid=child.pid)
    with cgroup.watch(cgroup_dir) as watcher:
        poll = select.poll()
        poll.register(watcher.fileno(), select.POLLIN)
        assert watcher.is_populated()
        assert poll.poll(0) == []
        for child in children:
            child.process.kill()
        while watcher.is_populated():
            assert poll.poll(LIMIT_S * 1000)


def test_a_change_between_look_and_wait_is_not_lost(
    cgroup_dir: Path, start_child: StartChild
) -> None:
    child = start_child(SLEEPER)
    cgroup.join(cgroup_dir, pid=child.pid)
    with cgroup.watch(cgroup_dir) as watcher:
        assert watcher.is_populated()
        child.end()
        ready, _, _ = select.select([watcher], [], [], LIMIT_S)
        assert ready
        while watcher.is_populated():
            ready, _, _ = select.select([watcher], [], [], LIMIT_S)
            assert ready


def test_a_cgroup_can_fill_and_empty_again(cgroup_dir: Path, start_child: StartChild) -> None:
    with cgroup.watch(cgroup_dir) as watcher:
        for _ in range(2):
            assert not watcher.is_populated()
            child = start_child(SLEEPER)
            cgroup.join(cgroup_dir, pid=child.pid)
            assert watcher.is_populated()
            child.end()
            while watcher.is_populated():
                ready, _, _ = select.select([watcher], [], [], LIMIT_S)
                assert ready


def test_leaving_the_block_closes_every_fd(cgroup_dir: Path, start_child: StartChild) -> None:
    join(start_child, cgroup_dir)
    before = fd_count()
    with cgroup.watch(cgroup_dir) as watcher:
        for _ in range(20):
            assert watcher.is_populated()
        assert fd_count() <= before + 2
    assert fd_count() == before


def test_members_that_vanish_before_they_can_be_watched_do_not_stop_the_wait(
    v1_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup_watch, "procs", lambda *_, **__: [2**22 + 1])  # pyright: ignore
    with cgroup.watch(v1_dir) as watcher:
        assert watcher.is_populated()
        ready, _, _ = select.select([watcher], [], [], 0)
        assert ready, "nothing to wait for: it is worth looking again at once"
        monkeypatch.undo()
        assert not watcher.is_populated()
