"""The scope of a session: a cgroup below the run's, or a session's number, and nothing outside of it."""

import os
import signal
import subprocess
from collections.abc import Generator
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.support.family import Counts, kill, playing_init
from trio_driver.executor.session_scope import NAMES_LIMIT, SessionScope, make_scope
from trio_driver.linux import cgroup, children_of, identify, is_alive
from trio_driver.model import LaunchError


@pytest.fixture
def run_path() -> Generator[Path]:
    """A cgroup like a run's."""
    mounts = cgroup.find_mounts()
    root = mounts.unified or mounts.v1.get("freezer")
    if root is None or not os.access(root, os.W_OK):
        pytest.skip("no cgroup may be made here")
    path = root / f"trio-driver-test-{os.getpid()}.scope"
    cgroup.make(path)
    yield path
    cgroup.kill(path)
    assert cgroup.remove_tree(path)


def sleeping(path: Path) -> subprocess.Popen[bytes]:
    """A process in the cgroup at `path`, which ends with the fixture's cgroup at the latest."""
    process = subprocess.Popen(["sleep", "1000"])
    cgroup.join(path, pid=process.pid)
    return process


@pytest.mark.cgroup
async def test_no_two_scopes_ever_have_the_same_name(run_path: Path) -> None:
    first, second = make_scope(run_path), make_scope(run_path)
    assert await first.close(limit_s=1)
    third = make_scope(run_path)
    paths = {scope.path for scope in (first, second, third)}
    assert len(paths) == 3
    assert all(path and path.match("*.scope/exec-*.scope") for path in paths)


@pytest.mark.cgroup
async def test_a_scope_that_has_ended_ends_nothing_more(run_path: Path) -> None:
    scope = make_scope(run_path)
    assert scope.path is not None
    assert await scope.close(limit_s=1)
    cgroup.make(scope.path)
    later = sleeping(scope.path)
    assert await scope.close(limit_s=1)
    assert later.poll() is None
    later.kill()
    later.wait()


@pytest.mark.cgroup
def test_a_run_that_is_gone_has_no_scopes(run_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"exec-\d+\.scope.*No such file"):
        make_scope(run_path / "gone")


def number_of(scope: SessionScope) -> int:
    assert scope.path is not None
    return int(scope.path.stem.removeprefix("exec-"))


@pytest.mark.cgroup
def test_a_task_that_takes_all_names_gets_an_error(run_path: Path) -> None:
    taken = number_of(make_scope(run_path)) + 1
    for number in range(taken, taken + NAMES_LIMIT):
        (run_path / f"exec-{number}.scope").mkdir()
    with pytest.raises(LaunchError, match="taken"):
        make_scope(run_path)
    assert number_of(make_scope(run_path)) == taken + NAMES_LIMIT


@pytest.mark.cgroup
async def test_what_is_below_the_scope_goes_with_it_and_what_is_beside_it_stays(
    run_path: Path,
) -> None:
    scope, other = make_scope(run_path), make_scope(run_path)
    assert scope.path is not None
    assert other.path is not None
    below = scope.path / "made-by-the-task"
    below.mkdir()
    inside, beside = sleeping(below), sleeping(other.path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(scope.close, limit_s=5))
        await trio.to_thread.run_sync(inside.wait)
    assert inside.returncode == -signal.SIGKILL
    assert not scope.path.exists()
    assert beside.poll() is None
    other.kill_nowait()
    beside.wait()
    assert await other.close(limit_s=5)


def with_children(leader_script: str) -> subprocess.Popen[bytes]:
    """The leader of a session, once it has said that its children are there."""
    process = subprocess.Popen(
        ["sh", "-c", leader_script], start_new_session=True, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()
    return process


async def test_without_a_cgroup_the_session_of_its_leader_is_killed_and_no_other() -> None:
    scope = SessionScope(None)
    assert await scope.close(limit_s=1), "nothing has run in it"
    with playing_init() as family:
        leader = with_children("sleep 1000 & setsid sh -c 'echo; exec sleep 1000' & wait")
        (other,) = [child for child in children_of(leader.pid) if os.getsid(child) != leader.pid]
        process = identify(other)
        assert process is not None
        scope.leader = identify(leader.pid)
        assert scope.kill_nowait()
        leader.wait()
        assert is_alive(process)
        await kill(process)
        await family.becomes(Counts())
    assert not scope.kill_nowait(), "its number may be somebody else's now"


def test_a_number_that_is_somebody_elses_now_is_left_alone() -> None:
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as process:
        now = identify(process.pid)
        assert now is not None
        scope = SessionScope(None)
        scope.leader = type(now)(now.pid, now.start_ticks - 1, now.boot_id)
        assert not scope.kill_nowait()
        assert is_alive(now)
        process.kill()
