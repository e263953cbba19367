"""`trio-driver fsck`: finds what nobody owns, removes that and nothing else."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from tests.support.family import freeze, kill, thaw
from tests.support.host import Host, open_host
from tests.support.scripts import FAMILY, FAMILY_SIZE, SLEEP
from tests.support.task import Task
from trio_driver.cli.commands import run_command_line
from trio_driver.cli.findings import Finding, survey
from trio_driver.linux import cgroup, is_alive
from trio_driver.model import Exited, Lost
from trio_driver.state import (
    ExitRecord,
    Run,
    StateDirectory,
    open_state_directory,
    scope_name,
)

from .on_host import trio_driver

pytestmark = pytest.mark.cgroup

needs_cgroups = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes cgroups")


async def fsck(host: Host, *options: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit code, and the findings of this host's state directory by kind."""
    result = await trio_driver(host, "fsck", "--json", *options)
    assert result.stderr == ""
    found = json.loads(result.stdout)["findings"]
    # Beside us, tests of an earlier version may run.
    return result.returncode, {
        each["kind"]: each for each in found if each["kind"] != "cgroup without an owner"
    }


@asynccontextmanager
async def abandoned(script: str = FAMILY) -> AsyncGenerator[tuple[Host, Task]]:
    """A host where plugin, spawner and executor were killed at once while a task ran."""
    async with open_host() as host:
        task = host.sh(script)
        await host.start(task)
        await task.out.wait_for("ready")
        with contextlib.ExitStack() as stack:
            for process in (host.plugin.process, host.spawner):
                await freeze(process)
                stack.callback(thaw, process)
            await kill(task.executor)
            await kill(host.plugin.process)
            await host.kill_spawner(is_replaced=False)
            await host.plugin.kill()
        yield host, task
        host.spawner_files = set()
        await host.launch()


async def test_a_host_where_all_is_well_has_nothing_to_repair() -> None:
    async with open_host() as host:
        for _ in range(2):
            task = host.sh(FAMILY)
            await host.start(task)
            await task.out.wait_for("ready")
        ended = host.sh("true")
        await host.start(ended)
        await host.plugin.wait(ended)
        await host.becomes(executors=2, workloads=2 * FAMILY_SIZE)
        before = host.family.look()
        assert await fsck(host, "--repair") == (0, {})
        assert host.family.look() == before
        assert ended.run.read_exit() is not None


async def test_what_a_triple_failure_left_is_told_and_stays_without_repair() -> None:
    async with abandoned() as (host, task):
        code, found = await fsck(host)
        assert code == 1
        assert {"run without an executor", "files of a dead spawner"} <= found.keys()
        told = found["run without an executor"]
        assert f"executor {task.record.pid} is dead" in told["why"]
        assert (told["is_repairable"], told["result"]) == (True, None)
        assert task.run.read_exit() is None
        assert await fsck(host) == (code, found)


async def test_repair_ends_what_is_left_and_keeps_the_truth_for_nomad() -> None:
    async with abandoned() as (host, task):
        code, found = await fsck(host, "--repair")
        assert code == 0
        assert found["run without an executor"]["result"] == "repaired"
        record = task.run.read_exit()
        assert record is not None
        assert isinstance(record.exit, Lost)
        await host.becomes(plugins=0, spawners=0)
        assert sorted(path.name for path in host.state_dir.iterdir()) == ["locks", "runs"]
        assert await fsck(host) == (0, {})


async def test_a_stopped_executor_owns_its_run() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        await host.start(task)
        await freeze(task.executor)
        assert await fsck(host, "--repair") == (0, {})
        assert is_alive(task.executor)
        thaw(task.executor)


async def test_two_that_repair_at_once_do_no_harm() -> None:
    async with abandoned() as (host, _):
        codes: list[int] = []

        async def repair() -> None:
            codes.append((await fsck(host, "--repair"))[0])

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(repair)
        assert codes == [0, 0, 0]
        assert await fsck(host) == (0, {})


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return open_state_directory(tmp_path / "state")


