"""Ending a run from disk alone: whose pid is stored is not killed for it, what is left is told."""

import os
import signal
import time
from pathlib import Path

import msgspec
import pytest

from tests.support.forks import forked
from trio_driver.linux import ProcessId, boot_id, cgroup, is_alive
from trio_driver.model import Exited, Lost
from trio_driver.state import (
    ContainmentRecord,
    ExecutorRecord,
    Fence,
    Remains,
    Run,
    RunState,
    StateDirectory,
    Tier,
    destroy_run,
    end_run,
    kill_run,
    open_state_directory,
    remove_free_fences,
    settle_run,
)

from .test_records import COMMIT, EXECUTOR, EXIT

REASON = "the test says so"


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return open_state_directory(tmp_path / "state")


@pytest.fixture
def run(state: StateDirectory) -> Run:
    run = state.run_of(task_id="alloc/web/1", alloc_id="alloc", task_name="web")
    run.create()
    return run


def record_of(process: ProcessId, **changes: object) -> ExecutorRecord:
    fields = {"pid": process.pid, "start_ticks": process.start_ticks, "boot_id": process.boot_id}
    return msgspec.structs.replace(EXECUTOR, containment=None, **{**fields, **changes})


def sleep_deaf() -> None:
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, signal.SIG_IGN)


def test_a_run_without_a_directory_has_nothing_to_kill(state: StateDirectory) -> None:
    run = state.run_of(task_id="x", alloc_id="x", task_name="x")
    assert kill_run(run) == Remains()


async def test_ending_a_run_kills_its_executor_and_records_it_as_lost(run: Run) -> None:
    with forked(sleep_deaf) as executor:
        run.write_executor(record_of(executor.process))
        run.commit(COMMIT)
        settled = await end_run(run, reason=REASON)
        assert not is_alive(executor.process)
    assert settled is not None
    assert settled.exit == Lost(REASON)
    assert settled.started_at_s == COMMIT.started_at_s
    assert settled.ended_at_s == pytest.approx(time.time(), abs=5)
    assert run.read_exit() == settled
    assert run.state() is RunState.ENDED


async def test_an_exit_that_was_recorded_stands(run: Run) -> None:
    with forked(sleep_deaf) as executor:
        run.write_executor(record_of(executor.process))
        run.write_exit(EXIT)
        settled = await end_run(run, reason=REASON)
        assert not is_alive(executor.process)
    assert settled is not None
    assert settled.exit == Exited(3)


async def test_ending_and_destroying_twice_is_no_error(state: StateDirectory, run: Run) -> None:
    with forked(sleep_deaf) as executor:
        run.write_executor(record_of(executor.process))
        for _ in range(2):
            await end_run(run, reason=REASON)
        for _ in range(2):
            await destroy_run(state, run)
    assert not run.exists()


@pytest.mark.parametrize("changes", [{"boot_id": "another boot"}, {"start_ticks": 1}])
async def test_a_stranger_with_a_stored_pid_is_left_alone(
    state: StateDirectory, run: Run, changes: dict[str, object]
) -> None:
    with forked(sleep_deaf) as stranger:
        run.write_executor(record_of(stranger.process, **changes))
        await destroy_run(state, run)
        assert is_alive(stranger.process)
    assert not run.exists()


async def test_a_foreign_boots_cgroups_are_left_alone(
    state: StateDirectory, run: Run, tmp_path: Path
) -> None:
    directory = tmp_path / "not-ours-any-more"
    directory.mkdir()
    containment = ContainmentRecord(Tier.CGROUP_V2, str(directory), (str(directory),))
    with forked(sleep_deaf) as process:
        record = record_of(process.process, boot_id="another boot")
        run.write_executor(msgspec.structs.replace(record, containment=containment))
        await destroy_run(state, run)
    assert directory.is_dir()


async def test_an_executor_that_has_only_its_fence_is_killed(
    state: StateDirectory, run: Run
) -> None:
    with forked(lambda: Fence.try_take(state.lock_path(run.fence))) as executor:
        await destroy_run(state, run)
        assert not is_alive(executor.process)
    assert not run.exists()
    assert not state.lock_path(run.fence).exists()


async def test_the_holder_of_the_fence_is_spared_when_it_is_another_runs_executor(
    state: StateDirectory, run: Run
) -> None:
    other = state.run_of(task_id="alloc/web/2", alloc_id="alloc", task_name="web")
    other.create()
    with forked(lambda: Fence.try_take(state.lock_path(run.fence))) as executor:
        other.write_executor(record_of(executor.process))
        await destroy_run(state, run)
        assert is_alive(executor.process)
        assert state.lock_path(run.fence).exists()
    assert other.exists()


def test_a_run_that_died_before_it_was_anything_leaves_nothing(run: Run) -> None:
    assert settle_run(run, reason=REASON) is None
    assert not run.exists()


def test_a_run_whose_executor_is_just_beginning_is_not_settled(
    state: StateDirectory, run: Run
) -> None:
    with forked(lambda: Fence.try_take(state.lock_path(run.fence))):
        assert settle_run(run, reason=REASON) is None
        assert run.exists()


def test_fences_that_nobody_holds_and_no_run_has_are_removed(
    state: StateDirectory, run: Run
) -> None:
    used, free, held = (state.lock_path(name) for name in (run.fence, "free", "held"))
    used.touch()
    free.touch()
    with forked(lambda: Fence.try_take(held)):
        remove_free_fences(state)
        assert [path.exists() for path in (used, free, held)] == [True, False, True]


def test_what_remains_is_told_in_words() -> None:
    assert str(Remains()) == "nothing"
    assert not Remains()
    assert str(Remains((1, 2), ("/c",))) == "pid 1, 2, cgroup /c"


@pytest.mark.cgroup
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a cgroup")
async def test_every_process_of_the_runs_cgroup_is_killed_and_the_cgroup_removed(
    state: StateDirectory, run: Run
) -> None:
    mounts = cgroup.find_mounts()
    root = mounts.unified or mounts.v1["freezer"]
    path = root / f"trio-driver-{run.name}.scope"
    cgroup.make(path)
    with (
        forked(sleep_deaf) as executor,
        forked(lambda: cgroup.join(path)) as one,
        forked(lambda: cgroup.join(path)) as other,
    ):
        containment = ContainmentRecord(Tier.CGROUP_V2, str(path), (str(path),))
        record = record_of(executor.process)
        run.write_executor(msgspec.structs.replace(record, containment=containment))
        await destroy_run(state, run)
        for process in (executor, one, other):
            assert not is_alive(process.process)
    assert not path.exists()
    assert executor.process.boot_id == boot_id()
