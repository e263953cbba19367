"""Cgroups of both versions, as one namespace: `cgroup.kill(path)`, `cgroup.read(path)`.

Paths are those below the mount points of `find_mounts`. Where the versions differ, a function looks
at what is there, not at a setting.
"""

from __future__ import annotations

from trio_driver.linux.cgroup_files import (
    controllers,
    cpu_weight_of_shares,
    is_gone,
    keyed,
    oom_kill_count,
    read,
    write,
)
from trio_driver.linux.cgroup_kill import (
    freeze,
    kill,
    kill_each,
    kill_through,
    open_kill,
    thaw,
)
from trio_driver.linux.cgroup_mounts import Mounts, find_mounts, of
from trio_driver.linux.cgroup_oom import OomEvents, watch_oom
from trio_driver.linux.cgroup_owner import owner, set_owner
from trio_driver.linux.cgroup_tree import (
    is_populated,
    join,
    join_thread,
    make,
    procs,
    remove_tree,
    takes_processes,
    walk,
)
from trio_driver.linux.cgroup_watch import PopulatedWatch, watch

__all__ = [
    "Mounts",
    "OomEvents",
    "PopulatedWatch",
    "controllers",
    "cpu_weight_of_shares",
    "find_mounts",
    "freeze",
    "is_gone",
    "is_populated",
    "join",
    "join_thread",
    "keyed",
    "kill",
    "kill_each",
    "kill_through",
    "make",
    "of",
    "oom_kill_count",
    "open_kill",
    "owner",
    "procs",
    "read",
    "remove_tree",
    "set_owner",
    "takes_processes",
    "thaw",
    "walk",
    "watch",
    "watch_oom",
    "write",
]
