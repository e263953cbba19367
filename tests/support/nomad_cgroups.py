"""The cgroups that Nomad's client makes for a task before it asks the driver (nomad-protocol §8.7). Needs root."""

import contextlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from trio_driver._proto import driver_pb2
from trio_driver.linux import cgroup

V1_HIERARCHIES = ("freezer", "memory", "cpu")
V2_CONTROLLERS = ("cpuset", "cpu", "memory", "pids")


@contextmanager
def nomad_cgroups(config: driver_pb2.TaskConfig) -> Generator[list[Path]]:
    """Make what this host's Nomad would make for the task, tell the task of it, and remove it after the block.

    Gives the task's own cgroups, the one with memory limits first.
    """
    mounts = cgroup.find_mounts()
    name = f"{config.alloc_id}.{config.name}"
    made: list[Path] = []
    try:
        if mounts.v1:
            made = [mounts.v1[each] / "nomad" / name for each in ("memory", "freezer", "cpu")]
            for path in made:
                path.mkdir(parents=True)
            share = mounts.v1["cpuset"] / "nomad" / "share"
            if not share.exists():  # one that is there is an agent's: it would be missed
                made.append(share)
            _fill_cpusets(share)
            config.resources.linux_resources.cpuset_cgroup = str(share)
            yield made[:3]
        else:
            assert mounts.unified is not None
            scope = _v2_scope(mounts.unified, name)
            config.resources.linux_resources.cpuset_cgroup = str(scope)
            made = [scope]
            yield made
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # a parent may be a living agent's
                path.rmdir()
                path.parent.rmdir()


def _fill_cpusets(share: Path) -> None:
    """A cpuset takes no process before it has cpus and mems."""
    for path in (share.parent, share):
        path.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not cgroup.read(path / file).strip():
                cgroup.write(path / file, cgroup.read(path.parent / file).strip())


def _v2_scope(root: Path, name: str) -> Path:
    path = root
    for part in ("nomad.slice", "share.slice", f"{name}.scope"):
        cgroup.write(
            path / "cgroup.subtree_control", " ".join(f"+{each}" for each in V2_CONTROLLERS)
        )
        path = path / part
        path.mkdir(exist_ok=True)
    return path
