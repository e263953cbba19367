"""`trio-driver destroy`: from disk alone, with or without anybody else."""

import json
import os
from pathlib import Path

import pytest

from tests.support.family import kill
from tests.support.host import open_host
from tests.support.scripts import FAMILY, SLEEP
from trio_driver.cli.commands import run_command_line
from trio_driver.linux import cgroup
from trio_driver.state import open_state_directory

from .on_host import trio_driver

pytestmark = pytest.mark.cgroup


@pytest.mark.parametrize("is_spawner_dead", [False, True], ids=["spawner", "no-spawner"])
async def test_nothing_is_left_of_a_task_without_a_plugin(is_spawner_dead: bool) -> None:
    async with open_host() as host:
        task = host.sh(FAMILY)
        await host.start(task)
        await task.out.wait_for("ready")
        await host.plugin.kill()
        if is_spawner_dead:
            await host.kill_spawner(is_replaced=False)
        executor = task.executor
        result = await trio_driver(host, "destroy", task.id)
        assert (result.returncode, result.stderr) == (0, "")
        assert str(executor.pid) in result.stdout
        await host.nothing_is_left()
        again = await trio_driver(host, "destroy", task.id)
        assert again.returncode == 2
        assert f'no task "{task.id}"' in again.stderr
        await host.launch()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave its cgroup")
async def test_what_left_its_cgroup_ends_too_when_the_spawner_is_dead() -> None:
    async with open_host() as host:
        unified = cgroup.find_mounts().unified or cgroup.find_mounts().v1["freezer"]
        task = host.sh(
            f"setsid sh -c 'echo 0 > {unified}/cgroup.procs; echo out; {SLEEP}' & {SLEEP}"
        )
        await host.start(task)
        await task.out.wait_for("out")
        await host.plugin.kill()
        await host.kill_spawner(is_replaced=False)
        assert (await trio_driver(host, "destroy", task.id)).returncode == 0
        await host.nothing_is_left()
        await host.launch()


async def test_others_are_left_alone_and_nomad_is_told() -> None:
    async with open_host() as host:
        first, second = host.sh(SLEEP), host.sh(SLEEP)
        await host.start(first)
        await host.start(second)
        executor = first.executor
        result = await trio_driver(host, "destroy", "--json", first.config.alloc_id[:13])
        [told] = json.loads(result.stdout)
        assert (told["task_id"], told["is_gone"], told["state"]) == (first.id, True, "committed")
        assert told["executor_pid"] == executor.pid
        await host.becomes(executors=1, workloads=1)
        assert (await host.plugin.wait(first)).err


async def test_a_wrong_name_ends_nothing() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        await host.start(task)
        result = await trio_driver(host, "destroy", task.id, "nobody")
        assert result.returncode == 2
        await host.becomes(executors=1, workloads=1)


async def test_all_of_them_only_with_a_confirmation() -> None:
    async with open_host() as host:
        for _ in range(2):
            await host.start(host.sh(SLEEP))
        refused = await trio_driver(host, "destroy", "--all")
        assert refused.returncode == 2
        assert "--yes" in refused.stderr
        await host.becomes(executors=2, workloads=2)
        assert (await trio_driver(host, "destroy", "--all", "--yes")).returncode == 0
        await host.nothing_is_left()
        assert (await trio_driver(host, "destroy", "--all", "--yes")).returncode == 0


async def test_a_killed_executors_remains_are_removed() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        await host.start(task)
        await host.plugin.kill()
        await kill(task.executor)
        result = await trio_driver(host, "destroy", "web")
        assert result.returncode == 0
        await host.nothing_is_left()
        await host.launch()


def test_a_torn_record_does_not_protect_its_run(tmp_path: Path) -> None:
    state = open_state_directory(tmp_path / "state")
    run = state.run_of(task_id="a/b/c", alloc_id="a", task_name="b")
    run.create()
    (run.path / "executor.json").write_text("{")
    assert run_command_line(["destroy", "--state-dir", str(state.path), run.name]) == 0
    assert not run.exists()


def test_nothing_is_made_where_nothing_is(tmp_path: Path) -> None:
    path = tmp_path / "state"
    assert run_command_line(["destroy", "--state-dir", str(path), "web"]) == 2
    assert run_command_line(["destroy", "--state-dir", str(path), "--all"]) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [[], ["web", "--all"]])
def test_tasks_and_all_exclude_each_other(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["destroy", *words]) == 2
    assert "--all" in capsys.readouterr().err
