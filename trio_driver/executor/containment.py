"""Containment: every process of a run can be found, and killed, without being trusted.

The cgroup is of this run alone, never the scope that Nomad made: that one is shared by all runs of
a task, and a watchman who comes late would kill the next run.

Rules:
- The plan is a value (`plan`, `overrides`); only `Containment` touches the host.
- It is owned from before it is made: what a refused limit leaves half made is removed like the rest.
- `kill_nowait` works after any crash of the task's main process, and twice.
- It is empty when the cgroup is removed, not when it was killed: only a removed cgroup makes
  joining fail; and when no child is left, for a root workload can leave its cgroup but then becomes
  our child.

Strongest first: cgroup v2, v2 beside v1, v1 freezer, none (subreaper, parent-death signal, sweep).
Not chosen: process groups, for a task leaves one with setsid(2).
"""

import functools
import logging
import os
from pathlib import Path

import trio

from trio_driver.executor.children import Children
from trio_driver.executor.limits import limit_plan
from trio_driver.executor.oom import OomEvidence
from trio_driver.executor.overrides import override_plan
from trio_driver.executor.plan import ContainmentPlan, may_write, plan_containment, tier_of
from trio_driver.linux import cgroup
from trio_driver.model import LaunchError, TaskOptions, TaskSpec
from trio_driver.state import Tier

LOGGER = logging.getLogger("trio_driver.executor")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.0005, 0.02
"""Between two attempts to empty the containment, doubled each time."""


class Containment:
    """The containment of the run of this process, from before it is made until it is removed."""

    def __init__(self, plan: ContainmentPlan, children: Children, *, owner: str = "") -> None:
        """Nothing is made yet.

        Args:
            owner: the state directory that has the run's record; noted with each cgroup.
        """
        self.plan = plan
        self.joined_paths = plan.joined_paths
        """v1 cgroups that the workload joins; complete once it is made."""
        self.oom = OomEvidence(None, below=None)
        """Whether the kernel killed processes of the run for memory; of the run's cgroups once it is
        made."""
        self._children = children
        self._owner = owner
        self._kill_fd: int | None = None

    def make(self) -> None:
        """Make the cgroups and write the limits. The plan's record must be on disk already; what was
        made before a failure is `close`'s to remove.

        Raises:
            LaunchError: a cgroup cannot be made, or a limit is refused.
        """
        for path in self.plan.own_paths:
            try:
                cgroup.make(path)
            except OSError as error:
                raise LaunchError("cgroup", str(path), error.strerror or str(error)) from error
            if self._owner:
                cgroup.set_owner(path, self._owner)
        if self.plan.kill_path is not None:
            # Opened now, so that a full descriptor table cannot stop the kill.
            self._kill_fd = cgroup.open_kill(self.plan.kill_path)
        self.oom = OomEvidence(self.plan.memory_path, below=_in_log(self.plan.memory_path))
        for path, value in self.plan.limits:
            try:
                cgroup.write(path, value)
            except FileNotFoundError:
                LOGGER.warning("no limit %s: the controller is not enabled there", path)
            except OSError as error:
                raise LaunchError(
                    "cgroup limit", f"{path} = {value}", error.strerror or str(error)
                ) from error
        self._set_required()
        self._add_cpuset()

    def _add_cpuset(self) -> None:
        if (path := self.plan.cpuset_path) is None:
            return
        if cgroup.takes_processes(path):
            self.joined_paths = (*self.plan.joined_paths, path)
        else:  # Nomad fills its share only when a task comes or goes; its own executors warn, too
            LOGGER.warning("%s has no CPUs: the task is not bound to any", path)

    def _set_required(self) -> None:
        for limit in self.plan.required:
            try:
                cgroup.write(limit.path, limit.value)
            except OSError as error:
                reason = (
                    f"this host does not enforce it: no {limit.path}"
                    if isinstance(error, FileNotFoundError)
                    else error.strerror
                )
                raise LaunchError(limit.option, limit.value, str(reason)) from error

    def kill_nowait(self) -> bool:
        """Kill every process of the run once; whether any, or its cgroup, is still there."""
        self.oom.look()
        if self._kill_fd is not None:
            cgroup.kill_through(self._kill_fd)
        elif self.plan.kill_path is not None:
            cgroup.kill(self.plan.kill_path)
        strangers = self._children.kill_all_nowait()
        left = [path for path in self.plan.own_paths if not cgroup.remove_tree(path)]
        return strangers or bool(left)

    async def close(self, *, limit_s: float) -> bool:
        """Kill until empty, then remove; False if something outlived it by `limit_s`.

        If cancelled, what was killed stays killed.
        """
        pause_s = FIRST_PAUSE_S
        with trio.move_on_after(limit_s):
            while self.kill_nowait():
                await trio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            return True
        return not self.kill_nowait()


@functools.cache
def host_mounts() -> cgroup.Mounts:
    """The cgroup hierarchies of this host, looked up once: a spawner and its forks are of one mount namespace."""
    return cgroup.find_mounts()


def _in_log(path: Path | None) -> str | None:
    """The cgroup as the kernel's log names it: from the root of its hierarchy."""
    mounts = host_mounts()
    for root in filter(None, (mounts.unified, mounts.v1.get("memory"))):
        if path is not None and path.is_relative_to(root):
            return f"/{path.relative_to(root)}"
    return None


def host_plan(run_name: str, spec: TaskSpec, options: TaskOptions) -> ContainmentPlan:
    """The plan for this process on this host.

    Raises:
        LaunchError: the host cannot do what `options` asks for.
    """
    mounts = host_mounts()
    plan = plan_containment(run_name, spec, mounts=mounts)
    plan = override_plan(plan, run_name, options, mounts=mounts, exists=Path.is_dir)
    cores = os.cpu_count() or 1
    return limit_plan(plan, run_name, spec, options, mounts=mounts, cores=cores)


def host_tier() -> Tier:
    """What holds the tasks of this process's executors together on this host."""
    return tier_of(host_mounts(), may_write)
