"""What a process uses, and files that are read again and again."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from trio_driver.linux import (
    CLOCK_TICKS_PER_S,
    Descriptors,
    KeptFile,
    fd_count,
    identify,
    process_swap_bytes,
    process_usage,
)

from .conftest import SLEEPER, StartChild

BUSY = """
import sys, time
while time.process_time() < 0.2: pass
print('ready', flush=True)
sys.stdin.read()
"""

NAMED = f"""
import ctypes
ctypes.CDLL(None).prctl(15, b') R 1 (\\n) 7')
{SLEEPER}
"""


def test_cpu_time_is_what_the_process_used(start_child: StartChild) -> None:
    child = start_child(BUSY)
    assert child.read_line() == "ready"
    usage = process_usage(child.pid)
    assert usage is not None
    seconds = (usage.user_ticks + usage.system_ticks) / CLOCK_TICKS_PER_S
    assert 0.15 < seconds < 5


def test_memory_is_what_is_resident() -> None:
    usage = process_usage(os.getpid())
    assert usage is not None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert 1 << 20 < usage.rss_bytes <= peak * 1.1


def test_a_name_of_any_bytes_is_not_parsed(start_child: StartChild) -> None:
    child = start_child(NAMED)
    assert child.read_line() == "ready"
    usage, process = process_usage(child.pid), identify(child.pid)
    assert usage is not None
    assert process is not None
    assert usage.start_ticks == process.start_ticks
    assert process_swap_bytes(child.pid) is not None


def test_a_process_that_is_gone_uses_nothing_that_is_known(start_child: StartChild) -> None:
    child = start_child(SLEEPER)
    child.finish()
    assert process_usage(child.pid) is None
    assert process_swap_bytes(child.pid) is None


def test_a_kept_file_is_opened_once_and_says_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1\n")
    descriptors = Descriptors(limit=1)
    file = KeptFile(str(path), descriptors)
    before = fd_count()
    assert file.read() == b"1\n"
    path.write_bytes(b"23\n")
    assert file.read() == b"23\n"
    assert (fd_count(), descriptors.left) == (before + 1, 0)
    file.close()
    assert (fd_count(), descriptors.left) == (before, 1)


def test_beyond_the_limit_nothing_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1\n")
    file = KeptFile(str(path), Descriptors(limit=0))
    before = fd_count()
    assert file.read() == file.read() == b"1\n"
    assert fd_count() == before
    file.close()


def test_a_file_that_is_not_there_is_looked_for_once(tmp_path: Path) -> None:
    file = KeptFile(str(tmp_path / "file"), Descriptors(limit=1))
    assert file.read() is None
    (tmp_path / "file").write_bytes(b"1\n")
    assert file.read() is None


def test_a_long_file_is_read_to_its_end_or_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(250)) * 1000)
    file = KeptFile(str(path), Descriptors(limit=1))
    assert file.read() == path.read_bytes()
    assert len(file.read(limit_bytes=100_000) or b"") == 100_000
    file.close()
