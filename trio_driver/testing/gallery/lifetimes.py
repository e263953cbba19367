"""Lifetimes in one process: what was opened, and a way out on which nobody closes it."""

import os
import subprocess
import tempfile
from pathlib import Path

import trio

from trio_driver.testing.checkpoints import Fault
from trio_driver.testing.gallery.exhibit import Exhibit

REAP_LIMIT_S = 5.0


async def broken_await_in_finally(directory: Path) -> None:
    """Cleaning up waits, and waiting is cancelled.

    The process is killed in a `finally`, and then waited for. When the block was left because it was
    cancelled, every further wait in it is cancelled too, at once: nobody reaps the process, and what
    would have followed the wait never happens.
    """
    process = await trio.lowlevel.open_process(["sleep", "1000"])
    try:
        await process.wait()
    finally:
        process.kill()
        await process.wait()  # noqa: ASYNC102 - the bug


async def sound_await_in_finally(directory: Path) -> None:
    """Kill first, synchronously; then wait, shielded and bounded."""
    process = await trio.lowlevel.open_process(["sleep", "1000"])
    try:
        await trio.lowlevel.checkpoint()
    finally:
        process.kill()
        # Shield: a killed but unreaped child would stay a zombie.
        # Ends by: SIGKILL, at the latest after REAP_LIMIT_S.
        with trio.move_on_after(REAP_LIMIT_S, shield=True):
            await process.wait()


async def broken_opened_before_try(directory: Path) -> None:
    """A step between the opening and the `try` that closes.

    Between the two stands one innocent line that waits. An exception or a cancellation there leaves
    the process to nobody: it was opened, and the block that ends it has not begun.
    """
    process = await trio.lowlevel.open_process(["sleep", "1000"])
    await trio.lowlevel.checkpoint()
    try:
        await trio.lowlevel.checkpoint()
    finally:
        await _end(process)  # noqa: ASYNC102 - it has its own shield


async def sound_opened_before_try(directory: Path) -> None:
    """The next statement after the opening is the `try`."""
    process = await trio.lowlevel.open_process(["sleep", "1000"])
    try:
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
    finally:
        await _end(process)  # noqa: ASYNC102 - it has its own shield


async def _end(process: trio.Process) -> None:
    process.kill()
    # Shield: a killed but unreaped child would stay a zombie.
    # Ends by: SIGKILL, at the latest after REAP_LIMIT_S.
    with trio.move_on_after(REAP_LIMIT_S, shield=True):
        await process.wait()


async def broken_missing_kill(directory: Path) -> None:
    """StartTask of a skeleton driver: a `Kill()` for each error path, but one.

    The executor is started, then its state is stored, then the task is launched. Each step can fail,
    and each error path must call `Kill()`. The author of the second one did not, and nobody sees it
    before the disk is full. Structure is the cure, not care.
    """
    executor = subprocess.Popen(["sleep", "1000"])  # noqa: ASYNC220
    await _store_state(directory)
    try:
        await _launch(directory)
    except Exception:
        _kill(executor)
        raise
    _kill(executor)


async def sound_missing_kill(directory: Path) -> None:
    """One block that owns the executor, whatever happens in it."""
    executor = subprocess.Popen(["sleep", "1000"])  # noqa: ASYNC220
    try:
        await _store_state(directory)
        await _launch(directory)
    finally:
        _kill(executor)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


async def _store_state(directory: Path) -> None:
    await trio.lowlevel.checkpoint()


async def _launch(directory: Path) -> None:
    await trio.lowlevel.checkpoint()


async def broken_swallowed_cancellation(directory: Path) -> None:
    """`except BaseException` around a step that waits.

    It was meant for errors of the step. It takes the cancellation too: the loop goes on and works for
    somebody who has gone away.
    """
    for _ in range(3):
        try:
            await trio.lowlevel.checkpoint()
        except BaseException:  # noqa: ASYNC103 - the bug
            (directory / "went on").touch()


async def sound_swallowed_cancellation(directory: Path) -> None:
    """Only what the step may raise."""
    for _ in range(3):
        try:
            await trio.lowlevel.checkpoint()
        except OSError:
            (directory / "went on").touch()


def _went_on(directory: Path) -> str | None:
    return "it was cancelled, and went on" if (directory / "went on").exists() else None


async def broken_task_of_nobody(directory: Path) -> None:
    """Background work that is no nursery's.

    A helper is started for the whole program, because no nursery was at hand. Nothing that ends here
    ends it.
    """
    trio.lowlevel.spawn_system_task(trio.sleep_forever)
    await trio.lowlevel.checkpoint()


async def sound_task_of_nobody(directory: Path) -> None:
    """A nursery is the helper's lifetime."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


async def broken_directory_left(directory: Path) -> None:
    """A temporary directory that is removed at the end of the happy path.

    Every failed start leaves one. It takes a year to fill the disk.
    """
    made = Path(tempfile.mkdtemp(dir=directory, prefix="work-"))
    await trio.lowlevel.checkpoint()
    made.rmdir()


async def sound_directory_left(directory: Path) -> None:
    """A block."""
    with tempfile.TemporaryDirectory(dir=directory, prefix="work-"):
        await trio.lowlevel.checkpoint()


def _directory_left(directory: Path) -> str | None:
    left = [name for name in os.listdir(directory) if name.startswith("work-")]
    return f"a directory is left: {left[0]}" if left else None


async def broken_socket_left(directory: Path) -> None:
    """A socket is closed, and its name stays: the next server cannot bind, and clients hang on a file
    that nobody serves."""
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    with listener:
        await listener.bind(str(directory / "socket"))
        await trio.lowlevel.checkpoint()
        (directory / "socket").unlink()


async def sound_socket_left(directory: Path) -> None:
    """The name goes in a `finally`."""
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    with listener:
        try:
            await listener.bind(str(directory / "socket"))
            await trio.lowlevel.checkpoint()
        finally:
            (directory / "socket").unlink(missing_ok=True)


def _socket_left(directory: Path) -> str | None:
    return "its socket is left" if (directory / "socket").exists() else None


EXHIBITS = (
    Exhibit(broken=broken_await_in_finally, sound=sound_await_in_finally, fault=Fault.CANCEL),
    Exhibit(broken=broken_opened_before_try, sound=sound_opened_before_try, fault=Fault.CANCEL),
    Exhibit(broken=broken_missing_kill, sound=sound_missing_kill, fault=Fault.RAISE),
    Exhibit(
        broken=broken_swallowed_cancellation,
        sound=sound_swallowed_cancellation,
        fault=Fault.CANCEL,
        witness=_went_on,
    ),
    Exhibit(broken=broken_task_of_nobody, sound=sound_task_of_nobody, fault=Fault.CANCEL),
    Exhibit(
        broken=broken_directory_left,
        sound=sound_directory_left,
        fault=Fault.RAISE,
        witness=_directory_left,
    ),
    Exhibit(
        broken=broken_socket_left,
        sound=sound_socket_left,
        fault=Fault.CANCEL,
        witness=_socket_left,
    ),
)
