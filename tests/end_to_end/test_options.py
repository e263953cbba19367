"""The options of raw_exec, with the real plugin on this host (nomad-protocol §9.2)."""

import os
import pwd
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.test_start_errors import fails
from tests.support.exits import assert_exited, assert_signaled
from tests.support.host import open_host
from tests.support.scripts import SLEEP
from tests.support.tier import HostKind, host_of
from trio_driver.linux import cgroup
from trio_driver.rpc import RpcError

pytestmark = pytest.mark.cgroup

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
MOUNTS = cgroup.find_mounts()
needs_v1 = pytest.mark.skipif(not MOUNTS.v1, reason="needs cgroup v1")
V2_KINDS = [kind for kind in (HostKind.NATIVE, HostKind.V2) if host_of(kind) is not None]
needs_v2 = pytest.mark.skipif(MOUNTS.unified is None, reason="needs cgroup v2")


@contextmanager
def own_cgroup(root: Path | None) -> Generator[Path]:
    """A cgroup that an operator made, below `root`."""
    assert root is not None
    path = root / f"trio-driver-test-{uuid.uuid4().hex[:8]}"
    path.mkdir()
    try:
        yield path
    finally:
        path.rmdir()


async def test_denied_variables_of_plugin_and_job_do_not_reach_the_task() -> None:
    async with open_host(config={"denied_envvars": ["AWS_*"]}) as host:
        env = {"AWS_KEY": "1", "MY_TOKEN": "2", "KEPT": "3", "TOKEN_MY": "4"}
        task = host.task("env", env=env, logs=True, config={"denied_envvars": ["*_TOKEN"]})
        handle = await host.start(task)
        text = await task.out.wait_end()
        assert "KEPT=3" in text
        assert "TOKEN_MY=4" in text
        assert "AWS_KEY" not in text
        assert "MY_TOKEN" not in text
        assert handle.config.env["AWS_KEY"] == "1", "the handle echoes what came (H6)"


@needs_root
@pytest.mark.parametrize("user", ["", "root", "0"])
async def test_a_denied_uid_is_refused_whatever_its_name(user: str) -> None:
    async with open_host(config={"denied_host_uids": "0-5"}) as host:
        for _ in range(2):
            with pytest.raises(RpcError, match="running as uid 0 is disallowed"):
                await host.plugin.start(host.task("true", user=user))
        await host.becomes(spawners=0)  # refused before anything was made
        task = host.task("true", user="nobody")
        await host.start(task)
        assert_exited(await host.plugin.wait(task), 0)


@needs_root
async def test_every_group_of_the_user_is_checked() -> None:
    nobody = pwd.getpwnam("nobody")
    for gid in {nobody.pw_gid, *os.getgrouplist("nobody", nobody.pw_gid)}:
        async with open_host(config={"denied_host_gids": str(gid)}) as host:
            with pytest.raises(RpcError, match=f"running as gid {gid} is disallowed"):
                await host.plugin.start(host.task("true", user="nobody"))


@needs_root
async def test_without_a_user_the_groups_are_those_of_the_agent() -> None:
    async with open_host(config={"denied_host_gids": str(os.getegid())}) as host:
        with pytest.raises(RpcError, match=f"running as gid {os.getegid()} is disallowed"):
            await host.plugin.start(host.task("true"))


async def test_a_range_that_is_none_refuses_the_plugins_configuration() -> None:
    async with open_host() as host:
        text = (
            'denied_host_uids: invalid range deniedHostUIDs "100-1": lower bound cannot be greater'
        )
        with pytest.raises(RpcError, match=text):
            await host.launch(config={"denied_host_uids": "100-1"})


