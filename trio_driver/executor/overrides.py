"""A plan with the cgroups that a job names instead of Nomad's.

Rules:
- Killing still goes through a cgroup of the run alone: below the named v2 cgroup, or where it was
  for v1.
- No limit is written: those of the named cgroups, their owner's, hold.
- A cgroup that does not exist, or that this host cannot have, is an error.

Pure: `exists` is all that is asked of the host.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from trio_driver.executor.plan import ContainmentPlan
from trio_driver.linux import cgroup
from trio_driver.model import LaunchError, TaskOptions
from trio_driver.state import Tier


def override_plan(
    plan: ContainmentPlan,
    run_name: str,
    options: TaskOptions,
    *,
    mounts: cgroup.Mounts,
    exists: Callable[[Path], bool],
) -> ContainmentPlan:
    """`plan` with the cgroups that `options` names.

    Raises:
        LaunchError: a named cgroup is not there, or its hierarchy is not.
    """
    if not options.has_override:
        return plan
    dropped = set(plan.own_paths) - {plan.kill_path}
    bare = replace(
        plan,
        limits=(),
        own_paths=tuple(path for path in plan.own_paths if path not in dropped),
        joined_paths=tuple(path for path in plan.joined_paths if path not in dropped),
        memory_path=None if plan.memory_path in dropped else plan.memory_path,
        cpu_path=None if plan.cpu_path in dropped else plan.cpu_path,
    )
    if options.cgroup_v2_override:
        return _override_v2(bare, run_name, options.cgroup_v2_override, mounts, exists)
    return _override_v1(bare, run_name, options.cgroup_v1_override, mounts, exists)


def _override_v2(
    plan: ContainmentPlan,
    run_name: str,
    override: str,
    mounts: cgroup.Mounts,
    exists: Callable[[Path], bool],
) -> ContainmentPlan:
    if plan.tier not in (Tier.CGROUP_V2, Tier.HYBRID) or mounts.unified is None:
        raise _unusable("cgroup_v2_override", override, "this host has no cgroup v2 to write to")
    path = mounts.unified / override  # an absolute one stays as it is
    if not path.is_relative_to(mounts.unified):
        raise _unusable("cgroup_v2_override", override, f"not below {mounts.unified}")
    if not exists(path):
        raise _unusable("cgroup_v2_override", override, "no such file or directory")
    own = path / f"{run_name}.scope"
    plan = replace(plan, kill_path=own, own_paths=(own,))
    is_hybrid = plan.tier is Tier.HYBRID  # v1 counts there
    return plan if is_hybrid else replace(plan, memory_path=path, cpu_path=path)


def _override_v1(
    plan: ContainmentPlan,
    run_name: str,
    override: Mapping[str, str],
    mounts: cgroup.Mounts,
    exists: Callable[[Path], bool],
) -> ContainmentPlan:
    kill_path = plan.kill_path
    if kill_path is None:
        text = ", ".join(f"{name} = {path}" for name, path in override.items())
        raise _unusable("cgroup_v1_override", text, "this host has no cgroup v1 to write to")
    for controller, below in override.items():
        option = f"cgroup_v1_override.{controller}"
        root = mounts.v1.get(controller)
        if root is None:
            raise _unusable(option, below, f"this host has no cgroup v1 hierarchy {controller}")
        path = root / below.lstrip("/")
        if not exists(path):
            raise _unusable(option, below, "no such file or directory")
        if kill_path.is_relative_to(root):  # the freezer's: ours goes below it
            path = path / f"{run_name}.scope"
            plan = replace(plan, kill_path=path, own_paths=(path,))
        others = (each for each in plan.joined_paths if not each.is_relative_to(root))
        plan = replace(plan, joined_paths=(*others, path))
        if controller == "memory":
            plan = replace(plan, memory_path=path)
        if controller == "cpuset":
            plan = replace(plan, cpuset_path=None)
        if controller == "cpu":
            plan = replace(plan, cpu_path=path)
    return plan


def _unusable(option: str, value: str, reason: str) -> LaunchError:
    return LaunchError(option, value, f"unable to configure cgroups: {reason}")
