"""The guest's initial file system, without a guest."""

import gzip
import lzma
from pathlib import Path

from tests.vm.initramfs import EXECUTABLE, Entry, archive, find_modules


def module(*needs: str) -> bytes:
    return b"\x7fELF\0license=GPL\0depends=" + ",".join(needs).encode() + b"\0name=x\0"


def test_modules_come_after_what_they_need_and_once(tmp_path: Path) -> None:
    (tmp_path / "fs").mkdir()
    (tmp_path / "fs" / "ext4.ko").write_bytes(module("jbd2", "crc16"))
    (tmp_path / "fs" / "jbd2.ko.xz").write_bytes(lzma.compress(module("crc16")))
    (tmp_path / "crc16.ko.gz").write_bytes(gzip.compress(module()))
    (tmp_path / "virtio-blk.ko").write_bytes(module())
    names = [name for name, _ in find_modules(tmp_path, ["ext4", "virtio_blk", "crc16"])]
    assert names == ["crc16", "jbd2", "ext4", "virtio_blk"]


def test_packed_modules_are_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a.ko.xz").write_bytes(lzma.compress(module()))
    assert dict(find_modules(tmp_path, ["a"])) == {"a": module()}


def test_a_module_that_is_part_of_the_kernel_is_left_out(tmp_path: Path) -> None:
    assert list(find_modules(tmp_path, ["overlay"])) == []


def test_the_archive_has_a_header_of_110_bytes_and_data_at_multiples_of_4() -> None:
    data = gzip.decompress(archive([Entry("init", EXECUTABLE, b"#!/bin/sh\n")]))
    assert len(data) % 4 == 0
    header, name, rest = data[:110], data[110:115], data[116:]
    assert header[:6] == b"070701"
    assert int(header[14:22], 16) == EXECUTABLE
    assert int(header[54:62], 16) == len(b"#!/bin/sh\n")
    assert name == b"init\0"
    assert rest.startswith(b"#!/bin/sh\n" + bytes(2) + b"070701")
    assert b"TRAILER!!!" in rest
