"""Where spawner and executors live: a cgroup of their own, beside the tasks' and outside the
agent's unit.

Stopping the agent's service must not take executors along, whatever its `KillMode`, and their
memory is neither the agent's nor a task's.

Rules:
- The cgroup is a leaf and stays one: nobody makes children in it, no controller is enabled for it.
- It is a convenience: where it cannot be made the spawner runs where it was started, and says so in
  its log.
"""

import logging
import os
from pathlib import Path

from trio_driver.linux import cgroup

LOGGER = logging.getLogger("trio_driver.spawner")

NAME = "trio-driver"

V1_HIERARCHIES = ("name=systemd", "memory")
"""systemd kills by the first where it uses v1; the second is what memory is charged to."""


def _home_paths() -> list[Path]:
    mounts = cgroup.find_mounts()
    paths: list[Path] = []
    if mounts.unified is not None:
        slice_path = mounts.unified / "nomad.slice"
        paths.append((slice_path if slice_path.is_dir() else mounts.unified) / NAME)
    paths += [mounts.v1[name] / NAME for name in V1_HIERARCHIES if name in mounts.v1]
    return paths


def enter_home() -> list[Path]:
    """Move this process into its cgroups; what it forks follows. Returns those that were
    entered."""
    if os.geteuid() != 0:
        return []
    entered: list[Path] = []
    for path in _home_paths():
        try:
            cgroup.make(path)
            cgroup.join(path)
        except OSError as error:
            LOGGER.warning("stays in the agent's cgroup: %s", error)
        else:
            entered.append(path)
    return entered


def leave_home(entered: list[Path]) -> None:
    """Move back out, and remove the cgroups unless another spawner is still in them."""
    mounts = cgroup.find_mounts()
    roots = [*mounts.v1.values()]
    if mounts.unified is not None:
        roots.append(mounts.unified)
    for path in entered:
        root = next((root for root in roots if path.is_relative_to(root)), None)
        try:
            if root is not None:
                cgroup.join(root)
            path.rmdir()
        except OSError as error:
            LOGGER.debug("keeps %s: %s", path, error)
