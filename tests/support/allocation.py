"""What Nomad's client makes for a task before it asks the driver: directories, log pipes and their
readers.

Source: nomad-protocol §7, Appendix B.2.
"""

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import trio

from .waiting import LIMIT_S

TASK_DIRECTORIES = ("local", "secrets", "private", "tmp")


def make_directories(alloc_dir: Path, task_name: str) -> None:
    """Lay out `alloc_dir`; again for another task of it."""
    alloc_dir.mkdir(parents=True, exist_ok=True)
    below = [
        "alloc/data",
        "alloc/logs",
        "alloc/tmp",
        *(f"{task_name}/{n}" for n in TASK_DIRECTORIES),
    ]
    for path in [alloc_dir / name for name in below]:
        path.mkdir(parents=True, exist_ok=True)
        # Nomad's are the task's to write, whoever it runs as.
        path.chmod(0o777)
        path.parent.chmod(0o777)


class Log:
    """One log pipe, read as Nomad's collector reads it: until the end of the file, once."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd
        self._data = bytearray()
        self._changed = trio.Event()
        self._at_end = False

    @property
    def text(self) -> str:
        """What has come so far."""
        return self._data.decode(errors="replace")

    async def wait_for(self, wanted: str) -> str:
        """Wait until `wanted` has come; all that has.

        Raises:
            AssertionError: the pipe ended without it, or it did not come in time.
        """
        await self._wait(lambda: wanted in self.text, wanted)
        return self.text

    async def wait_end(self) -> str:
        """Wait until the last writer is gone; all that came.

        Raises:
            AssertionError: not in time.
        """
        await self._wait(lambda: self._at_end, "the end of the file")
        return self.text

    async def _wait(self, condition: Callable[[], bool], wanted: str) -> None:
        with trio.move_on_after(LIMIT_S):
            while not condition():
                assert not self._at_end, f"{self.path} ended without {wanted!r}: {self.text!r}"
                await self._changed.wait()
            return
        raise AssertionError(f"no {wanted!r} on {self.path} within {LIMIT_S:g} s: {self.text!r}")

    async def read_to_end(self) -> None:
        """Collect until the last writer is gone, or cancelled."""
        data = b"-"
        while data:
            await trio.lowlevel.wait_readable(self._fd)
            data = os.read(self._fd, 65536)
            self._data += data
            self._at_end = not data
            self._changed.set()
            self._changed = trio.Event()


@contextmanager
def reading(path: Path) -> Generator[Log]:
    """The FIFO at `path`, made if it is missing, open for reading for the length of the block."""
    if not path.exists():
        os.mkfifo(path, 0o600)
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield Log(path, fd)
    finally:
        os.close(fd)
