"""Which cgroups on this host are those of runs, by their names: for runs whose record is gone.

A run's own cgroup carries the run's name, right below the root of its hierarchy or below a scope
that Nomad made. A cgroup that a job named instead is known by the record alone.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from trio_driver.linux import cgroup

_NAME = re.compile(r"(?:trio-driver-)?([0-9a-f]{12}-[0-9a-f]{12})\.scope", re.ASCII)


def run_cgroups() -> Iterator[tuple[str, Path]]:
    """All cgroups of runs on this host, whatever their state directory, with the runs' names."""
    mounts = cgroup.find_mounts()
    for root in dict.fromkeys(filter(None, (mounts.unified, *mounts.v1.values()))):
        for pattern in ("trio-driver-*.scope", "nomad.slice/*.slice/*/*.scope", "nomad/*/*.scope"):
            for path in root.glob(pattern):
                if (match := _NAME.fullmatch(path.name)) is not None:
                    yield match[1], path


def cgroups_of_run(run_name: str) -> list[Path]:
    """Those of one run."""
    return [path for name, path in run_cgroups() if name == run_name]
