"""Killing whole cgroups: escaped, nested, frozen and forking processes; and never a stranger."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from trio_driver.linux import cgroup, cgroup_kill, cgroup_tree, identify, is_alive

from .conftest import (
    LIMIT_S,
    SLEEPER,
    SUPERVISED,
    StartChild,
    join,
    needs_root,
    run_in_fork,
    wait_until,
)

pytestmark = pytest.mark.cgroup

DAEMONS = """
os.read(0, 1)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(1, b'%d\\n' % os.getpid())
            os.read(0, 1)
        os._exit(0)
os.read(0, 1)
"""

RE_FORKERS = """
os.read(0, 1)
for _ in range(8):
    if os.fork() == 0:
        os.setsid()
        # Never the same pid for longer than a fork takes.
        while True:
            if os.fork():
                os._exit(0)
os.write(1, b'ready\\n')
os.read(0, 1)
"""

NOBODY = 65534

Kill = Callable[[Path], None]


@pytest.fixture(params=[cgroup.kill, cgroup.kill_each], ids=["kill", "kill_each"])
def kill(request: pytest.FixtureRequest) -> Kill:
    """Both ways of killing: by the kernel where it can, and one by one."""
    return request.param


def kill_until_removed(kill: Kill, path: Path) -> None:
    """What a caller composes of the steps."""

    def step() -> bool:
        kill(path)
        return cgroup.remove_tree(path)

    wait_until(step, f"{path} is removed")


def test_every_process_is_killed_nested_or_not(
    cgroup_dir: Path, start_child: StartChild, kill: Kill
) -> None:
    cgroup.make(cgroup_dir / "a")
    cgroup.make(cgroup_dir / "a/b")
    for path in (cgroup_dir, cgroup_dir / "a", cgroup_dir / "a/b"):
        join(start_child, path)
    bystander = start_child(SLEEPER)
    assert bystander.read_line() == "ready"
    kill(cgroup_dir)
    wait_until(lambda: not cgroup.is_populated(cgroup_dir), "all are dead")
    assert bystander.process.poll() is None


def test_daemons_that_left_their_session_are_killed(
    cgroup_dir: Path, start_child: StartChild, kill: Kill
) -> None:
    child = start_child(SUPERVISED + DAEMONS)
    cgroup.join(cgroup_dir, pid=int(child.read_line()))
    child.write_line("")
    daemons = [identify(int(child.read_line())) for _ in range(3)]
    assert None not in daemons
    kill(cgroup_dir)
    assert child.process.wait(LIMIT_S) == 0
    assert not any(daemon is not None and is_alive(daemon) for daemon in daemons)
    assert not cgroup.is_populated(cgroup_dir)


def test_killing_what_is_empty_or_gone_is_no_error(cgroup_dir: Path, kill: Kill) -> None:
    kill(cgroup_dir)
    kill(cgroup_dir / "gone")
    cgroup.thaw(cgroup_dir / "gone")
    assert not cgroup.freeze(cgroup_dir / "gone")


def test_processes_that_fork_and_end_all_the_time_are_killed(
    cgroup_dir: Path, start_child: StartChild, kill: Kill
) -> None:
    below = cgroup_dir / "restless"
    cgroup.make(below)
    restless = start_child(SUPERVISED + RE_FORKERS)
    cgroup.join(below, pid=int(restless.read_line()))
    restless.write_line("")
    assert restless.read_line() == "ready"
    kill_until_removed(kill, below)
    assert restless.process.wait(LIMIT_S) == 0


def test_a_frozen_process_is_killed(cgroup_dir: Path, start_child: StartChild, kill: Kill) -> None:
    """As a killer that died in between would leave it."""
    cgroup.make(cgroup_dir / "a")
    child = start_child(SLEEPER)
    cgroup.join(cgroup_dir / "a", pid=child.pid)
    assert cgroup.freeze(cgroup_dir)
    kill(cgroup_dir)
    assert child.process.wait(LIMIT_S) == -signal.SIGKILL


def test_a_process_that_a_task_froze_below_is_killed(
    cgroup_dir: Path, start_child: StartChild, kill: Kill
) -> None:
    cgroup.make(cgroup_dir / "a")
    cgroup.make(cgroup_dir / "a/b")
    child = start_child(SLEEPER)
    cgroup.join(cgroup_dir / "a/b", pid=child.pid)
    assert cgroup.freeze(cgroup_dir / "a/b")
    kill(cgroup_dir)
    assert child.process.wait(LIMIT_S) == -signal.SIGKILL


def is_frozen(path: Path) -> bool:
    try:
        return cgroup.read(path / "freezer.state") == "FROZEN\n"
    except FileNotFoundError:
        return cgroup.keyed(cgroup.read(path / "cgroup.events"))["frozen"] == 1


def test_freezing_reaches_what_is_below_and_thawing_undoes_it(
    cgroup_dir: Path, start_child: StartChild
) -> None:
    cgroup.make(cgroup_dir / "a")
    child = start_child("import sys\nfor line in sys.stdin: print('echo', flush=True)")
    cgroup.join(cgroup_dir / "a", pid=child.pid)
    assert cgroup.freeze(cgroup_dir)
    wait_until(lambda: is_frozen(cgroup_dir / "a"), "it is frozen")
    child.write_line("")
    cgroup.thaw(cgroup_dir)
    assert child.read_line() == "echo"


def test_what_was_frozen_is_thawed_though_killing_fails(
    cgroup_dir: Path, start_child: StartChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = start_child("import sys\nfor line in sys.stdin: print('echo', flush=True)")
    cgroup.join(cgroup_dir, pid=child.pid)

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(cgroup_kill, "_kill_members", fail)
    with pytest.raises(OSError, match="broken"):
        cgroup.kill_each(cgroup_dir)
    child.write_line("")
    assert child.read_line() == "echo"


def test_a_stranger_with_a_reused_pid_is_not_killed(
    cgroup_dir: Path, start_child: StartChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first list names a member that has ended; its pid is a stranger's by now."""
    stranger = start_child(SLEEPER)
    assert stranger.read_line() == "ready"
    member = join(start_child, cgroup_dir)
    looks = iter([[stranger.pid, member]])

    def procs_at(dir_fd: int) -> list[int]:
        return next(looks, None) or cgroup_tree.procs_at(dir_fd)

    monkeypatch.setattr(cgroup_kill, "procs_at", procs_at)
    cgroup.kill_each(cgroup_dir)
    wait_until(lambda: not cgroup.is_populated(cgroup_dir), "the member is dead")
    assert stranger.process.poll() is None


