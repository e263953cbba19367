"""The kernel's tables of cgroup mounts and memberships."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_driver.linux import cgroup

pytestmark = pytest.mark.cgroup

HYBRID = """\
23 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime shared:10 master:2 - cgroup cgroup rw,freezer
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
"""

V2_ALONE = (
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,memory_recursiveprot\n"
)

CONTAINER = """\
50 23 0:29 /docker/1 /a\\040b/memory ro,relatime - cgroup cgroup rw,memory
51 23 0:29 / /whole/memory rw,relatime - cgroup cgroup rw,memory
52 23 0:29 / /again/memory rw,relatime - cgroup cgroup rw,memory
53 23 0:30 /docker/1 /a\\040b/v2 ro,relatime - cgroup2 cgroup rw
"""


@pytest.mark.parametrize(
    ("table", "unified", "v1"),
    [
        (
            HYBRID,
            "/sys/fs/cgroup/unified",
            {
                "cpu": "/sys/fs/cgroup/cpu,cpuacct",
                "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
                "freezer": "/sys/fs/cgroup/freezer",
                "name=systemd": "/sys/fs/cgroup/systemd",
            },
        ),
        (V2_ALONE, "/sys/fs/cgroup", {}),
        (CONTAINER, "/a b/v2", {"memory": "/whole/memory"}),
        ("", None, {}),
    ],
    ids=["hybrid", "v2 alone", "container", "none"],
)
def test_mounts_are_found(table: str, unified: str | None, v1: dict[str, str]) -> None:
    found = cgroup.find_mounts(table)
    assert found.unified == (unified and Path(unified))
    assert found.v1 == {name: Path(path) for name, path in v1.items()}


def test_this_hosts_mounts_are_cgroups() -> None:
    found = cgroup.find_mounts()
    for root in (found.unified, *found.v1.values()):
        assert root is None or (root / "cgroup.procs").exists()


@settings(database=None)
@given(st.text(alphabet="0 /-\n,cgroup2=\\", max_size=60))
def test_any_table_can_be_read(table: str) -> None:
    assert isinstance(cgroup.find_mounts(table), cgroup.Mounts)


def test_a_process_is_in_one_cgroup_of_each_hierarchy(cgroup_dir: Path) -> None:
    found = cgroup.find_mounts()
    is_v2 = found.unified is not None and cgroup_dir.is_relative_to(found.unified)
    key, root = ("", found.unified) if is_v2 else ("freezer", found.v1["freezer"])
    assert root is not None
    child = subprocess.Popen(["sleep", "60"])
    try:
        before = cgroup.of(child.pid)
        cgroup.join(cgroup_dir, pid=child.pid)
        expected = before | {key: f"/{cgroup_dir.relative_to(root)}"}
        assert cgroup.of(child.pid) == expected
        assert set(found.v1) <= set(expected)
    finally:
        child.kill()
        child.wait()


def test_a_cgroup_with_a_colon_keeps_its_name(cgroup_dir: Path) -> None:
    below = cgroup_dir / "a:b c"
    cgroup.make(below)
    child = subprocess.Popen(["sleep", "60"])
    try:
        cgroup.join(below, pid=child.pid)
        assert any(path.endswith("/a:b c") for path in cgroup.of(child.pid).values())
    finally:
        child.kill()
        child.wait()


def test_nobody_is_in_no_cgroup() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    with pytest.raises(ProcessLookupError, match=str(gone.pid)):
        cgroup.of(gone.pid)
    assert cgroup.of(os.getpid())