def run_of(state: StateDirectory) -> Run:
    return state.run_of(task_id="alloc/web/1", alloc_id="alloc", task_name="web")


def found(state: StateDirectory) -> list[Finding]:
    """All findings but for what other tests on this host have."""
    others = ("cgroup without an owner", "socket of a dead plugin")
    return [finding for finding in survey(state) if finding.kind not in others]


def repair(state: StateDirectory) -> int:
    return run_command_line(["fsck", "--repair", "--state-dir", str(state.path)])


def make_unrecorded(run: Run) -> None:
    run.create()


def make_torn(run: Run) -> None:
    run.create()
    (run.path / "executor.json").write_text("{")


def make_torn_exit(run: Run) -> None:
    run.create()
    (run.path / "exit.json").write_text("[]")


def make_old(run: Run) -> None:
    run.create()
    run.write_exit(ExitRecord(exit=Exited(0), ended_at_s=time.time() - 2 * 86400, boot_id="x"))


STALE = {
    "run without a record": make_unrecorded,
    "unreadable record": make_torn,
    "unreadable record ": make_torn_exit,
    "old record": make_old,
}


@pytest.mark.parametrize("kind", STALE)
def test_a_run_that_nobody_owns_is_removed(state: StateDirectory, kind: str) -> None:
    STALE[kind](run_of(state))
    assert [finding.kind for finding in found(state)] == [kind.strip()]
    repair(state)
    assert found(state) == []
    assert not run_of(state).exists()
    assert list((state.path / "locks").iterdir()) == []


