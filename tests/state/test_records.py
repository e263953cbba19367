"""Records are whole or an error that names the file; a later reader understands an earlier writer."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_driver.model import Exited, Lost, Signaled, TaskExit
from trio_driver.state import (
    CommitRecord,
    ContainmentRecord,
    ExecutorRecord,
    ExitRecord,
    RecordError,
    Run,
    Tier,
)

EXECUTOR = ExecutorRecord(
    task_id="alloc/web/1",
    alloc_id="alloc",
    task_name="web",
    alloc_root="/data/alloc",
    driver="trio",
    pid=10,
    start_ticks=11,
    boot_id="boot",
    plugin_pid=12,
    plugin_start_ticks=13,
    created_at_s=14.5,
    containment=ContainmentRecord(Tier.CGROUP_V2, "/k", ("/k", "/o"), "/m"),
)
COMMIT = CommitRecord(workload_pid=7, started_at_s=1.25)
EXIT = ExitRecord(exit=Exited(3), started_at_s=1.0, ended_at_s=2.0, boot_id="boot")

EXITS: st.SearchStrategy[TaskExit] = st.one_of(
    st.builds(Exited, st.integers(0, 255)),
    st.builds(Signaled, st.integers(1, 64)),
    st.builds(Lost, st.text(max_size=200)),
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "fence-run", durable=False)
    run.create()
    return run


def test_what_was_written_is_read_back(run: Run) -> None:
    run.write_executor(EXECUTOR)
    run.commit(COMMIT)
    assert run.write_exit(EXIT)
    assert (run.read_executor(), run.read_commit(), run.read_exit()) == (EXECUTOR, COMMIT, EXIT)


@settings(deadline=None)  # files
@given(task_exit=EXITS, oom_killed=st.booleans(), started=st.none() | st.floats(0, 1e10))
def test_every_exit_survives_the_way_to_disk(
    tmp_path_factory: pytest.TempPathFactory,
    task_exit: TaskExit,
    oom_killed: bool,
    started: float | None,
) -> None:
    run = Run(tmp_path_factory.mktemp("records") / "run", durable=False)
    run.create()
    record = ExitRecord(
        exit=task_exit, oom_killed=oom_killed, started_at_s=started, ended_at_s=5.0, boot_id="b"
    )
    with run.reserve_exit() as write_exit:
        assert write_exit(record)
    assert run.read_exit() == record


def test_the_longest_reason_fits_into_what_was_reserved(run: Run) -> None:
    record = msgspec.structs.replace(EXIT, exit=Lost("\x00" * 100_000))
    with run.reserve_exit() as write_exit:
        assert write_exit(record)
    read = run.read_exit()
    assert read is not None
    assert isinstance(read.exit, Lost)
    assert set(read.exit.reason) == {"\x00"}


def test_the_first_exit_stands_whoever_writes_second(run: Run) -> None:
    other = msgspec.structs.replace(EXIT, exit=Lost("late"))
    with run.reserve_exit() as write_exit:
        assert run.write_exit(EXIT)
        assert not write_exit(other)
        assert not run.write_exit(other)
    assert run.read_exit() == EXIT


def test_an_exit_of_a_run_that_was_removed_has_no_place(run: Run) -> None:
    run.remove()
    with pytest.raises(FileNotFoundError):
        run.write_exit(EXIT)


def test_a_reserved_exit_of_a_run_that_was_removed_has_no_place(run: Run) -> None:
    with run.reserve_exit() as write_exit:
        run.remove()
        with pytest.raises(FileNotFoundError):
            write_exit(EXIT)


def test_nothing_but_the_records_is_left_after_writing(run: Run) -> None:
    run.write_executor(EXECUTOR)
    run.write_executor(EXECUTOR)
    with run.reserve_exit() as write_exit:
        write_exit(EXIT)
    assert sorted(path.name for path in run.path.iterdir()) == ["executor.json", "exit.json"]


def test_records_are_for_their_owner_only(run: Run) -> None:
    run.write_executor(EXECUTOR)
    run.commit(COMMIT)
    run.write_exit(EXIT)
    for path in run.path.iterdir():
        assert path.stat().st_mode & 0o077 == 0


def read_all(run: Run) -> list[str]:
    """The errors of reading each record."""
    errors: list[str] = []
    for read in (run.read_executor, run.read_commit, run.read_exit):
        try:
            read()
        except RecordError as error:
            errors.append(str(error))
    return errors


@settings(deadline=None)  # files
@given(data=st.binary(max_size=300))
def test_whatever_is_in_a_record_nothing_but_a_record_error_comes_of_it(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    run = Run(tmp_path_factory.mktemp("records") / "run", durable=False)
    run.create()
    for name in ("executor.json", "committed.json", "exit.json"):
        (run.path / name).write_bytes(data)
    for error in read_all(run):
        assert str(run.path) in error


@settings(deadline=None)  # files
@given(cut=st.integers(0, 400))
def test_a_torn_record_is_an_error_that_names_the_file(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    run = Run(tmp_path_factory.mktemp("records") / "run", durable=False)
    run.create()
    run.write_executor(EXECUTOR)
    path = run.path / "executor.json"
    whole = path.read_bytes()
    path.write_bytes(whole[: min(cut, len(whole) - 3)])
    with pytest.raises(RecordError, match=r"executor\.json"):
        run.read_executor()


@pytest.mark.parametrize("name", ["executor.json", "committed.json", "exit.json"])
def test_a_newer_schema_is_refused_with_both_numbers(run: Run, name: str) -> None:
    run.write_executor(EXECUTOR)
    run.commit(COMMIT)
    run.write_exit(EXIT)
    path = run.path / name
    fields = msgspec.json.decode(path.read_bytes())
    path.write_bytes(msgspec.json.encode({**fields, "schema": 99}))
    (error,) = read_all(run)
    assert name in error
    assert "99" in error


def test_fields_of_a_later_version_with_our_schema_are_passed_over(run: Run) -> None:
    run.write_executor(EXECUTOR)
    path = run.path / "executor.json"
    fields = msgspec.json.decode(path.read_bytes())
    path.write_bytes(msgspec.json.encode({**fields, "a_later_field": {"x": 1}}))
    assert run.read_executor() == EXECUTOR


@pytest.mark.parametrize("tier", Tier)
def test_every_tier_has_a_name_on_disk(run: Run, tier: Tier) -> None:
    record = msgspec.structs.replace(EXECUTOR, containment=ContainmentRecord(tier))
    run.write_executor(record)
    assert run.read_executor() == record


@pytest.mark.parametrize("kind", ["symlink", "directory"])
def test_a_record_that_is_no_file_is_an_error(run: Run, tmp_path: Path, kind: str) -> None:
    path = run.path / "executor.json"
    if kind == "symlink":
        (tmp_path / "elsewhere").write_bytes(msgspec.json.encode(EXECUTOR))
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.mkdir()
    with pytest.raises(RecordError, match=r"executor\.json"):
        run.read_executor()
