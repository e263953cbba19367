"""Processes: who waits for them, who dies with whom, and who gets away."""

import os
import signal
import subprocess
from pathlib import Path

import trio

from trio_driver.linux import children_of
from trio_driver.testing.checkpoints import Fault
from trio_driver.testing.gallery.exhibit import Exhibit


async def broken_owner_is_killed(directory: Path) -> None:
    """SIGKILL of the owner, and the workload lives.

    Every `finally` of a program is worth nothing when the program is killed. Its child goes to init,
    and runs on for ever: the executor that survived its driver.
    """
    process = subprocess.Popen(["sleep", "1000"])  # noqa: ASYNC220
    try:
        await trio.lowlevel.checkpoint()
    finally:
        process.kill()
        process.wait()


async def sound_owner_is_killed(directory: Path) -> None:
    """The kernel holds the two together: the child lives as long as a pipe's other end is open."""
    lease, kept = os.pipe()
    process = subprocess.Popen(  # noqa: ASYNC220
        # Two processes: what watches the pipe, and the workload that it takes along.
        ["/bin/sh", "-c", "sleep 1000 & read end_of_lease; kill -9 $!"],
        stdin=lease,
        start_new_session=True,
    )
    os.close(lease)
    try:
        await trio.lowlevel.checkpoint()
    finally:
        os.close(kept)
        process.wait()


async def broken_group_kill(directory: Path) -> None:
    """A process group is killed, and who has left it is not.

    `setsid` is all that it takes: a daemon does it, and a hostile task does. Groups and sessions are
    for terminals; they hold nobody.
    """
    process = _with_daemon()
    try:
        await _daemon_runs(process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _close(process)


async def sound_group_kill(directory: Path) -> None:
    """Whoever is below is killed, again until there is nobody: this process adopts them (a cgroup is
    the stronger way)."""
    process = _with_daemon()
    try:
        await _daemon_runs(process)
    finally:
        process.kill()
        process.wait()
        _kill_children()
        _close(process)


def _with_daemon() -> "subprocess.Popen[bytes]":
    """A shell and a child that leaves its session, and then says so."""
    script = "setsid sh -c 'echo; exec sleep 1000 >/dev/null' & wait"
    return subprocess.Popen(
        ["/bin/sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True
    )


def _close(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdout is not None
    process.stdout.close()


async def _daemon_runs(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdout is not None
    await trio.lowlevel.wait_readable(process.stdout.fileno())


def _kill_children() -> None:
    while pids := children_of(os.getpid()):
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


async def broken_zombie(directory: Path) -> None:
    """Killed, and not waited for.

    A dead process keeps its pid and its place in the table until its parent asks how it ended. An
    agent that runs for a year runs out of pids.
    """
    process = subprocess.Popen(["sleep", "1000"])  # noqa: ASYNC220
    process.kill()
    await trio.lowlevel.checkpoint()
    _forgotten.append(process)


_forgotten: list["subprocess.Popen[bytes]"] = []


async def sound_zombie(directory: Path) -> None:
    """Waited for, before anything can come between."""
    process = subprocess.Popen(["sleep", "1000"])  # noqa: ASYNC220
    process.kill()
    process.wait()
    await trio.lowlevel.checkpoint()


async def broken_pipe_of_a_grandchild(directory: Path) -> None:
    """Reading until the end of the file, and a grandchild has the other end.

    The command has ended, and said all that it had to say. What it left in the background inherited
    its stdout, so the reader waits for a daemon that will never write.
    """
    done = await trio.run_process(["/bin/sh", "-c", "sleep 1000 & echo done"], capture_stdout=True)
    (directory / "output").write_bytes(done.stdout)


async def sound_pipe_of_a_grandchild(directory: Path) -> None:
    """The end of the command is the end of the reading; what it left is ended."""
    process = subprocess.Popen(  # noqa: ASYNC220
        ["/bin/sh", "-c", "sleep 1000 & echo done"], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    with process.stdout:
        try:
            (directory / "output").write_bytes(process.stdout.readline())
            await trio.lowlevel.checkpoint()
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


EXHIBITS = (
    Exhibit(broken=broken_owner_is_killed, sound=sound_owner_is_killed, fault=Fault.KILL),
    Exhibit(broken=broken_group_kill, sound=sound_group_kill, fault=Fault.RAISE),
    Exhibit(broken=broken_zombie, sound=sound_zombie, fault=Fault.RAISE),
    Exhibit(
        broken=broken_pipe_of_a_grandchild,
        sound=sound_pipe_of_a_grandchild,
        fault=Fault.RAISE,
    ),
)
