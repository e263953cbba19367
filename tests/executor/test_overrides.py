"""Cgroups that a job names instead of Nomad's: plans as values."""

import re
from collections.abc import Mapping

import pytest

from tests.executor.test_containment import (
    BARE_HOST,
    HYBRID_HOST,
    MIB,
    ROOT,
    V1,
    V1_HOST,
    V2_HOST,
    anything,
    nothing,
    plan,
    spec,
)
from trio_driver.executor.overrides import override_plan
from trio_driver.executor.plan import ContainmentPlan
from trio_driver.linux.cgroup import Mounts
from trio_driver.model import LaunchError, TaskOptions, TaskSpec

TASK = spec(memory_hard_bytes=MIB, cpu_shares_mhz=500)


def overridden(
    mounts: Mounts,
    *,
    v2: str = "",
    v1: Mapping[str, str] | None = None,
    exists: bool = True,
    task: TaskSpec = TASK,
) -> ContainmentPlan:
    look = anything if exists else nothing
    base = plan(mounts, task, exists=look)
    options = TaskOptions(cgroup_v2_override=v2, cgroup_v1_override=v1 or {})
    return override_plan(base, "fence-run", options, mounts=mounts, exists=anything)


@pytest.mark.parametrize("path", ["my.slice/web", str(ROOT / "my.slice/web")])
def test_on_v2_the_run_is_below_the_named_cgroup_and_writes_no_limits(path: str) -> None:
    made = overridden(V2_HOST, v2=path)
    own = ROOT / "my.slice/web/fence-run.scope"
    assert (made.kill_path, made.own_paths, made.born_in) == (own, (own,), own)
    assert (made.limits, made.memory_path) == ((), ROOT / "my.slice/web")


def test_beside_v1_a_v2_override_moves_only_the_cgroup_that_is_killed() -> None:
    made = overridden(HYBRID_HOST, v2="web")
    assert made.kill_path == ROOT / "unified/web/fence-run.scope"
    assert made.own_paths == (made.kill_path,)
    assert V1["memory"] / "nomad/alloc.web" in made.joined_paths
    assert made.limits == ()


@pytest.mark.parametrize("host", [HYBRID_HOST, V1_HOST])
@pytest.mark.parametrize("exists", [True, False])
def test_a_v1_override_is_joined_instead_of_nomads_and_writes_no_limits(
    host: Mounts, exists: bool
) -> None:
    made = overridden(host, v1={"memory": "/web", "cpuset": "other/web"}, exists=exists)
    before = plan(host, TASK, exists=anything if exists else nothing)
    assert {V1["memory"] / "web", V1["cpuset"] / "other/web"} <= set(made.joined_paths)
    assert V1["memory"] / "nomad/alloc.web" not in made.joined_paths
    assert made.kill_path == before.kill_path
    assert made.kill_path in made.own_paths
    assert (made.limits, made.memory_path) == ((), V1["memory"] / "web")
    assert (V1["cpu"] / "nomad/alloc.web" in made.joined_paths) is exists
    assert set(made.own_paths) == {made.kill_path}, "nothing is made that would limit nothing"
    for path in made.own_paths:
        assert "fence-run" in path.name


def test_an_overridden_freezer_holds_the_runs_own_cgroup_on_v1() -> None:
    made = overridden(V1_HOST, v1={"freezer": "web"})
    own = V1["freezer"] / "web/fence-run.scope"
    assert (made.kill_path, made.own_paths) == (own, (own,))
    assert own in made.joined_paths
    assert [path for path in made.joined_paths if path.is_relative_to(V1["freezer"])] == [own]


@pytest.mark.parametrize(
    ("host", "options", "text"),
    [
        (
            V1_HOST,
            {"v2": "web"},
            'cgroup_v2_override "web": unable to configure cgroups: this host',
        ),
        (BARE_HOST, {"v2": "web"}, 'cgroup_v2_override "web": unable to configure cgroups: this'),
        (
            V2_HOST,
            {"v2": "/etc"},
            'cgroup_v2_override "/etc": unable to configure cgroups: not bel',
        ),
        (V2_HOST, {"v1": {"cpu": "w"}}, 'cgroup_v1_override.cpu "w": unable to configure cgroups'),
        (HYBRID_HOST, {"v1": {"x": "w"}}, "this host has no cgroup v1 hierarchy x"),
        (BARE_HOST, {"v1": {"cpu": "w"}}, 'cgroup_v1_override "cpu = w": unable to configure'),
    ],
)
def test_what_the_host_cannot_have_is_an_error(
    host: Mounts, options: dict[str, str], text: str
) -> None:
    with pytest.raises(LaunchError, match=re.escape(text)):
        overridden(host, **options)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "options", [{"cgroup_v2_override": "x"}, {"cgroup_v1_override": {"cpu": "x"}}]
)
def test_a_cgroup_that_is_not_there_is_an_error_as_raw_execs(options: dict[str, str]) -> None:
    wanted = TaskOptions(**options)  # pyright: ignore[reportArgumentType]
    base = plan(HYBRID_HOST, TASK, exists=anything)
    text = '"x": unable to configure cgroups: no such file or directory'
    with pytest.raises(LaunchError, match=text):
        override_plan(base, "fence-run", wanted, mounts=HYBRID_HOST, exists=nothing)
