"""The state directory: who may use it, names that no job can choose, and the states of a run."""

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_driver.linux import identify
from trio_driver.state import (
    CommitRecord,
    EventRecord,
    ExecutorRecord,
    ExitRecord,
    Run,
    RunState,
    StateDirectory,
    StateDirectoryError,
    default_path,
    fence_name,
    open_state_directory,
)

from .test_records import COMMIT, EXECUTOR, EXIT

UNIX_PATH_MAX_BYTES = 107


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return open_state_directory(tmp_path / "state")


def run_of(state: StateDirectory, *, task_id: str = "alloc/web/1", name: str = "web") -> Run:
    return state.run_of(task_id=task_id, alloc_id="alloc", task_name=name)


def record_of_this_process() -> ExecutorRecord:
    process = identify(os.getpid())
    assert process is not None
    return msgspec.structs.replace(
        EXECUTOR, pid=process.pid, start_ticks=process.start_ticks, boot_id=process.boot_id
    )


def test_a_missing_directory_is_made_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    open_state_directory(path)
    assert path.stat().st_mode & 0o777 == 0o700
    assert sorted(each.name for each in path.iterdir()) == ["locks", "runs"]
    open_state_directory(path)


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_directory_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "state"
    path.mkdir()
    path.chmod(mode)
    with pytest.raises(StateDirectoryError, match=f"{mode:04o}.*0700"):
        open_state_directory(path)


@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_what_is_no_directory_of_its_own_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "state"
    if kind == "file":
        path.write_text("")
    else:
        target = tmp_path / "target"
        if kind == "link":
            target.mkdir(mode=0o700)
        path.symlink_to(target)
    with pytest.raises(StateDirectoryError, match="set another state_dir"):
        open_state_directory(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user's directory")
def test_another_users_directory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    os.chown(path, 65534, -1)
    with pytest.raises(StateDirectoryError, match="belongs to uid 65534"):
        open_state_directory(path)


@given(task_id=st.text(), alloc_id=st.text(), task_name=st.text())
def test_no_name_of_a_job_reaches_a_path(task_id: str, alloc_id: str, task_name: str) -> None:
    state = StateDirectory(Path("/run/trio-driver"))
    run = state.run_of(task_id=task_id, alloc_id=alloc_id, task_name=task_name)
    assert set(run.name) <= set("0123456789abcdef-")
    assert run.fence == fence_name(alloc_id, task_name)
    assert len(os.fsencode(run.socket_path)) <= UNIX_PATH_MAX_BYTES
    assert state.lock_path(run.fence).parent == Path("/run/trio-driver/locks")


def test_runs_of_one_task_share_a_fence_and_differ_in_name(state: StateDirectory) -> None:
    one, other = run_of(state, task_id="alloc/web/1"), run_of(state, task_id="alloc/web/2")
    assert one.fence == other.fence
    assert one.name != other.name
    assert run_of(state, name="db").fence != one.fence


def test_joined_names_do_not_collide() -> None:
    assert fence_name("a", "bc") != fence_name("ab", "c")


def test_a_run_is_found_by_its_task_id_alone(state: StateDirectory) -> None:
    run = run_of(state)
    assert state.find("alloc/web/1") is None
    run.create()
    assert state.find("alloc/web/1") == run
    assert state.find("alloc/web/2") is None
    assert list(state.runs()) == [run]
    assert state.runs_of_fence(run.fence) == [run]


def test_a_run_is_made_once(state: StateDirectory) -> None:
    run = run_of(state)
    run.create()
    with pytest.raises(FileExistsError):
        run.create()


def test_the_states_of_a_run_follow_its_files(state: StateDirectory) -> None:
    run = run_of(state)
    assert run.state() is None
    run.create()
    assert run.state() is RunState.PROVISIONAL
    run.write_executor(record_of_this_process())
    assert run.state() is RunState.PROVISIONAL
    run.commit(CommitRecord(1, 2.0))
    assert run.state() is RunState.COMMITTED
    run.write_exit(EXIT)
    assert run.state() is RunState.ENDED
    run.remove()
    assert run.state() is None


@pytest.mark.parametrize("changes", [{"boot_id": "another"}, {"start_ticks": 1}, {"pid": 1 << 30}])
def test_a_record_of_a_process_that_is_not_that_one_is_lost(
    state: StateDirectory, changes: dict[str, object]
) -> None:
    run = run_of(state)
    run.create()
    run.write_executor(msgspec.structs.replace(record_of_this_process(), **changes))
    assert run.state() is RunState.LOST


def test_a_removed_run_is_gone_with_all_in_it_and_may_be_removed_again(
    state: StateDirectory,
) -> None:
    run = run_of(state)
    run.create()
    run.write_executor(EXECUTOR)
    (run.path / "socket").touch()
    run.remove()
    run.remove()
    assert list((state.path / "runs").iterdir()) == []


def test_a_removal_finishes_what_others_began_before_they_were_killed(
    state: StateDirectory,
) -> None:
    run = run_of(state)
    for pid in (1, 2):
        doomed = run.path.with_name(f".{run.name}.{pid}")
        doomed.mkdir()
        (doomed / "log").touch()
    run.remove()
    assert list((state.path / "runs").iterdir()) == []


def test_half_removed_runs_are_no_runs_and_can_be_swept(state: StateDirectory) -> None:
    (state.path / "runs" / ".abc.1").mkdir()
    assert list(state.runs()) == []
    state.remove_doomed_runs()
    assert list((state.path / "runs").iterdir()) == []


def test_a_state_directory_that_vanished_has_no_runs(state: StateDirectory) -> None:
    (state.path / "runs").rmdir()
    assert list(state.runs()) == []
    assert state.find("x") is None


def test_records_on_tmpfs_need_no_fsync() -> None:
    assert not StateDirectory(Path("/run/trio-driver")).durable
    assert StateDirectory(Path("/var/lib/trio-driver")).durable


def test_a_commit_of_a_destroyed_run_fails(state: StateDirectory) -> None:
    run = run_of(state)
    with pytest.raises(FileNotFoundError):
        run.commit(COMMIT)


def test_events_go_to_one_taker_in_order(state: StateDirectory) -> None:
    run = run_of(state)
    run.create()
    events = [EventRecord(float(number), f"event {number}", {"n": "1"}) for number in range(3)]
    for event in events:
        run.tell(event)
    assert run.take_events() == events
    assert run.take_events() == []


def test_events_that_nobody_takes_are_bounded(state: StateDirectory) -> None:
    run = run_of(state)
    run.create()
    for number in range(2000):
        run.tell(EventRecord(float(number), "x" * 1000, {}))
    assert (run.path / "events").stat().st_size < 1 << 20
    assert run.take_events()[0].timestamp_s == 0


def test_an_event_of_a_run_that_is_gone_is_dropped(state: StateDirectory) -> None:
    run = run_of(state)
    run.tell(EventRecord(1.0, "late", {}))
    assert run.take_events() == []


def test_the_default_is_the_runtime_directory_of_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if os.geteuid() == 0:
        assert default_path() == Path("/run/trio-driver")
        return
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert default_path() == tmp_path / "trio-driver"


def test_an_exit_record_is_what_its_writer_said(state: StateDirectory) -> None:
    run = run_of(state)
    run.create()
    assert run.read_exit() is None
    assert run.write_exit(EXIT)
    read = run.read_exit()
    assert isinstance(read, ExitRecord)
    assert read == EXIT
