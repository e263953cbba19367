"""What is left is found and named, and what goes by itself is waited for."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from trio_driver.linux import cgroup, children_of
from trio_driver.testing import LeakError, assert_no_leaks

SOON_S = 0.05
"""For leaks that are there to stay."""


async def test_a_block_that_leaves_nothing_passes(tmp_path: Path) -> None:
    async with assert_no_leaks(tmp_path):
        (tmp_path / "file").write_text("x")
        await trio.run_process(["true"])
        await trio.to_thread.run_sync(os.getpid)
        (tmp_path / "file").unlink()


async def check_leak(text: str, leave: Callable[[], object]) -> None:
    """What `leave` leaves is found, and told with `text`."""
    with pytest.raises(LeakError, match=text):
        async with assert_no_leaks(limit_s=SOON_S):
            leave()


@contextmanager
def ended(*processes: "subprocess.Popen[bytes]") -> Generator[None]:
    """End them after the block, which may have failed."""
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def python(script: str) -> None:
    subprocess.run([sys.executable, "-c", f"import subprocess; {script}"], check=True)


async def test_a_process_is_named_with_its_command() -> None:
    left: list[subprocess.Popen[bytes]] = []
    await check_leak(
        r"process \d+ \(sleep\) sleep 1000",
        lambda: left.append(subprocess.Popen(["sleep", "1000"])),
    )
    with ended(*left):
        pass


async def test_a_zombie_that_nobody_waited_for_is_a_leak() -> None:
    left: list[subprocess.Popen[bytes]] = []
    await check_leak(r"zombie \d+ \(true\)", lambda: left.append(subprocess.Popen(["true"])))
    with ended(*left):
        pass


async def test_a_process_that_lost_its_parent_is_found() -> None:
    await check_leak(
        r"process \d+ \(sleep\) sleep 1000", lambda: python("subprocess.Popen(['sleep', '1000'])")
    )
    (orphan,) = children_of(os.getpid())
    os.kill(orphan, signal.SIGKILL)
    os.waitpid(orphan, 0)  # noqa: ASYNC222 - it is dead


async def test_an_orphan_that_ends_by_itself_is_reaped_and_no_leak() -> None:
    async with assert_no_leaks():
        python("subprocess.Popen(['sleep', '0.05'])")
    assert children_of(os.getpid()) == []


async def test_a_thread_is_named() -> None:
    go = threading.Event()
    thread = threading.Thread(target=go.wait, name="left behind")
    await check_leak("thread left behind", thread.start)
    go.set()
    thread.join()


async def test_a_trio_task_is_named() -> None:
    async with trio.open_nursery() as nursery:
        await check_leak(
            "Trio task .*sleep_forever", lambda: nursery.start_soon(trio.sleep_forever)
        )
        nursery.cancel_scope.cancel()


async def test_a_descriptor_is_named_with_what_it_is_of() -> None:
    left: list[socket.socket] = []
    await check_leak(r"descriptor \d+: socket:", lambda: left.append(socket.socket()))
    left[0].close()


async def test_a_file_below_the_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(LeakError, match=f"file {tmp_path}/left"):
        async with assert_no_leaks(tmp_path, limit_s=SOON_S):
            (tmp_path / "left").write_text("x")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
async def test_a_mount_below_the_directory_is_named(tmp_path: Path) -> None:
    point = tmp_path / "mounted"
    point.mkdir()
    try:
        with pytest.raises(LeakError, match=f"mount {point}"):
            async with assert_no_leaks(tmp_path, limit_s=SOON_S):
                subprocess.run(["mount", "-t", "tmpfs", "none", str(point)], check=True)  # noqa: ASYNC221
    finally:
        subprocess.run(["umount", str(point)], check=False)  # noqa: ASYNC221


@pytest.mark.cgroup
async def test_a_cgroup_is_named() -> None:
    mounts = cgroup.find_mounts()
    root = mounts.unified
    if root is None or not os.access(root, os.W_OK):
        pytest.skip("no cgroup may be made here")
    left = root / f"trio-driver-test-{os.getpid()}"
    with pytest.raises(LeakError, match=f"cgroup {left}"):
        async with assert_no_leaks(root, limit_s=SOON_S):
            left.mkdir()
    left.rmdir()


async def test_a_virtual_clock_does_not_cut_the_wait_short(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with assert_no_leaks():
        python("subprocess.Popen(['sleep', '0.2'])")


async def test_a_block_that_fails_by_itself_shows_that_and_nothing_else() -> None:
    left: list[socket.socket] = []

    def fail() -> None:
        left.append(socket.socket())
        raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        async with assert_no_leaks(limit_s=SOON_S):
            fail()
    left[0].close()
