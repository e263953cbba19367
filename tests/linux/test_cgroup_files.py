"""Cgroup files: what the kernel says must be heard."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Generator
from pathlib import Path

import pytest

from trio_driver.linux import cgroup, cgroup_files

from .conftest import SLEEPER, StartChild, wait_until

pytestmark = pytest.mark.cgroup

HOG = """
import os, sys

sys.stdin.readline()
if (child := os.fork()) == 0:
    bytearray(200 * 1024 * 1024)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def with_memory(v2_dir: Path) -> Generator[Path]:
    """A v2 cgroup with the memory controller, which is enabled at the root where it is not yet."""
    control = v2_dir.parent / "cgroup.subtree_control"
    if "memory" not in cgroup.controllers(v2_dir.parent):
        pytest.skip("the v2 hierarchy of this host has no memory controller")
    enabled = "memory" in cgroup.read(control).split()
    if not enabled:
        cgroup.write(control, "+memory")
    yield v2_dir
    if not enabled:
        with contextlib.suppress(OSError):  # somebody else uses it by now
            cgroup.write(control, "-memory")


@pytest.fixture
def v1_memory() -> Generator[Path]:
    root = cgroup.find_mounts().v1.get("memory")
    if root is None or not os.access(root, os.W_OK):
        pytest.skip("needs root and the v1 memory hierarchy")
    path = root / f"trio-driver-test-{os.getpid()}"
    assert cgroup.make(path)
    yield path
    cgroup.kill(path)
    wait_until(lambda: cgroup.remove_tree(path), f"{path} is removed")


def test_what_is_written_can_be_read(v2_dir: Path) -> None:
    cgroup.write(v2_dir / "cgroup.max.depth", "7")
    assert cgroup.read(v2_dir / "cgroup.max.depth") == "7\n"


def test_a_value_that_the_kernel_refuses_is_named_with_the_file(cgroup_dir: Path) -> None:
    name = "cgroup.freeze" if (cgroup_dir / "cgroup.freeze").exists() else "freezer.state"
    with pytest.raises(OSError, match="writing 'NONSENSE'") as caught:
        cgroup.write(cgroup_dir / name, "NONSENSE")
    assert caught.value.errno == errno.EINVAL
    assert caught.value.filename == str(cgroup_dir / name)


def test_ebusy_surfaces(with_memory: Path, start_child: StartChild) -> None:
    child = start_child(SLEEPER)
    cgroup.join(with_memory, pid=child.pid)
    with pytest.raises(OSError, match=r"writing '\+memory'") as caught:
        cgroup.write(with_memory / "cgroup.subtree_control", "+memory")
    assert caught.value.errno == errno.EBUSY


def test_a_missing_file_or_cgroup_is_named(cgroup_dir: Path) -> None:
    for path in (cgroup_dir / "no.such.file", cgroup_dir / "no/cgroup.procs"):
        with pytest.raises(FileNotFoundError) as caught:
            cgroup.write(path, "1")
        assert caught.value.filename == str(path)
        with pytest.raises(FileNotFoundError) as caught:
            cgroup.read(path)
        assert caught.value.filename == str(path)
        assert not path.exists()


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to("file")
    with pytest.raises(OSError, match="link"):
        cgroup.write(tmp_path / "link", "x")
    assert (tmp_path / "file").read_text() == "precious"


def test_a_removed_cgroup_is_gone_for_one_who_has_its_file_open(cgroup_dir: Path) -> None:
    below = cgroup_dir / "below"
    cgroup.make(below)
    fd = os.open(below / "cgroup.procs", os.O_RDONLY)
    try:
        below.rmdir()
        with pytest.raises(OSError, match="No such device") as caught:
            cgroup_files.read_fd(fd)
        assert cgroup_files.is_gone(caught.value)
    finally:
        os.close(fd)


def test_a_file_that_never_ends_is_read_up_to_the_limit() -> None:
    fd = os.open("/dev/zero", os.O_RDONLY)
    try:
        assert len(cgroup_files.read_fd(fd)) == cgroup_files.READ_LIMIT_BYTES
    finally:
        os.close(fd)


def test_keyed_files_are_read_and_strange_lines_left_out() -> None:
    text = "populated 1\nfrozen 0\nmax max\nlow -1\n\nsome avg10=0.00 total=5\nlonely\n"
    assert cgroup.keyed(text) == {"populated": 1, "frozen": 0}


def test_controllers_are_those_of_the_kernel(v2_dir: Path) -> None:
    root = v2_dir.parent
    assert cgroup.controllers(root) >= cgroup.controllers(v2_dir)
    assert " ".join(cgroup.controllers(root)) == " ".join(
        frozenset((root / "cgroup.controllers").read_text().split())
    )


@pytest.mark.parametrize(
    ("shares", "weight"),
    [
        *((0, 0), (1, 1), (2, 1), (3, 2), (100, 17), (500, 58), (512, 59), (1000, 99)),
        *((1024, 100), (2048, 174), (10_240, 639), (262_143, 10_000)),
        *((262_144, 10_000), (10_000_000, 10_000), (-1, 0)),
    ],
)
def test_shares_become_a_weight(shares: int, weight: int) -> None:
    assert cgroup.cpu_weight_of_shares(shares) == weight


def test_weights_grow_with_shares_and_are_valid() -> None:
    weights = [cgroup.cpu_weight_of_shares(shares) for shares in range(1, 262_145, 97)]
    assert weights == sorted(weights)
    assert set(weights) <= set(range(1, 10_001))


def test_an_oom_kill_is_counted_v2(with_memory: Path, start_child: StartChild) -> None:
    cgroup.write(with_memory / "memory.max", str(32 * 1024 * 1024))
    with contextlib.suppress(FileNotFoundError):
        cgroup.write(with_memory / "memory.swap.max", "0")
    check_oom(with_memory, start_child)


def test_an_oom_kill_is_counted_v1(v1_memory: Path, start_child: StartChild) -> None:
    cgroup.write(v1_memory / "memory.limit_in_bytes", str(32 * 1024 * 1024))
    check_oom(v1_memory, start_child)


def check_oom(path: Path, start_child: StartChild) -> None:
    assert cgroup.oom_kill_count(path) == 0
    child = start_child(HOG)
    cgroup.join(path, pid=child.pid)
    child.write_line("")
    assert child.read_line() == "-9"
    assert cgroup.oom_kill_count(path) == 1


def test_where_oom_kills_are_not_counted_there_is_no_count(v1_dir: Path, tmp_path: Path) -> None:
    assert cgroup.oom_kill_count(v1_dir) is None
    assert cgroup.oom_kill_count(v1_dir / "gone") is None
    assert cgroup.oom_kill_count(tmp_path) is None
