"""Records on disk that are whole or absent, whatever crashes.

Rules:
- A record is written under a temporary name (`TEMPORARY_SUFFIX`) in its own directory and then
  given its real one, in a single step of the kernel. What a crash can leave is a temporary file,
  never half a record.
- Directories are given as fds, names have no slash: nobody can redirect a write by renaming a
  parent.
- `durable` means: after the return it survives a power cut. It costs fsyncs; a tmpfs needs none.

It must not know what a record says.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass

TEMPORARY_SUFFIX = ".new"
"""Ends the name of a record being written. One found after its writer's death is garbage."""

_MODE = 0o600


def write_atomic(dir_fd: int, name: str, data: bytes, *, durable: bool) -> None:
    """Make `data` the record `name`; readers see the old one or the new one, the last writer wins.

    Raises:
        ValueError: `name` is not the name of a file in the directory itself.
        OSError: it could not be written; the old record still stands. If the final fsync of the
            directory fails the new one is in place but may not survive a power cut.
    """
    with prepare_record(dir_fd, name, data, durable=durable) as publish:
        publish()


@contextlib.contextmanager
def prepare_record(
    dir_fd: int, name: str, data: bytes, *, durable: bool
) -> Generator[Callable[[], None]]:
    """As `write_atomic` in two steps: all that takes time is done at once, and the record is there
    when the function that the block gets is called, by one rename. `dir_fd` must stay open.

    Leaving the block without that call leaves nothing.
    """
    with _temporary_file(dir_fd, name) as (fd, temporary):
        _write_all(fd, data)
        if durable:
            os.fsync(fd)

        def publish() -> None:
            os.rename(temporary, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
            if durable:
                os.fsync(dir_fd)

        yield publish


def write_once(dir_fd: int, name: str, data: bytes, *, durable: bool) -> bool:
    """Make `data` the record `name` unless there is one: the first writer wins. False if there was.

    Raises:
        ValueError: `name` is not the name of a file in the directory itself.
        OSError: it could not be written, or the file system has no hard links.

    Source: link(2) fails with EEXIST, rename(2) would replace.
    """
    with _temporary_file(dir_fd, name) as (fd, temporary):
        _write_all(fd, data)
        return _publish_once(dir_fd, fd, temporary, name, durable=durable)


@dataclass(frozen=True, slots=True)
class ReservedRecord:
    """A record that has its space on disk before there is anything to say: see `reserve_record`."""

    _dir_fd: int
    _name: str
    _size_bytes: int
    _fd: int
    _temporary: str

    def write_once(self, data: bytes, *, durable: bool) -> bool:
        """As the function `write_once`, without needing space or an fd. At most once.

        Raises:
            ValueError: `data` is longer than what was reserved.
            OSError: the kernel refused all the same.
        """
        if len(data) > self._size_bytes:
            reserved = f"{self._size_bytes} bytes reserved"
            raise ValueError(f"record {self._name!r} of {len(data)} bytes: {reserved}")
        _write_all(self._fd, data)
        os.ftruncate(self._fd, len(data))
        return _publish_once(self._dir_fd, self._fd, self._temporary, self._name, durable=durable)


@contextlib.contextmanager
def reserve_record(dir_fd: int, name: str, *, size_bytes: int) -> Generator[ReservedRecord]:
    """Allocate `size_bytes` on disk for record `name`, for the length of the block.

    Within it a full disk or a full fd table cannot stop the write. `dir_fd` must stay open.
    Leaving the block frees the space; a record that was written stays.

    Raises:
        ValueError: `name` is not the name of a file in the directory itself.
        OSError: no space, no fd.

    Source: posix_fallocate(3).
    """
    with _temporary_file(dir_fd, name) as (fd, temporary):
        os.posix_fallocate(fd, 0, size_bytes)
        yield ReservedRecord(dir_fd, name, size_bytes, fd, temporary)


@contextlib.contextmanager
def _temporary_file(dir_fd: int, name: str) -> Generator[tuple[int, str]]:
    """A new empty file next to the place of `name`: fd and name. Unlinked at the end."""
    if "/" in name or name in ("", ".", ".."):
        raise ValueError(f"not a file name: {name!r}")
    # os.urandom: forked processes share the state of the random module, and with it its next name.
    temporary = f".{name}.{os.urandom(6).hex()}{TEMPORARY_SUFFIX}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, flags, _MODE, dir_fd=dir_fd)
    try:
        yield fd, temporary
    finally:
        os.close(fd)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=dir_fd)


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _publish_once(dir_fd: int, fd: int, temporary: str, name: str, *, durable: bool) -> bool:
    if durable:
        os.fsync(fd)
    try:
        os.link(temporary, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd, follow_symlinks=False)
    except FileExistsError:
        return False
    if durable:
        os.fsync(dir_fd)
    return True
