"""A plan with the limits that a job asks for by option, beside those of its resources.

Rules:
- What the host cannot enforce is an error that names the option: a limit that somebody asked for is
  never left out.
- They go where the others go: on v2 into Nomad's scope, for no controller is enabled below it; the
  scope is shared only by runs of the same task, one after the other.

Pure.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from trio_driver.executor.plan import ContainmentPlan, RequiredLimit
from trio_driver.linux import cgroup
from trio_driver.model import LaunchError, TaskOptions, TaskSpec
from trio_driver.state import Tier, scope_name

CPU_PERIOD_US = 100_000
"""Of the quota, in microseconds: the kernel's default (cgroup-v2.rst, "cpu.max")."""

MIN_QUOTA_US = 1000
"""The kernel takes no less. Source: kernel/sched/core.c, min_cfs_quota_period."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the quota and the number of processes are limited."""

    cpu: Path | None
    pids: Path | None


def limit_plan(
    plan: ContainmentPlan,
    run_name: str,
    spec: TaskSpec,
    options: TaskOptions,
    *,
    mounts: cgroup.Mounts,
    cores: int,
) -> ContainmentPlan:
    """`plan` with the limits that `options` asks for.

    Args:
        cores: what the node's whole compute is the time of.

    Raises:
        LaunchError: the host cannot enforce one of them.
    """
    place = _place(plan, run_name, mounts)
    if options.cpu_hard_limit:
        if spec.resources.cpu_share == 0:
            raise LaunchError("cpu_hard_limit", "true", "the job has no share of the node's CPU")
        if place.cpu is None:
            raise _cannot("cpu_hard_limit", "true")
        quota_us = max(int(spec.resources.cpu_share * cores * CPU_PERIOD_US), MIN_QUOTA_US)
        plan = _with_quota(plan, place.cpu, quota_us)
    if options.pids_limit is not None:
        if place.pids is None:
            raise _cannot("pids_limit", str(options.pids_limit))
        plan = _with_pids(plan, place.pids, options.pids_limit)
    return plan


def _place(plan: ContainmentPlan, run_name: str, mounts: cgroup.Mounts) -> _Place:
    match plan.tier:
        case Tier.CGROUP_V2:
            return _Place(plan.memory_path, plan.memory_path)
        case Tier.HYBRID | Tier.FREEZER:
            pids = mounts.v1.get("pids")
            return _Place(
                _joined_below(plan, mounts.v1.get("cpu")),
                pids / scope_name(run_name) if pids is not None else None,
            )
        case Tier.NONE:
            return _Place(None, None)


def _joined_below(plan: ContainmentPlan, root: Path | None) -> Path | None:
    if root is None:
        return None
    return next((path for path in plan.joined_paths if path.is_relative_to(root)), None)


def _with_quota(plan: ContainmentPlan, path: Path, quota_us: int) -> ContainmentPlan:
    if plan.tier is Tier.CGROUP_V2:
        limits = [("cpu.max", f"{quota_us} {CPU_PERIOD_US}")]
    else:
        limits = [("cpu.cfs_period_us", str(CPU_PERIOD_US)), ("cpu.cfs_quota_us", str(quota_us))]
    required = (RequiredLimit("cpu_hard_limit", path / name, value) for name, value in limits)
    return replace(plan, required=(*plan.required, *required))


def _with_pids(plan: ContainmentPlan, path: Path, limit: int) -> ContainmentPlan:
    required = (*plan.required, RequiredLimit("pids_limit", path / "pids.max", str(limit)))
    if plan.tier is Tier.CGROUP_V2:
        return replace(plan, required=required)
    # Nomad makes no cgroup of the v1 hierarchy `pids`.
    return replace(
        plan,
        own_paths=(*plan.own_paths, path),
        joined_paths=(*plan.joined_paths, path),
        required=required,
    )


def _cannot(option: str, value: str) -> LaunchError:
    return LaunchError(option, value, "this host has no cgroup to enforce it with")
