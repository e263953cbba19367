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
            share = _v1_share(mounts.v1["cpuset"])
            config.resources.linux_resources.cpuset_cgroup = str(share)
            made.append(share)
            yield made[:3]
        else:
            assert mounts.unified is not None
            scope = _v2_scope(mounts.unified, name)
            config.resources.linux_resources.cpuset_cgroup = str(scope)
            made = [scope]
            yield made
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # a share may be a living agent's
                path.rmdir()
                path.parent.rmdir()


def _v1_share(root: Path) -> Path:
    """A cpuset takes no process before it has cpus and mems."""
    path = root
    for part in ("nomad", "share"):
        parent, path = path, path / part
        path.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not cgroup.read(path / file).strip():
                cgroup.write(path / file, cgroup.read(parent / file).strip())
    return path


def _v2_scope(root: Path, name: str) -> Path:
    path = root
    for part in ("nomad.slice", "share.slice", f"{name}.scope"):
        cgroup.write(
            path / "cgroup.subtree_control", " ".join(f"+{each}" for each in V2_CONTROLLERS)
        )
        path = path / part
        path.mkdir(exist_ok=True)
    return path