def test_a_listed_pid_that_is_a_thread_by_now_does_not_stop_the_kill(
    cgroup_dir: Path, start_child: StartChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    threaded = start_child(
        "import os,threading; threading.Thread(target=lambda: (print('ready',flush=True),"
        "os.read(0, 1))).start()"
    )
    assert threaded.read_line() == "ready"
    (thread,) = {int(tid) for tid in os.listdir(f"/proc/{threaded.pid}/task")} - {threaded.pid}
    member = join(start_child, cgroup_dir)
    looks = iter([[thread, member]])

    def procs_at(dir_fd: int) -> list[int]:
        return next(looks, None) or cgroup_tree.procs_at(dir_fd)

    monkeypatch.setattr(cgroup_kill, "procs_at", procs_at)
    cgroup.kill_each(cgroup_dir)
    wait_until(lambda: not cgroup.is_populated(cgroup_dir), "the member is dead")
    assert threaded.process.poll() is None


def test_many_are_killed_with_few_fds(cgroup_dir: Path) -> None:
    """In a child, whose limit on fds is its own."""

    def body() -> int:
        pids = [os.fork() or sleep_for_ever() for _ in range(40)]
        for pid in pids:
            cgroup.join(cgroup_dir, pid=pid)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        # The lowest free number, and room for the walk's directory, one list and three pidfds.
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 5, hard))
        cgroup.kill_each(cgroup_dir)
        return sum(os.waitpid(pid, 0)[1] == signal.SIGKILL for pid in pids)

    assert run_in_fork(body) == "40"


def sleep_for_ever() -> int:
    while True:
        signal.pause()


def test_killing_through_an_open_fd_needs_neither_path_nor_fd(
    v2_dir: Path, start_child: StartChild
) -> None:
    kill_fd = cgroup.open_kill(v2_dir)
    if kill_fd is None:
        pytest.skip("this kernel has no cgroup.kill")
    try:
        assert not os.get_inheritable(kill_fd)
        child = start_child(SLEEPER)
        cgroup.join(v2_dir, pid=child.pid)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            cgroup.kill_through(kill_fd)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert child.process.wait(LIMIT_S) == -signal.SIGKILL
        cgroup.kill_through(kill_fd)
        wait_until(lambda: cgroup.remove_tree(v2_dir), "it is removed")
        cgroup.kill_through(kill_fd)
        cgroup.make(v2_dir)
    finally:
        os.close(kill_fd)


def test_v1_has_nothing_to_kill_through(v1_dir: Path) -> None:
    assert cgroup.open_kill(v1_dir) is None


def test_members_of_a_threaded_cgroup_are_killed(
    v2_dir: Path, start_child: StartChild, kill: Kill
) -> None:
    cgroup.make(v2_dir / "t")
    child = start_child(SLEEPER)
    cgroup.join(v2_dir, pid=child.pid)
    cgroup.write(v2_dir / "t/cgroup.type", "threaded")
    cgroup.write(v2_dir / "t/cgroup.threads", str(child.pid))
    kill(v2_dir / "t")
    assert child.process.wait(LIMIT_S) == -signal.SIGKILL


@needs_root
def test_a_refused_kill_is_an_error_and_the_others_are_killed(
    cgroup_dir: Path, start_child: StartChild
) -> None:
    """An ordinary user kills in a cgroup that holds a process of its own and one of root's."""
    roots = join(start_child, cgroup_dir)

    def body() -> tuple[str, int]:
        cgroup.join(cgroup_dir / "its own", pid=(own := os.fork() or sleep_for_ever_as_nobody()))
        wait_until(lambda: os.stat(f"/proc/{own}").st_uid == NOBODY, "it is another user's")
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        try:
            cgroup.kill_each(cgroup_dir)
        except PermissionError as error:
            return str(error.filename), os.waitpid(own, 0)[1]
        return "no error", 0

    cgroup.make(cgroup_dir / "its own")
    assert run_in_fork(body) == repr((f"pid {roots}", int(signal.SIGKILL)))
    assert cgroup.procs(cgroup_dir) == [roots]


@needs_root
def test_an_ordinary_user_kills_and_removes_below_a_cgroup_of_its_own(
    cgroup_dir: Path, kill: Kill
) -> None:
    own = cgroup_dir / "own"
    cgroup.make(own)
    for path in (own, *own.iterdir()):
        os.chown(path, NOBODY, NOBODY)

    def body() -> tuple[int, bool]:
        cgroup.join(own)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        cgroup.make(own / "task")
        pid = os.fork() or sleep_for_ever()
        cgroup.join(own / "task", pid=pid)
        kill(own / "task")
        return os.waitpid(pid, 0)[1], cgroup.remove_tree(own / "task")

    assert run_in_fork(body) == repr((int(signal.SIGKILL), True))


def sleep_for_ever_as_nobody() -> int:
    os.setresuid(NOBODY, NOBODY, NOBODY)
    return sleep_for_ever()
