"""Waiting until the kernel has run out of memory in a cgroup."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
import trio

from trio_driver.linux import cgroup, fd_count

from .conftest import LIMIT_S, StartChild, wait_until

pytestmark = pytest.mark.cgroup

EAT = """
import sys
sys.stdin.readline()
data = [bytearray(1 << 20) for _ in range(200)]
"""


@pytest.fixture
def limited() -> Generator[Path]:
    """A cgroup of this test alone that may have 16 MiB."""
    mounts = cgroup.find_mounts()
    root, file = mounts.v1.get("memory"), "memory.limit_in_bytes"
    if root is None and mounts.unified is not None:
        root, file = mounts.unified, "memory.max"
        if "memory" not in cgroup.read(root / "cgroup.subtree_control").split():
            pytest.skip("the root enables no memory controller")
    if root is None or not os.access(root, os.W_OK):
        pytest.skip("no memory controller that we may use")
    path = root / f"trio-driver-test-oom-{os.getpid()}"
    assert cgroup.make(path)
    try:
        cgroup.write(path / file, str(16 << 20))
        yield path
    finally:
        cgroup.kill(path)
        wait_until(lambda: cgroup.remove_tree(path), f"{path} is removed")


async def test_running_out_of_memory_is_noticed(limited: Path, start_child: StartChild) -> None:
    child = start_child(EAT)
    cgroup.join(limited, pid=child.pid)
    with cgroup.watch_oom(limited) as events:
        assert events is not None
        with trio.move_on_after(0.05) as waiting:
            await events.wait()
        assert waiting.cancelled_caught
        child.write_line("go")
        with trio.fail_after(LIMIT_S):
            await events.wait()
        events.acknowledge()
        assert child.process.wait(LIMIT_S) == -signal.SIGKILL
    assert cgroup.oom_kill_count(limited) == 1


async def test_a_cgroup_that_counts_no_memory_is_not_watched(v1_dir: Path) -> None:
    before = fd_count()
    with cgroup.watch_oom(v1_dir) as events:
        assert events is None
    assert fd_count() == before


async def test_a_watch_leaves_no_descriptor(limited: Path) -> None:
    before = fd_count()
    with cgroup.watch_oom(limited) as events:
        assert events is not None
    assert fd_count() == before