async def test_the_score_for_the_out_of_memory_killer_is_the_tasks() -> None:
    async with open_host() as host:
        for score, config in ((0, {}), (321, {"oom_score_adj": 321})):
            script = "cat /proc/self/oom_score_adj"
            task = host.sh(script, config={**config, "command": "/bin/sh", "args": ["-c", script]})
            await host.start(task)
            assert await task.out.wait_end() == f"{score}\n"


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"oom_score_adj": -1}, "oom_score_adj must not be negative: -1 is not accepted"),
        ({"oom_score_adj": 1001}, "oom_score_adj 1001 is not accepted; expected 0 to 1000"),
        (
            {"cgroup_v2_override": "a", "cgroup_v1_override": [{"cpu": "b"}]},
            "only one of cgroups_v1_override and cgroups_v2_override may be set",
        ),
        (
            {"cgroup_v2_override": "no-such-cgroup"},
            'cgroup_v2_override "no-such-cgroup": unable to',
        ),
        ({"cgroup_v1_override": [{"cpu": "no-such"}]}, 'cgroup_v1_override.cpu "no-such": unable'),
    ],
)
async def test_a_wrong_option_is_refused_by_name_and_value(
    config: dict[str, object], text: str
) -> None:
    async with open_host() as host:
        await fails(host, host.task("true", config=config), text)


async def test_a_log_level_that_is_none_is_refused_with_those_that_are() -> None:
    async with open_host() as host:
        with pytest.raises(RpcError, match='"loud" is not accepted; expected one of "debug"'):
            await host.launch(config={"log_level": "loud"})


async def test_the_log_level_is_that_of_plugin_spawner_and_executor() -> None:
    async with open_host(config={"log_level": "error"}) as host:
        task = host.sh("exit 0")
        await host.start(task)
        await host.plugin.wait(task)
        assert "INFO" not in "".join(p.read_text() for p in host.state_dir.glob("spawner-*.log"))
        assert not [each for each in host.plugin.log if each.level.value in ("info", "debug")]


@needs_root
@needs_v2
@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("kind", V2_KINDS)
async def test_a_task_runs_in_a_cgroup_of_its_own_below_the_v2_override(
    absolute: bool, kind: HostKind
) -> None:
    with own_cgroup(MOUNTS.unified) as path:
        async with open_host(kind=kind) as host:
            override = str(path) if absolute else path.name
            task = host.task("sleep", "600", config={"cgroup_v2_override": override})
            await host.start(task)
            own = path / f"{task.run.name}.scope"
            assert task.workload_pid in cgroup.procs(own)
            await host.plugin.stop(task, grace_s=5)
            assert_signaled(await host.plugin.wait(task), 2)
            assert not own.exists()
            assert path.is_dir(), "the operator's own"


@needs_root
@needs_v2
async def test_killing_goes_through_our_own_cgroup_and_spares_others_of_the_override() -> None:
    with own_cgroup(MOUNTS.unified) as path:
        async with open_host() as host:
            tasks = [host.sh(f"setsid sleep 600 & {SLEEP}", name=name) for name in ("one", "two")]
            for task in tasks:
                task.config.msgpack_driver_config = host.task(
                    *("/bin/sh", "-c", f"setsid sleep 600 & {SLEEP}"),
                    name=task.config.name,
                    config={"cgroup_v2_override": path.name},
                ).config.msgpack_driver_config
                await host.start(task)
                await task.out.wait_for("ready")
            await host.plugin.stop(tasks[0])
            assert not cgroup.procs(path / f"{tasks[0].run.name}.scope")
            assert tasks[1].workload_pid in cgroup.procs(path / f"{tasks[1].run.name}.scope")


@needs_root
@needs_v1
async def test_a_task_joins_the_v1_overrides_and_is_still_killed_whole() -> None:
    with own_cgroup(MOUNTS.v1["cpu"]) as cpu, own_cgroup(MOUNTS.v1["pids"]) as pids:
        async with open_host() as host:
            override = [{"cpu": cpu.name, "pids": f"/{pids.name}"}]
            config = {"cgroup_v1_override": override}
            task = host.task("sleep", "600", config=config)
            await host.start(task)
            assert task.workload_pid in cgroup.procs(cpu)
            assert task.workload_pid in cgroup.procs(pids)
            assert task.record.containment is not None
            assert task.workload_pid in cgroup.procs(Path(task.record.containment.kill_path))
            await host.plugin.stop(task)
            assert cgroup.procs(cpu) == []
