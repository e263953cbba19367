"""Containment: every process of a run can be found, and killed, without being trusted.

The cgroup is of this run alone, never the scope that Nomad made: that one is shared by all runs of
a task, and a watchman who comes late would kill the next run.

Rules:
- The plan is a value, made from facts about the host; only `Containment` touches the host.
- It is owned from before it is made: what a refused limit leaves half made is removed like the rest.
- `kill_nowait` works after any crash of the task's main process, and twice.
- It is empty when the cgroup is removed, not when it was killed: only a removed cgroup makes
  joining fail; and when no child is left, for a root workload can leave its cgroup but then becomes
  our child.
- Limits go where Nomad's own executors write them: into Nomad's cgroups if there are any, else into
  ours.

Strongest first: cgroup v2, v2 beside v1, v1 freezer, none (subreaper, parent-death signal, sweep).
Not chosen: process groups, for a task leaves one with setsid(2).
"""

import functools
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from trio_driver.executor.children import Children
from trio_driver.linux import cgroup
from trio_driver.model import LaunchError, Resources, TaskSpec
from trio_driver.state import ContainmentRecord, Tier, scope_name

LOGGER = logging.getLogger("trio_driver.executor")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.0005, 0.02
"""Between two attempts to empty the containment, doubled each time."""

V1_LIMIT_HIERARCHIES = ("memory", "cpu")
"""Where limits are written on v1."""

V1_JOINED_HIERARCHIES = ("freezer", "memory", "cpu")
"""Where Nomad's client makes a directory of the task; cpuset comes as `cpuset_cgroup`."""


def may_write(path: Path) -> bool:
    """Whether this process may make cgroups there."""
    return os.access(path, os.W_OK)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainmentPlan:
    """Which cgroups a run gets, and what is written to them."""

    tier: Tier
    kill_path: Path | None = None
    own_paths: tuple[Path, ...] = ()
    joined_paths: tuple[Path, ...] = ()
    """v1 cgroups that the workload joins."""
    limits: tuple[tuple[Path, str], ...] = ()
    memory_path: Path | None = None
    """The cgroup whose out-of-memory kills are the task's."""

    @property
    def born_in(self) -> Path | None:
        """The v2 cgroup that the workload is born in, if there is one."""
        return self.kill_path if self.tier in (Tier.CGROUP_V2, Tier.HYBRID) else None

    def record(self) -> ContainmentRecord:
        """What must be known to end the run without us."""
        return ContainmentRecord(
            self.tier,
            str(self.kill_path) if self.kill_path else "",
            tuple(map(str, self.own_paths)),
            str(self.memory_path) if self.memory_path else "",
        )


def plan_containment(
    run_name: str,
    spec: TaskSpec,
    *,
    mounts: cgroup.Mounts,
    may_write: Callable[[Path], bool] = may_write,
    exists: Callable[[Path], bool] = Path.is_dir,
) -> ContainmentPlan:
    """Choose cgroups and limits for the tier that this host gives to this process."""
    match tier_of(mounts, may_write):
        case Tier.CGROUP_V2:
            return _plan_v2(run_name, spec, _existing(mounts.unified), exists)
        case Tier.HYBRID:
            return _plan_hybrid(run_name, spec, mounts, _existing(mounts.unified), exists)
        case Tier.FREEZER:
            return _plan_freezer(run_name, spec, mounts, exists)
        case Tier.NONE:
            return ContainmentPlan(tier=Tier.NONE)


def tier_of(mounts: cgroup.Mounts, may_write: Callable[[Path], bool]) -> Tier:
    """The strongest tier that this host gives to this process; a read-only hierarchy, as in a
    container, gives none."""
    if mounts.unified is not None and may_write(mounts.unified):
        return Tier.HYBRID if mounts.v1 else Tier.CGROUP_V2
    freezer = mounts.v1.get("freezer")
    return Tier.FREEZER if freezer is not None and may_write(freezer) else Tier.NONE


def _existing(path: Path | None) -> Path:
    assert path is not None, "the tier says that it is mounted"
    return path


def _plan_v2(
    run_name: str, spec: TaskSpec, unified: Path, exists: Callable[[Path], bool]
) -> ContainmentPlan:
    scope = Path(spec.resources.cpuset_cgroup) if spec.resources.cpuset_cgroup else None
    if scope is not None and scope.is_relative_to(unified) and exists(scope):
        # No controller is enabled below the scope, so that its own limits hold for our child.
        own, limited = scope / f"{run_name}.scope", scope
    else:
        own = limited = unified / scope_name(run_name)
    return ContainmentPlan(
        tier=Tier.CGROUP_V2,
        kill_path=own,
        own_paths=(own,),
        limits=tuple(_v2_limits(limited, spec.resources)),
        memory_path=limited,
    )


def _plan_hybrid(
    run_name: str,
    spec: TaskSpec,
    mounts: cgroup.Mounts,
    unified: Path,
    exists: Callable[[Path], bool],
) -> ContainmentPlan:
    own = unified / scope_name(run_name)
    joined, made, limited = _v1_paths(run_name, spec, mounts, exists)
    return ContainmentPlan(
        tier=Tier.HYBRID,
        kill_path=own,
        own_paths=(own, *made),
        joined_paths=tuple(joined),
        limits=tuple(_v1_limits(limited, spec.resources)),
        memory_path=limited.get("memory"),
    )


