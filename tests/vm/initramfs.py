"""An initial file system: files into a cpio archive, and kernel modules in the order of their needs.

Must not know: where the files come from, what the guest does with them.

Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst; kmod, modinfo(8).
"""

import gzip
import lzma
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

DIRECTORY, EXECUTABLE, LINK = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755, stat.S_IFLNK | 0o777

_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")
_UNPACK = {".ko": bytes, ".xz": lzma.decompress, ".gz": gzip.decompress}


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the archive; `data` is a link's target for a link."""

    path: str
    mode: int
    data: bytes = b""


def archive(entries: Iterable[Entry]) -> bytes:
    """The entries as a compressed archive that the kernel unpacks."""
    last = Entry("TRAILER!!!", 0)
    packed = (_pack(number, entry) for number, entry in enumerate([*entries, last], start=1))
    return gzip.compress(b"".join(packed), compresslevel=1)


def _pack(number: int, entry: Entry) -> bytes:
    name = entry.path.encode() + b"\0"
    fields = (number, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + name) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def find_modules(directory: Path, wanted: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Name and content of the wanted modules below `directory`, each after those that it needs.

    A module that is not there is part of the kernel itself, or does not exist in this version.
    """
    paths = {_module_name(path): path for path in directory.rglob("*.ko*")}
    done: set[str] = set()
    for name in wanted:
        yield from _with_needs(name, paths, done)


def _with_needs(
    name: str, paths: Mapping[str, Path], done: set[str]
) -> Iterator[tuple[str, bytes]]:
    if name in done or name not in paths:
        return
    done.add(name)
    content = _UNPACK[paths[name].suffix](paths[name].read_bytes())
    found = _DEPENDS.search(content)
    for need in found[1].decode().split(",") if found else []:
        yield from _with_needs(need.replace("-", "_"), paths, done)
    yield name, content


def _module_name(path: Path) -> str:
    return path.name.partition(".")[0].replace("-", "_")
