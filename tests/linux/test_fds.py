"""Fds: closing, opening below a directory that a task owns, FIFOs."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import socket
import stat
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from trio_driver.linux import (
    NotAFifoError,
    close_all_except,
    fd_count,
    is_pipe_full,
    open_beneath,
    open_fifo_reader,
    open_fifo_writer,
    queued_bytes,
)

from .conftest import ANSWER_FD, needs_root, run_in_fork

FIFO = "logs/.web.stdout.fifo"


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    os.mkfifo(tmp_path / FIFO, 0o600)
    return tmp_path / FIFO


@pytest.fixture
def reader_fd(fifo: Path, _nothing_is_left: None) -> Generator[int]:
    fd = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    yield fd
    os.close(fd)


def test_fds_are_counted() -> None:
    before = fd_count()
    reader, writer = os.pipe()
    assert fd_count() == before + 2
    os.close(reader)
    os.close(writer)


def open_numbers() -> list[int]:
    listed = [int(name) for name in os.listdir("/proc/self/fd")]
    return sorted(fd for fd in listed if is_open(fd))


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_every_other_fd_is_closed() -> None:
    def body() -> list[int]:
        kept = os.dup(0)
        high = os.dup2(0, 700)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        close_all_except({0, ANSWER_FD, kept, 9999})
        assert not is_open(high), "an fd above the limit is left"
        return [fd for fd in open_numbers() if fd not in (0, ANSWER_FD, kept)]

    assert run_in_fork(body) == "[]"


def fill_fd_table() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    with contextlib.suppress(OSError):
        while True:
            os.dup(0)


def test_fds_are_closed_though_the_table_is_full() -> None:
    def body() -> list[int]:
        fill_fd_table()
        close_all_except([0, 1, 2, ANSWER_FD])
        return [fd for fd in open_numbers() if fd not in (0, 1, 2, ANSWER_FD)]

    assert run_in_fork(body) == "[]"


def test_a_full_table_of_fds_to_keep_is_an_error_not_a_loop() -> None:
    def body() -> int | None:
        fill_fd_table()
        try:
            close_all_except(range(64))
        except OSError as error:
            return error.errno
        return None

    assert run_in_fork(body) == str(errno.EMFILE)


def test_a_file_beneath_is_opened_close_on_exec(tmp_path: Path, dir_fd: int) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_text("text")
    for path in ("a/b/file", "./a//b/./file"):
        fd = open_beneath(dir_fd, path, os.O_RDONLY)
        try:
            assert os.read(fd, 10) == b"text"
            assert not os.get_inheritable(fd)
        finally:
            os.close(fd)


def test_a_file_beneath_is_created_with_its_mode(tmp_path: Path, dir_fd: int) -> None:
    os.close(open_beneath(dir_fd, "new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode=0o640))
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


@pytest.mark.parametrize("path", ["", "/", "/etc/passwd", "..", "a/../b", "a/..", ".", "./."])
def test_what_is_not_beneath_is_refused(dir_fd: int, path: str) -> None:
    with pytest.raises(ValueError, match="not a path below"):
        open_beneath(dir_fd, path, os.O_RDONLY)


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_PATH, os.O_WRONLY | os.O_CREAT])
def test_a_link_is_never_followed(tmp_path: Path, dir_fd: int, flags: int) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/file").write_text("precious")
    (tmp_path / "dir").symlink_to("real")
    (tmp_path / "file").symlink_to("real/file")
    (tmp_path / "dangling").symlink_to("real/made")
    with pytest.raises(NotADirectoryError, match="dir/file"):
        open_beneath(dir_fd, "dir/file", flags)
    for name in ("file", "dangling"):
        with pytest.raises(OSError, match=name) as caught:
            open_beneath(dir_fd, name, flags)
        assert caught.value.errno == errno.ELOOP
    assert os.listdir(tmp_path / "real") == ["file"]


def test_no_fd_is_left_by_a_failed_walk(tmp_path: Path, dir_fd: int) -> None:
    (tmp_path / "a/b/c").mkdir(parents=True)
    before = fd_count()
    with pytest.raises(FileNotFoundError, match="a/b/c/d/e"):
        open_beneath(dir_fd, "a/b/c/d/e", os.O_RDONLY)
    assert fd_count() == before


def test_a_fifo_without_a_reader_is_not_there_yet(fifo: Path, dir_fd: int) -> None:
    assert open_fifo_writer(dir_fd, FIFO) is None


def test_the_writer_of_a_fifo_blocks_and_keeps_to_itself(dir_fd: int, reader_fd: int) -> None:
    writer = open_fifo_writer(dir_fd, FIFO)
    assert writer is not None
    try:
        assert os.get_blocking(writer)
        assert not os.get_inheritable(writer)
        assert fcntl.fcntl(writer, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
        os.write(writer, b"hello")
        assert os.read(reader_fd, 10) == b"hello"
    finally:
        os.close(writer)


def test_a_spare_reader_is_of_the_same_fifo_though_its_name_is_another_now(
    fifo: Path, dir_fd: int, reader_fd: int
) -> None:
    writer = open_fifo_writer(dir_fd, FIFO)
    assert writer is not None
    fifo.unlink()
    fifo.write_text("planted")
    spare = open_fifo_reader(writer)
    try:
        assert os.fstat(spare).st_ino == os.fstat(writer).st_ino
        assert not os.get_inheritable(spare)
        assert not os.get_blocking(spare)
        # And it takes nothing away from the real reader.
        os.write(writer, b"x")
        assert os.read(reader_fd, 10) == b"x"
    finally:
        os.close(spare)
        os.close(writer)


def test_a_full_pipe_is_seen_and_its_bytes_are_counted(dir_fd: int, reader_fd: int) -> None:
    writer = open_fifo_writer(dir_fd, FIFO)
    assert writer is not None
    try:
        capacity = fcntl.fcntl(writer, 1032)  # F_GETPIPE_SZ
        assert (queued_bytes(writer), is_pipe_full(writer)) == (0, False)
        os.write(writer, b"x" * capacity)
        assert (queued_bytes(writer), is_pipe_full(writer)) == (capacity, True)
        assert queued_bytes(reader_fd) == capacity
        os.read(reader_fd, capacity)
        assert (queued_bytes(writer), is_pipe_full(writer)) == (0, False)
    finally:
        os.close(writer)


def plant_file(path: Path) -> None:
    path.write_text("precious")


def plant_link_to_file(path: Path) -> None:
    plant_file(path.with_name("target"))
    path.symlink_to("target")


def plant_link_to_fifo(path: Path) -> None:
    os.mkfifo(path.with_name("other.fifo"))
    path.symlink_to("other.fifo")


def plant_directory(path: Path) -> None:
    path.mkdir()


def plant_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(path))


def plant_link_to_device(path: Path) -> None:
    path.symlink_to("/dev/null")


@pytest.mark.parametrize(
    "plant",
    [
        plant_file,
        plant_link_to_file,
        plant_link_to_fifo,
        plant_directory,
        plant_socket,
        plant_link_to_device,
    ],
)
def test_what_a_task_plants_instead_of_the_fifo_is_never_opened(
    fifo: Path, dir_fd: int, plant: object
) -> None:
    fifo.unlink()
    assert callable(plant)
    plant(fifo)
    with pytest.raises(OSError, match=r"\.web\.stdout\.fifo") as caught:
        open_fifo_writer(dir_fd, FIFO)
    assert isinstance(caught.value, NotAFifoError) or caught.value.errno == errno.ELOOP


@needs_root
def test_a_planted_device_is_never_opened(fifo: Path, dir_fd: int) -> None:
    fifo.unlink()
    # A device that nobody has: opening it would say ENXIO, as a FIFO without a reader does.
    os.mknod(fifo, 0o600 | stat.S_IFCHR, os.makedev(241, 99))
    with pytest.raises(NotAFifoError):
        open_fifo_writer(dir_fd, FIFO)


def test_a_directory_swapped_for_a_link_is_refused(tmp_path: Path, fifo: Path, dir_fd: int) -> None:
    (tmp_path / "logs").rename(tmp_path / "stolen")
    (tmp_path / "logs").symlink_to("stolen")
    with pytest.raises(NotADirectoryError):
        open_fifo_writer(dir_fd, FIFO)


def test_a_missing_fifo_is_an_error(fifo: Path, dir_fd: int) -> None:
    fifo.unlink()
    with pytest.raises(FileNotFoundError, match=r"\.web\.stdout\.fifo"):
        open_fifo_writer(dir_fd, FIFO)


def test_swapping_the_fifo_again_and_again_never_opens_anything_else(
    tmp_path: Path, fifo: Path, dir_fd: int, reader_fd: int
) -> None:
    """The kernel gives atomic swaps, so the names below always lead somewhere."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    link, second_name, stop = tmp_path / "link", tmp_path / "second name", threading.Event()
    os.link(fifo, second_name)

    def swap() -> None:
        while not stop.is_set():
            link.symlink_to(precious)
            os.rename(link, fifo)
            os.link(second_name, link)
            os.rename(link, fifo)

    swapper = threading.Thread(target=swap)
    swapper.start()
    opened = refused = 0
    try:
        while opened < 20 or refused < 20:
            try:
                writer = open_fifo_writer(dir_fd, FIFO)
            except OSError as error:
                refused += error.errno == errno.ELOOP
            else:
                assert writer is not None
                assert os.path.samestat(os.fstat(writer), os.fstat(reader_fd))
                os.close(writer)
                opened += 1
    finally:
        stop.set()
        swapper.join()
    assert precious.read_text() == "precious"
