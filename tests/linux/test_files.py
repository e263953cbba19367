"""Records: whole or absent, first or last writer."""

from __future__ import annotations

import errno
import os
import resource
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from trio_driver.linux import (
    TEMPORARY_SUFFIX,
    files,
    prepare_record,
    reserve_record,
    write_atomic,
    write_once,
)

DURABLE = pytest.mark.parametrize("durable", [True, False], ids=["durable", "not durable"])


@DURABLE
def test_the_last_atomic_write_is_the_record(tmp_path: Path, dir_fd: int, durable: bool) -> None:
    write_atomic(dir_fd, "record", b"first", durable=durable)
    write_atomic(dir_fd, "record", b"second", durable=durable)
    assert (tmp_path / "record").read_bytes() == b"second"
    assert os.listdir(tmp_path) == ["record"]


@DURABLE
def test_the_first_write_once_is_the_record(tmp_path: Path, dir_fd: int, durable: bool) -> None:
    assert write_once(dir_fd, "record", b"first", durable=durable)
    assert not write_once(dir_fd, "record", b"second", durable=durable)
    assert (tmp_path / "record").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["record"]


@DURABLE
def test_a_reserved_record_is_written_once(tmp_path: Path, dir_fd: int, durable: bool) -> None:
    with reserve_record(dir_fd, "record", size_bytes=4096) as record:
        (temporary,) = os.listdir(tmp_path)
        assert temporary.endswith(TEMPORARY_SUFFIX)
        assert (tmp_path / temporary).stat().st_size == 4096
        assert record.write_once(b"said", durable=durable)
        assert (tmp_path / "record").read_bytes() == b"said"
    assert os.listdir(tmp_path) == ["record"]
    with reserve_record(dir_fd, "record", size_bytes=4096) as record:
        assert not record.write_once(b"too late", durable=durable)
    assert (tmp_path / "record").read_bytes() == b"said"
    assert os.listdir(tmp_path) == ["record"]


@DURABLE
def test_a_prepared_record_is_there_once_it_is_published(
    tmp_path: Path, dir_fd: int, durable: bool
) -> None:
    with prepare_record(dir_fd, "r.json", b"new", durable=durable) as publish:
        assert not (tmp_path / "r.json").exists()
        publish()
        assert (tmp_path / "r.json").read_bytes() == b"new"
    with prepare_record(dir_fd, "other", b"never", durable=durable):
        pass
    assert os.listdir(tmp_path) == ["r.json"]


def test_a_reservation_that_was_not_used_leaves_nothing(tmp_path: Path, dir_fd: int) -> None:
    too_long = pytest.raises(ValueError, match="'record' of 11 bytes: 10 bytes reserved")
    with reserve_record(dir_fd, "record", size_bytes=10) as record, too_long:
        record.write_once(b"x" * 11, durable=False)
    assert os.listdir(tmp_path) == []


def test_a_reserved_record_needs_no_free_fd(tmp_path: Path, dir_fd: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with reserve_record(dir_fd, "record", size_bytes=10) as record:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            assert record.write_once(b"said", durable=True)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (tmp_path / "record").read_bytes() == b"said"


def test_records_are_for_their_owner_alone(tmp_path: Path, dir_fd: int) -> None:
    write_atomic(dir_fd, "a", b"", durable=False)
    write_once(dir_fd, "b", b"", durable=False)
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in "ab"} == {0o600}


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd"])
def test_only_a_name_is_a_name(dir_fd: int, name: str) -> None:
    for write in (write_atomic, write_once):
        with pytest.raises(ValueError, match="not a file name"):
            write(dir_fd, name, b"", durable=False)
    with (
        pytest.raises(ValueError, match="not a file name"),
        reserve_record(dir_fd, name, size_bytes=1),
    ):
        pass


def test_an_atomic_write_replaces_a_planted_link_and_not_its_target(
    tmp_path: Path, dir_fd: int
) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (tmp_path / "record").symlink_to(target)
    assert not write_once(dir_fd, "record", b"new", durable=False)
    write_atomic(dir_fd, "record", b"new", durable=False)
    assert target.read_bytes() == b"precious"
    assert not (tmp_path / "record").is_symlink()


@pytest.mark.parametrize("fails", ["write", "fsync", "rename", "link"])
def test_a_failed_write_leaves_the_old_record_and_no_file(
    tmp_path: Path, dir_fd: int, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    write_atomic(dir_fd, "record", b"old", durable=False)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(files.os, fails, fail)
    if fails != "link":
        with pytest.raises(OSError, match="no space"):
            write_atomic(dir_fd, "record", b"new", durable=True)
    if fails != "rename":
        with pytest.raises(OSError, match="no space"):
            write_once(dir_fd, "another", b"new", durable=True)
    monkeypatch.undo()
    assert (tmp_path / "record").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["record"]


@pytest.mark.parametrize(("write", "step"), [(write_atomic, "rename"), (write_once, "link")])
def test_a_durable_record_is_on_disk_before_it_has_its_name_and_its_name_before_the_return(
    dir_fd: int, monkeypatch: pytest.MonkeyPatch, write: Callable[..., object], step: str
) -> None:
    calls: list[str] = []
    sync, name_it = os.fsync, getattr(os, step)

    def fsync(fd: int) -> None:
        calls.append("sync directory" if fd == dir_fd else "sync file")
        sync(fd)

    def named(*arguments: object, **keywords: object) -> None:
        calls.append(step)
        name_it(*arguments, **keywords)

    monkeypatch.setattr(files.os, "fsync", fsync)
    monkeypatch.setattr(files.os, step, named)
    write(dir_fd, "record", b"", durable=True)
    assert calls == ["sync file", step, "sync directory"]
    calls.clear()
    write(dir_fd, "another", b"", durable=False)
    assert calls == [step]


def race(count: int, body: Callable[[int], None]) -> None:
    """Run `body(0)`, `body(1)` … at the same time, each in its thread."""
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        barrier.wait(20)
        body(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)


def test_of_many_first_writers_one_wins(tmp_path: Path, dir_fd: int) -> None:
    for round_number in range(20):
        winners: list[int] = []

        def write(number: int, name: str = f"r{round_number}", won: list[int] = winners) -> None:
            if write_once(dir_fd, name, str(number).encode() * 1000, durable=False):
                won.append(number)

        race(4, write)
        (winner,) = winners
        assert (tmp_path / f"r{round_number}").read_bytes() == str(winner).encode() * 1000
    assert not [name for name in os.listdir(tmp_path) if name.endswith(TEMPORARY_SUFFIX)]


def test_a_reader_never_sees_half_a_record(tmp_path: Path, dir_fd: int) -> None:
    record = tmp_path / "record"
    write_atomic(dir_fd, "record", b"0" * 100_000, durable=False)
    seen: set[tuple[int, int]] = set()

    def act(number: int) -> None:
        for turn in range(50):
            if number:
                write_atomic(dir_fd, "record", str(turn % 10).encode() * 100_000, durable=False)
            else:
                data = record.read_bytes()
                seen.add((len(data), len(set(data))))

    race(3, act)
    assert seen == {(100_000, 1)}
