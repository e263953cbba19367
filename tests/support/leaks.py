"""What runs leave outside of processes: cgroups with their names, files below a directory."""

import os
from collections.abc import Collection
from pathlib import Path

from trio_driver.linux import cgroup

from .waiting import until

CGROUP_ROOT = Path("/sys/fs/cgroup")


def all_cgroups() -> list[Path]:
    """Every cgroup of every hierarchy."""
    return [Path(parent) / name for parent, names, _ in os.walk(CGROUP_ROOT) for name in names]


def cgroups_of(run_names: Collection[str]) -> list[str]:
    """Those that are named after one of the runs."""
    if not run_names:
        return []
    return sorted(
        str(path) for path in all_cgroups() if any(name in path.name for name in run_names)
    )


def files_below(directory: Path) -> list[str]:
    """Everything below `directory`, relative to it, sorted."""
    found = [
        os.path.join(parent, name)
        for parent, directories, files in os.walk(directory)  # takes what vanishes as gone
        for name in (*directories, *files)
    ]
    return sorted(os.path.relpath(path, directory) for path in found)


def is_spawner_file(name: str) -> bool:
    """Whether a file of the state directory is what a killed spawner leaves."""
    return name.startswith("spawner-") and name.endswith((".socket", ".lock"))


async def remove_cgroups(run_names: Collection[str]) -> None:
    """Kill and remove what a failed test left."""
    for path in map(Path, cgroups_of(run_names)):
        cgroup.kill(path)
        await until(lambda path=path: cgroup.remove_tree(path), f"{path} is removed", limit_s=5)
