"""Which cgroups a run gets on which host, and what is written to them: plans as values."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from trio_driver.executor.children import Children
from trio_driver.executor.containment import (
    Containment,
    ContainmentPlan,
    host_mounts,
    may_write,
    plan_containment,
    tier_of,
)
from trio_driver.linux.cgroup import Mounts
from trio_driver.model import LaunchError, Resources, TaskSpec
from trio_driver.state import Tier

ROOT = Path("/sys/fs/cgroup")

V1: Mapping[str, Path] = {
    name: ROOT / name for name in ("freezer", "memory", "cpu", "cpuset", "name=systemd")
}

V2_HOST = Mounts(ROOT, {})
HYBRID_HOST = Mounts(ROOT / "unified", V1)
V1_HOST = Mounts(None, V1)
BARE_HOST = Mounts(None, {})

MIB = 1 << 20


def spec(**resources: object) -> TaskSpec:
    return TaskSpec(
        id="alloc/web/1",
        alloc_id="alloc",
        name="web",
        alloc_dir="/data/alloc",
        user="",
        stdout_path="",
        stderr_path="",
        env={},
        resources=Resources(**resources),  # pyright: ignore[reportArgumentType]
        msgpack_driver_config=b"",
    )


def anything(_path: Path) -> bool:
    return True


def nothing(_path: Path) -> bool:
    return False


def only_the_freezer(path: Path) -> bool:
    return path == V1["freezer"]


def plan(
    mounts: Mounts,
    task: TaskSpec,
    *,
    exists: Callable[[Path], bool] = nothing,
    may_write: Callable[[Path], bool] = anything,
) -> ContainmentPlan:
    return plan_containment("fence-run", task, mounts=mounts, exists=exists, may_write=may_write)


@pytest.mark.parametrize(
    ("mounts", "may_write", "tier"),
    [
        (V2_HOST, anything, Tier.CGROUP_V2),
        (HYBRID_HOST, anything, Tier.HYBRID),
        (V1_HOST, anything, Tier.FREEZER),
        (BARE_HOST, anything, Tier.NONE),
        (V2_HOST, nothing, Tier.NONE),
        (HYBRID_HOST, nothing, Tier.NONE),
        (V1_HOST, nothing, Tier.NONE),
        (HYBRID_HOST, only_the_freezer, Tier.FREEZER),
        (Mounts(None, {"memory": ROOT / "memory"}), anything, Tier.NONE),
    ],
)
def test_the_strongest_tier_that_may_be_written_is_taken(
    mounts: Mounts, may_write: Callable[[Path], bool], tier: Tier
) -> None:
    assert tier_of(mounts, may_write) is tier
    assert plan(mounts, spec(), may_write=may_write).tier is tier


@pytest.mark.parametrize("mounts", [V2_HOST, HYBRID_HOST, V1_HOST])
@pytest.mark.parametrize("exists", [nothing, anything])
def test_what_is_killed_is_a_cgroup_of_the_run_alone(
    mounts: Mounts, exists: Callable[[Path], bool]
) -> None:
    made = plan(mounts, spec(cpuset_cgroup=str(ROOT / "nomad.slice/share.slice/x")), exists=exists)
    assert made.kill_path is not None
    assert "fence-run" in made.kill_path.name
    assert made.kill_path in made.own_paths
    for path in made.own_paths:
        assert "fence-run" in path.name, "only what carries the run's name is removed with it"


def test_without_cgroups_there_is_nothing_to_make_join_or_limit() -> None:
    assert plan(BARE_HOST, spec(memory_hard_bytes=MIB)) == ContainmentPlan(tier=Tier.NONE)


def test_on_v2_the_run_is_below_nomads_scope_and_limits_are_the_scopes() -> None:
    scope = ROOT / "nomad.slice/share.slice/alloc.web.scope"
    task = spec(cpuset_cgroup=str(scope), memory_hard_bytes=MIB, cpu_shares_mhz=1024)
    made = plan(V2_HOST, task, exists=anything)
    assert made.kill_path == scope / "fence-run.scope"
    assert made.memory_path == scope
    assert dict(made.limits) == {scope / "memory.max": str(MIB), scope / "cpu.weight": "100"}
    assert made.born_in == made.kill_path


@pytest.mark.parametrize("scope", ["", str(ROOT / "nomad.slice/gone.scope"), "/elsewhere/x.scope"])
def test_on_v2_without_nomads_scope_the_run_has_one_of_its_own(scope: str) -> None:
    made = plan(V2_HOST, spec(cpuset_cgroup=scope, memory_hard_bytes=MIB))
    own = ROOT / "trio-driver-fence-run.scope"
    assert (made.kill_path, made.memory_path) == (own, own)
    assert dict(made.limits) == {own / "memory.max": str(MIB)}


def test_beside_v1_limits_go_to_nomads_directories_and_killing_to_ours() -> None:
    task = spec(memory_hard_bytes=MIB, memory_soft_bytes=7, cpu_shares_mhz=500)
    made = plan(HYBRID_HOST, task, exists=anything)
    nomads = {name: V1[name] / "nomad/alloc.web" for name in ("freezer", "memory", "cpu")}
    assert made.own_paths == (ROOT / "unified/trio-driver-fence-run.scope",)
    assert set(nomads.values()) <= set(made.joined_paths)
    assert dict(made.limits) == {
        nomads["memory"] / "memory.limit_in_bytes": str(MIB),
        nomads["memory"] / "memory.soft_limit_in_bytes": "7",
        nomads["cpu"] / "cpu.shares": "500",
    }
    assert made.memory_path == nomads["memory"]
    assert made.born_in == made.kill_path


def test_beside_v1_without_nomads_directories_the_limits_go_to_ours() -> None:
    made = plan(HYBRID_HOST, spec(memory_hard_bytes=MIB))
    own = V1["memory"] / "trio-driver-fence-run.scope"
    assert own in made.own_paths
    assert own in made.joined_paths
    assert dict(made.limits) == {own / "memory.limit_in_bytes": str(MIB)}


def test_on_v1_alone_the_run_is_a_child_of_nomads_freezer() -> None:
    made = plan(V1_HOST, spec(), exists=anything)
    nomad = V1["freezer"] / "nomad/alloc.web"
    assert made.kill_path == nomad / "fence-run.scope"
    assert nomad not in made.joined_paths, "a process is in one cgroup of a hierarchy"
    assert made.born_in is None


def test_the_cpuset_of_nomad_is_joined_where_it_exists() -> None:
    share = V1["cpuset"] / "nomad/share"
    task = spec(cpuset_cgroup=str(share))
    for host in (HYBRID_HOST, V1_HOST):
        assert plan(host, task, exists=anything).cpuset_path == share
        assert plan(host, task, exists=nothing).cpuset_path is None


def test_a_cpuset_that_is_not_below_its_hierarchy_is_not_joined() -> None:
    made = plan(HYBRID_HOST, spec(cpuset_cgroup="/etc"), exists=anything)
    assert made.cpuset_path is None


def test_a_cpuset_of_the_tasks_own_gets_its_cpus_from_us() -> None:
    own = V1["cpuset"] / "nomad/reserve/alloc.web"
    made = plan(HYBRID_HOST, spec(cpuset_cgroup=str(own), cpuset_cpus="1"), exists=anything)
    assert dict(made.limits)[own / "cpuset.cpus"] == "1"


@pytest.mark.parametrize(
    ("resources", "v2", "v1"),
    [
        ({}, {}, {}),
        (
            {"memory_hard_bytes": None, "memory_soft_bytes": MIB},
            {"memory.max": "max", "memory.low": str(MIB)},
            {"memory.limit_in_bytes": "-1", "memory.soft_limit_in_bytes": str(MIB)},
        ),
        ({"cpu_shares_mhz": 1}, {"cpu.weight": "1"}, {"cpu.shares": "2"}),
        ({"cpuset_cpus": "1,3"}, {"cpuset.cpus": "1,3"}, {}),
    ],
)
def test_limits_are_what_nomads_own_executors_write(
    resources: dict[str, object], v2: dict[str, str], v1: dict[str, str]
) -> None:
    for host, expected in ((V2_HOST, v2), (HYBRID_HOST, v1), (V1_HOST, v1)):
        made = plan(host, spec(**resources))
        assert {path.name: value for path, value in made.limits} == expected


@pytest.mark.parametrize("mounts", [V2_HOST, HYBRID_HOST, V1_HOST, BARE_HOST])
def test_the_record_tells_all_that_must_be_killed_and_removed(mounts: Mounts) -> None:
    made = plan(mounts, spec(memory_hard_bytes=MIB))
    record = made.record()
    assert record.tier is made.tier
    assert tuple(map(Path, record.own_paths)) == made.own_paths
    assert record.kill_path == str(made.kill_path or "")
    assert record.memory_path == str(made.memory_path or "")


@pytest.mark.cgroup
async def test_what_a_refused_limit_leaves_half_made_is_removed() -> None:
    if tier_of(host_mounts(), may_write) is Tier.NONE:
        pytest.skip("no cgroup may be made here")
    plan = plan_containment(
        f"test-{os.getpid()}", spec(memory_hard_bytes=-5, cpu_shares_mhz=100), mounts=host_mounts()
    )
    containment = Containment(plan, Children())
    with pytest.raises(LaunchError, match=r"cgroup limit .*memory.* Invalid argument"):
        containment.make()
    assert all(path.is_dir() for path in plan.own_paths)
    assert await containment.close(limit_s=5)
    assert not any(path.exists() for path in plan.own_paths)