def _plan_freezer(
    run_name: str, spec: TaskSpec, mounts: cgroup.Mounts, exists: Callable[[Path], bool]
) -> ContainmentPlan:
    joined, made, limited = _v1_paths(run_name, spec, mounts, exists)
    nomad = mounts.v1["freezer"] / "nomad" / _nomad_name(spec)
    own = (
        nomad / f"{run_name}.scope"
        if exists(nomad)
        else mounts.v1["freezer"] / scope_name(run_name)
    )
    return ContainmentPlan(
        tier=Tier.FREEZER,
        kill_path=own,
        own_paths=(own, *made),
        # A process is in one cgroup of a hierarchy: ours below Nomad's stands for both.
        joined_paths=(own, *(path for path in joined if path != nomad)),
        limits=tuple(_v1_limits(limited, spec.resources)),
        memory_path=limited.get("memory"),
    )


def _nomad_name(spec: TaskSpec) -> str:
    return f"{spec.alloc_id}.{spec.name}"


def _v1_paths(
    run_name: str, spec: TaskSpec, mounts: cgroup.Mounts, exists: Callable[[Path], bool]
) -> tuple[list[Path], list[Path], dict[str, Path]]:
    """The v1 cgroups to join, those of them that are ours to make, and where limits go by
    hierarchy."""
    joined: list[Path] = []
    made: list[Path] = []
    limited: dict[str, Path] = {}
    for name in V1_JOINED_HIERARCHIES:
        if name not in mounts.v1:
            continue
        path = mounts.v1[name] / "nomad" / _nomad_name(spec)
        if not exists(path):
            if name not in V1_LIMIT_HIERARCHIES:
                continue
            path = mounts.v1[name] / scope_name(run_name)
            made.append(path)
        joined.append(path)
        if name in V1_LIMIT_HIERARCHIES:
            limited[name] = path
    cpuset = Path(spec.resources.cpuset_cgroup) if spec.resources.cpuset_cgroup else None
    if (
        cpuset is not None
        and "cpuset" in mounts.v1
        and cpuset.is_relative_to(mounts.v1["cpuset"])
        and exists(cpuset)
    ):
        joined.append(cpuset)
    return joined, made, limited


def _v2_limits(path: Path, resources: Resources) -> list[tuple[Path, str]]:
    limits: list[tuple[Path, str]] = []
    if resources.memory_hard_bytes != 0:
        hard = resources.memory_hard_bytes
        limits.append((path / "memory.max", "max" if hard is None else str(hard)))
    if resources.memory_soft_bytes:
        limits.append((path / "memory.low", str(resources.memory_soft_bytes)))
    if resources.cpu_shares_mhz:
        weight = cgroup.cpu_weight_of_shares(resources.cpu_shares_mhz)
        limits.append((path / "cpu.weight", str(weight)))
    if resources.cpuset_cpus:
        limits.append((path / "cpuset.cpus", resources.cpuset_cpus))
    return limits


def _v1_limits(paths: dict[str, Path], resources: Resources) -> list[tuple[Path, str]]:
    limits: list[tuple[Path, str]] = []
    if memory := paths.get("memory"):
        if resources.memory_hard_bytes != 0:
            hard = -1 if resources.memory_hard_bytes is None else resources.memory_hard_bytes
            limits.append((memory / "memory.limit_in_bytes", str(hard)))
        if resources.memory_soft_bytes:
            limits.append((memory / "memory.soft_limit_in_bytes", str(resources.memory_soft_bytes)))
    if (cpu := paths.get("cpu")) and resources.cpu_shares_mhz:
        limits.append((cpu / "cpu.shares", str(max(2, resources.cpu_shares_mhz))))
    return limits


class Containment:
    """The containment of the run of this process, from before it is made until it is removed."""

    def __init__(self, plan: ContainmentPlan, children: Children) -> None:
        self.plan = plan
        self.oom_killed = False
        """Whether the kernel killed a process of the run for its memory: seen so far, before each
        kill of ours."""
        self._children = children
        self._kill_fd: int | None = None
        self._oom_kills_before = 0

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
        if self.plan.kill_path is not None:
            # Opened now, so that a full descriptor table cannot stop the kill.
            self._kill_fd = cgroup.open_kill(self.plan.kill_path)
        self._oom_kills_before = _oom_kills(self.plan.memory_path)
        for path, value in self.plan.limits:
            try:
                cgroup.write(path, value)
            except FileNotFoundError:
                LOGGER.warning("no limit %s: the controller is not enabled there", path)
            except OSError as error:
                raise LaunchError(
                    "cgroup limit", f"{path} = {value}", error.strerror or str(error)
                ) from error

    def kill_nowait(self) -> bool:
        """Kill every process of the run once; whether any, or its cgroup, is still there."""
        # The counter adds up over the runs of a scope, so compare; and goes with a cgroup of ours, so look first.
        self.oom_killed |= _oom_kills(self.plan.memory_path) > self._oom_kills_before
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


def _oom_kills(path: Path | None) -> int:
    return (cgroup.oom_kill_count(path) or 0) if path is not None else 0


@functools.cache
def host_mounts() -> cgroup.Mounts:
    """The cgroup hierarchies of this host, looked up once: a spawner and its forks are of one mount namespace."""
    return cgroup.find_mounts()


def host_plan(run_name: str, spec: TaskSpec) -> ContainmentPlan:
    """The plan for this process on this host."""
    return plan_containment(run_name, spec, mounts=host_mounts())


def host_tier() -> Tier:
    """What holds the tasks of this process's executors together on this host."""
    return tier_of(host_mounts(), may_write)