@contextmanager
def held(path: Path) -> Generator[int]:
    """Another process holds the lock at `path`."""
    code = (
        "import sys; from pathlib import Path; from trio_driver.state import Fence\n"
        "Fence.try_take(Path(sys.argv[1])); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


@pytest.mark.parametrize("kind", ["run without a record", "unreadable record"])
def test_a_run_whose_fence_is_held_is_left_alone(state: StateDirectory, kind: str) -> None:
    run = run_of(state)
    STALE[kind](run)
    [stale] = found(state)
    assert stale.fix is not None
    with held(state.lock_path(run.fence)) as pid:
        for finding in found(state):
            assert finding.fix is None
            assert str(pid) in finding.why
        # Found before it was owned: the step looks again.
        assert trio.run(stale.fix) is False
        assert run.exists()


def test_a_fence_that_is_held_and_has_no_run_is_told(state: StateDirectory) -> None:
    with held(state.lock_path(run_of(state).fence)) as pid:
        [finding] = found(state)
        assert (finding.kind, finding.what, finding.fix) == (
            "executor without a run",
            f"pid {pid}",
            None,
        )


def test_a_record_of_a_later_version_is_left_alone(state: StateDirectory) -> None:
    run = run_of(state)
    make_old(run)
    record = msgspec.json.decode((run.path / "exit.json").read_bytes())
    (run.path / "exit.json").write_bytes(msgspec.json.encode({**record, "schema": 99}))
    [finding] = found(state)
    assert (finding.kind, finding.fix) == ("unreadable record", None)
    assert repair(state) == 1
    assert run.exists()


def test_a_free_lock_is_removed(state: StateDirectory) -> None:
    path = state.lock_path(run_of(state).fence)
    path.touch()
    [finding] = found(state)
    assert (finding.kind, finding.what) == ("lock without a run", str(path))
    repair(state)
    assert not path.exists()


def test_a_half_removed_run_is_removed(state: StateDirectory) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    ours = state.path / "runs" / f".{run_of(state).name}.{os.getpid()}"
    theirs = state.path / "runs" / f".{run_of(state).name}.{dead.pid}"
    for path in (ours, theirs):
        path.mkdir()
    assert [finding.what for finding in found(state)] == [str(theirs)]
    repair(state)
    assert ours.exists()
    assert not theirs.exists()


def test_a_dead_spawners_files_are_removed_and_a_living_ones_are_not(
    state: StateDirectory,
) -> None:
    for build in ("dead", "living"):
        for suffix in ("lock", "socket", "log"):
            (state.path / f"spawner-{build}.{suffix}").touch()
    with held(state.path / "spawner-living.lock"):
        [finding] = found(state)
        assert "spawner-dead.lock" in finding.what
        repair(state)
        names = {path.name for path in state.path.glob("spawner-*")}
    assert names == {f"spawner-living.{suffix}" for suffix in ("lock", "socket", "log")}


def test_a_log_without_a_lock_is_stale_when_it_is_old(state: StateDirectory) -> None:
    path = state.path / "spawner-failed.log"
    path.touch()
    assert found(state) == []
    an_hour_ago_s = time.time() - 3600
    os.utime(path, (an_hour_ago_s, an_hour_ago_s))
    assert [finding.what for finding in found(state)] == [str(path)]
    repair(state)
    assert not path.exists()
    assert not path.with_suffix(".lock").exists()


@contextmanager
def cgroup_of(run: Run, *, owner: str) -> Generator[tuple[Path, "subprocess.Popen[bytes]"]]:
    """A cgroup with the name of the run's, and a process in it."""
    mounts = cgroup.find_mounts()
    root = mounts.unified or mounts.v1["freezer"]
    path = root / scope_name(run.name)
    cgroup.make(path)
    try:
        if owner:
            cgroup.set_owner(path, owner)
        with subprocess.Popen(["sleep", "1000"]) as process:
            cgroup.join(path, pid=process.pid)
            yield path, process
            process.kill()
    finally:
        cgroup.remove_tree(path)


@needs_cgroups
@pytest.mark.parametrize("has_directory", [True, False], ids=["state", "no-state"])
def test_a_cgroup_of_ours_without_a_run_is_emptied_and_removed(
    state: StateDirectory, has_directory: bool
) -> None:
    if not has_directory:
        for path in (state.path / "runs", state.path / "locks", state.path):
            path.rmdir()
    with cgroup_of(run_of(state), owner=str(state.path)) as (path, process):
        [finding] = found(state)
        assert (finding.kind, finding.what) == ("cgroup without a run", str(path))
        assert str(process.pid) in finding.why
        repair(state)
        assert process.wait(60) == -signal.SIGKILL
        assert not path.exists()
    assert state.path.exists() == has_directory


@needs_cgroups
@pytest.mark.parametrize("owner", ["/run/another", ""], ids=["another", "unknown"])
def test_a_cgroup_of_another_state_directory_is_left_alone(
    state: StateDirectory, owner: str
) -> None:
    with cgroup_of(run_of(state), owner=owner) as (path, process):
        findings = [each for each in survey(state) if each.what == str(path)]
        assert [each.fix for each in findings] == ([] if owner else [None])
        repair(state)
        assert process.poll() is None
        assert path.exists()


@needs_cgroups
def test_a_cgroup_whose_run_came_meanwhile_is_left_alone(state: StateDirectory) -> None:
    run = run_of(state)
    with cgroup_of(run, owner=str(state.path)) as (path, process):
        [finding] = found(state)
        assert finding.fix is not None
        run.create()
        assert trio.run(finding.fix) is False
        assert process.poll() is None
        assert path.exists()
        run.remove()


@needs_cgroups
async def test_an_executor_notes_its_state_directory_with_its_cgroups() -> None:
    async with open_host() as host:
        task = host.sh(SLEEP)
        await host.start(task)
        containment = task.record.containment
        assert containment is not None
        assert {cgroup.owner(Path(path)) for path in containment.own_paths} == {str(host.state_dir)}


def test_the_socket_of_a_dead_plugin_is_removed(
    state: StateDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    paths = [tmp_path / f"trio-driver-{name}.sock" for name in ("dead", "living")]
    listeners = [socket.socket(socket.AF_UNIX) for _ in paths]
    for listener, path in zip(listeners, paths, strict=True):
        listener.bind(str(path))
        listener.listen()
    listeners[0].close()
    repair(state)
    listeners[1].close()
    assert [path.exists() for path in paths] == [False, True]


def test_looking_makes_nothing(tmp_path: Path) -> None:
    run_command_line(["fsck", "--state-dir", str(tmp_path / "state")])
    assert list(tmp_path.iterdir()) == []
