"""A gate for scripts: `read go < "$GO"` waits until the test opens it."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Gate:
    """A FIFO that the test holds open at both ends, so that neither side waits for the other to open it."""

    path: Path
    _fd: int

    def let_one_through(self) -> None:
        """Each call is for one `read`, now or later."""
        os.write(self._fd, b"go\n")


@contextmanager
def open_gate(path: Path) -> Generator[Gate]:
    """A closed gate at `path`, for any user's script."""
    os.mkfifo(path)
    path.chmod(0o666)
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield Gate(path, fd)
    finally:
        os.close(fd)
