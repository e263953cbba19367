"""Limits that a job asks for by option: plans as values."""

import re
from pathlib import Path

import pytest

from tests.executor.test_containment import (
    BARE_HOST,
    HYBRID_HOST,
    ROOT,
    V1,
    V1_HOST,
    V2_HOST,
    anything,
    nothing,
    plan,
    spec,
)
from trio_driver.executor.limits import limit_plan
from trio_driver.executor.plan import ContainmentPlan
from trio_driver.linux.cgroup import Mounts
from trio_driver.model import LaunchError, TaskOptions

WITH_PIDS = {**V1, "pids": ROOT / "pids"}
SCOPE = ROOT / "nomad.slice/share.slice/alloc.web.scope"
OWN = "trio-driver-fence-run.scope"


def limited(
    mounts: Mounts, options: TaskOptions, *, share: float = 0.25, exists: bool = True
) -> ContainmentPlan:
    task = spec(cpu_share=share, cpuset_cgroup=str(SCOPE))
    base = plan(mounts, task, exists=anything if exists else nothing)
    return limit_plan(base, "fence-run", task, options, mounts=mounts, cores=8)


def written(made: ContainmentPlan) -> dict[Path, str]:
    return {limit.path: limit.value for limit in made.required}


def test_on_v2_they_are_limits_of_nomads_scope() -> None:
    made = limited(V2_HOST, TaskOptions(cpu_hard_limit=True, pids_limit=7))
    assert written(made) == {SCOPE / "cpu.max": "200000 100000", SCOPE / "pids.max": "7"}
    assert [limit.option for limit in made.required] == ["cpu_hard_limit", "pids_limit"]


def test_on_v2_without_nomads_scope_they_are_the_runs_own() -> None:
    made = limited(V2_HOST, TaskOptions(pids_limit=7), exists=False)
    assert written(made) == {ROOT / OWN / "pids.max": "7"}


@pytest.mark.parametrize("v1", [WITH_PIDS])
@pytest.mark.parametrize("unified", [ROOT / "unified", None])
def test_on_v1_the_quota_is_nomads_and_the_pids_are_ours(
    unified: Path | None, v1: dict[str, Path]
) -> None:
    made = limited(Mounts(unified, v1), TaskOptions(cpu_hard_limit=True, pids_limit=7))
    cpu = V1["cpu"] / "nomad/alloc.web"
    pids = ROOT / "pids" / OWN
    assert written(made) == {
        cpu / "cpu.cfs_period_us": "100000",
        cpu / "cpu.cfs_quota_us": "200000",
        pids / "pids.max": "7",
    }
    assert pids in made.own_paths
    assert pids in made.joined_paths


def test_a_tiny_share_is_the_least_that_the_kernel_takes() -> None:
    made = limited(V2_HOST, TaskOptions(cpu_hard_limit=True), share=1e-9)
    assert written(made) == {SCOPE / "cpu.max": "1000 100000"}


def test_what_is_not_asked_for_is_not_written() -> None:
    for host in (V2_HOST, HYBRID_HOST, V1_HOST, BARE_HOST):
        assert limited(host, TaskOptions()).required == ()


@pytest.mark.parametrize(
    ("host", "options", "share", "text"),
    [
        (BARE_HOST, TaskOptions(pids_limit=7), 1, 'pids_limit "7": this host has no cgroup'),
        (BARE_HOST, TaskOptions(cpu_hard_limit=True), 1, 'cpu_hard_limit "true": this host has no'),
        (V1_HOST, TaskOptions(pids_limit=7), 1, 'pids_limit "7": this host has no cgroup'),
        (V2_HOST, TaskOptions(cpu_hard_limit=True), 0, "the job has no share of the node's CPU"),
    ],
)
def test_what_the_host_cannot_enforce_is_an_error(
    host: Mounts, options: TaskOptions, share: float, text: str
) -> None:
    with pytest.raises(LaunchError, match=re.escape(text)):
        limited(host, options, share=share)
