"""Which cgroups a run gets, and what is written to them: a value, made from facts about the host.

Rules:
- The cgroup that is killed is of this run alone, never the scope that Nomad made: that one is shared
  by all runs of a task, and a watchman who comes late would kill the next run.
- Limits go where Nomad's own executors write them: into Nomad's cgroups if there are any, else into
  ours.

Pure: `may_write` and `exists` are all that is asked of the host.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trio_driver.linux import cgroup
from trio_driver.model import Resources, TaskSpec
from trio_driver.state import ContainmentRecord, Tier, scope_name

V1_LIMIT_HIERARCHIES = ("memory", "cpu")
"""Where limits are written on v1."""

V1_JOINED_HIERARCHIES = ("freezer", "memory", "cpu")
"""Where Nomad's client makes a directory of the task; cpuset comes as `cpuset_cgroup`."""


def may_write(path: Path) -> bool:
    """Whether this process may make cgroups there."""
    return os.access(path, os.W_OK)


@dataclass(frozen=True, slots=True)
class RequiredLimit:
    """A limit that the job asked for by `option`: an error where it cannot be set."""

    option: str
    path: Path
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainmentPlan:
    """Which cgroups a run gets, and what is written to them."""

    tier: Tier
    kill_path: Path | None = None
    own_paths: tuple[Path, ...] = ()
    joined_paths: tuple[Path, ...] = ()
    """v1 cgroups that the workload joins."""
    cpuset_path: Path | None = None
    """Nomad's v1 cpuset: joined, too, if it has CPUs by then; one without takes no process."""
    limits: tuple[tuple[Path, str], ...] = ()
    """Of the job's resources; left out where the host has no such controller."""
    required: tuple[RequiredLimit, ...] = ()
    memory_path: Path | None = None
    """The cgroup whose out-of-memory kills are the task's."""
    cpu_path: Path | None = None
    """The cgroup that a CPU quota is set for."""

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
            str(self.cpu_path) if self.cpu_path else "",
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
        cpu_path=limited,
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
        cpuset_path=limited.get("cpuset"),
        cpu_path=limited.get("cpu"),
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
        cpuset_path=limited.get("cpuset"),
        cpu_path=limited.get("cpu"),
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
    if (cpuset := _nomad_cpuset(spec, mounts, exists)) is not None:
        limited["cpuset"] = cpuset
    return joined, made, limited


def _nomad_cpuset(
    spec: TaskSpec, mounts: cgroup.Mounts, exists: Callable[[Path], bool]
) -> Path | None:
    path, root = Path(spec.resources.cpuset_cgroup), mounts.v1.get("cpuset")
    is_one = root is not None and path != root and path.is_relative_to(root) and exists(path)
    return path if is_one else None


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
    if (cpuset := paths.get("cpuset")) and resources.cpuset_cpus:
        # Nomad makes a cpuset for a task with cores of its own, and leaves it to the driver to fill it.
        limits.append((cpuset / "cpuset.cpus", resources.cpuset_cpus))
    return limits
