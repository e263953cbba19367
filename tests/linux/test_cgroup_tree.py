"""Trees of cgroups, hostile ones among them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from trio_driver.linux import cgroup, cgroup_files, cgroup_tree, fd_count

from .conftest import (
    LIMIT_S,
    SLEEPER,
    StartChild,
    join,
    run_in_fork,
    unshare_pid_namespace,
    wait_until,
)

pytestmark = pytest.mark.cgroup


def make_chain(top: Path, depth: int, name: str = "d", *, pid: int | None = None) -> None:
    """Make `depth` cgroups, each in the one before, and put `pid` into the last."""
    fd = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    if pid is not None:
        cgroup_files.write_at(fd, "cgroup.procs", str(pid))
    os.close(fd)


def test_a_cgroup_is_made_once(cgroup_dir: Path) -> None:
    below = cgroup_dir / "below"
    assert cgroup.make(below)
    assert not cgroup.make(below)
    with pytest.raises(FileNotFoundError, match="not/there"):
        cgroup.make(cgroup_dir / "not" / "there")


def test_members_are_listed(cgroup_dir: Path, start_child: StartChild) -> None:
    cgroup.make(cgroup_dir / "a")
    cgroup.make(cgroup_dir / "a/b")
    assert cgroup.procs(cgroup_dir, recursive=True) == []
    assert not cgroup.is_populated(cgroup_dir)
    top, deep = join(start_child, cgroup_dir), join(start_child, cgroup_dir / "a/b")
    assert cgroup.procs(cgroup_dir) == [top]
    assert cgroup.procs(cgroup_dir / "a") == []
    assert sorted(cgroup.procs(cgroup_dir, recursive=True)) == sorted([top, deep])
    assert cgroup.is_populated(cgroup_dir / "a")


def test_a_process_joins_by_itself(cgroup_dir: Path) -> None:
    def body() -> bool:
        cgroup.join(cgroup_dir)
        return cgroup.procs(cgroup_dir) == [os.getpid()]

    assert run_in_fork(body) == "True"


def test_joining_fails_once_the_cgroup_is_removed(cgroup_dir: Path) -> None:
    below = cgroup_dir / "below"
    cgroup.make(below)
    assert cgroup.remove_tree(below)
    with pytest.raises(FileNotFoundError):
        cgroup.join(below)


def test_joining_of_nobody_is_an_error(cgroup_dir: Path) -> None:
    with pytest.raises(ProcessLookupError, match=r"writing '\d+'.*cgroup\.procs"):
        cgroup.join(cgroup_dir, pid=2**22 + 1)


def test_a_zombie_is_no_member(cgroup_dir: Path, start_child: StartChild) -> None:
    child = start_child(SLEEPER)
    cgroup.join(cgroup_dir, pid=child.pid)
    child.process.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    wait_until(lambda: not cgroup.is_populated(cgroup_dir), "the zombie does not count")
    assert cgroup.procs(cgroup_dir) == []
    assert cgroup.remove_tree(cgroup_dir)
    cgroup.make(cgroup_dir)


def test_a_cgroup_that_is_gone_is_empty_and_removed(cgroup_dir: Path) -> None:
    gone = cgroup_dir / "gone"
    assert cgroup.procs(gone) == cgroup.procs(gone, recursive=True) == []
    assert not cgroup.is_populated(gone)
    assert cgroup.remove_tree(gone)
    assert list(cgroup.walk(gone)) == []


def test_members_outside_our_pid_namespace_are_left_out(
    cgroup_dir: Path, start_child: StartChild
) -> None:
    join(start_child, cgroup_dir)

    def body() -> str:
        unshare_pid_namespace()
        return run_in_fork(lambda: cgroup.procs(cgroup_dir, recursive=True))

    assert run_in_fork(body) == repr("[]")


def test_a_tree_is_removed_whole(cgroup_dir: Path) -> None:
    top = cgroup_dir / "top"
    for name in ("", "a", "a/b", "a/b/c", "d", "d/e", "d/f", "d/ü \\ :*"):
        cgroup.make(top / name)
    assert cgroup.remove_tree(top)
    assert not top.exists()


def test_a_tree_with_a_member_is_removed_around_it(
    cgroup_dir: Path, start_child: StartChild
) -> None:
    top = cgroup_dir / "top"
    for name in ("", "a", "a/b", "c", "c/d"):
        cgroup.make(top / name)
    child = start_child(SLEEPER)
    cgroup.join(top / "a/b", pid=child.pid)
    assert not cgroup.remove_tree(top)
    assert (top / "a/b").exists()
    assert not (top / "c").exists()
    child.end()
    wait_until(lambda: cgroup.remove_tree(top), "the tree is removed")


def test_a_path_longer_than_the_kernel_takes_is_no_hiding_place(
    cgroup_dir: Path, start_child: StartChild
) -> None:
    child = start_child(SLEEPER)
    make_chain(cgroup_dir, 30, "d" * 200, pid=child.pid)
    assert cgroup.procs(cgroup_dir, recursive=True) == [child.pid]
    assert cgroup.is_populated(cgroup_dir)
    assert not cgroup.remove_tree(cgroup_dir)
    cgroup.kill_each(cgroup_dir)
    assert child.process.wait(LIMIT_S) == -9
    wait_until(lambda: cgroup.remove_tree(cgroup_dir), "the tree is removed")
    cgroup.make(cgroup_dir)


def test_the_number_of_open_fds_does_not_grow_with_the_depth(cgroup_dir: Path) -> None:
    make_chain(cgroup_dir, 200)
    before = fd_count()
    most = max(fd_count() for _ in cgroup.walk(cgroup_dir))
    assert most <= before + 1
    assert fd_count() == before


def test_a_walk_that_is_left_early_closes_its_fd(cgroup_dir: Path) -> None:
    before = fd_count()
    walk = cgroup.walk(cgroup_dir)
    next(walk)
    assert fd_count() == before + 1
    walk.close()
    assert fd_count() == before


@pytest.mark.parametrize("shape", ["deep", "wide", "bushy"])
def test_each_bounded_walk_removes_something(
    cgroup_dir: Path, monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    monkeypatch.setattr(cgroup_tree, "DIRECTORIES_LIMIT", 5)
    top = cgroup_dir / "top"
    cgroup.make(top)
    match shape:
        case "deep":
            make_chain(top, 40)
        case "wide":
            for number in range(40):
                cgroup.make(top / str(number))
        case _:
            for number in range(8):
                cgroup.make(top / str(number))
                make_chain(top / str(number), 8)
    left = count(top)
    while not cgroup.remove_tree(top):
        assert count(top) < left
        left = count(top)


def count(top: Path) -> int:
    return sum(1 for _ in os.walk(top))


def test_a_walk_goes_no_deeper_than_its_limit(
    cgroup_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup_tree, "DIRECTORIES_LIMIT", 5)
    monkeypatch.setattr(cgroup_tree, "DEPTH_LIMIT", 20)
    make_chain(cgroup_dir, 40)
    assert len(list(cgroup.walk(cgroup_dir))) == 21


def test_a_task_that_makes_and_removes_cgroups_all_the_time_stops_no_walk(
    cgroup_dir: Path,
) -> None:
    top = cgroup_dir / "top"
    cgroup.make(top)
    stop = threading.Event()

    def churn(number: int) -> None:
        while not stop.is_set():
            paths = [top / f"{number}", top / f"{number}/a", top / f"{number}/a/b"]
            for path in paths:
                try_to(path.mkdir)
            for path in reversed(paths):
                try_to(path.rmdir)

    churners = [threading.Thread(target=churn, args=(number,)) for number in range(2)]
    for churner in churners:
        churner.start()
    try:
        for _ in range(100):
            cgroup.procs(top, recursive=True)
            cgroup.is_populated(top)
            cgroup.remove_tree(top)
            cgroup.make(top)
    finally:
        stop.set()
        for churner in churners:
            churner.join()
    wait_until(lambda: cgroup.remove_tree(top), "the tree is removed")


def try_to(step: object) -> None:
    assert callable(step)
    try:
        step()
    except OSError:
        return


def test_a_directory_that_vanishes_under_the_walk_ends_only_its_branch(cgroup_dir: Path) -> None:
    for name in ("a", "a/b", "c"):
        cgroup.make(cgroup_dir / name)
    seen = 0
    for fd in cgroup.walk(cgroup_dir):
        seen += 1
        here = os.readlink(f"/proc/self/fd/{fd}")
        if here.endswith("/a/b"):
            Path(here).rmdir()
            Path(here).parent.rmdir()
            assert cgroup_tree.procs_at(fd) == []
    assert seen == 4


def test_members_of_a_threaded_cgroup_are_found(v2_dir: Path, start_child: StartChild) -> None:
    cgroup.make(v2_dir / "t")
    pid = join(start_child, v2_dir)
    cgroup.write(v2_dir / "t/cgroup.type", "threaded")
    cgroup.write(v2_dir / "t/cgroup.threads", str(pid))
    with pytest.raises(OSError, match="not supported"):
        cgroup.read(v2_dir / "t/cgroup.procs")
    assert cgroup.procs(v2_dir / "t") == [pid]
    assert cgroup.procs(v2_dir, recursive=True) == [pid]


def test_a_list_that_was_cut_does_not_invent_a_pid(
    cgroup_dir: Path, start_child: StartChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = {join(start_child, cgroup_dir) for _ in range(2)}
    whole = cgroup.read(cgroup_dir / "cgroup.procs")
    monkeypatch.setattr(cgroup_tree, "read_at", lambda *_: whole[:-2])  # pyright: ignore
    (listed,) = cgroup.procs(cgroup_dir)
    assert listed in pids


def test_a_note_stays_with_its_cgroup_and_goes_with_it(cgroup_dir: Path) -> None:
    path = cgroup_dir / "noted"
    cgroup.make(path)
    assert cgroup.owner(path) is None
    assert cgroup.set_owner(path, "/run/x")
    assert cgroup.owner(path) == "/run/x"
    path.rmdir()
    assert cgroup.owner(path) is None
    assert not cgroup.set_owner(path, "/run/x")
    cgroup.make(path)
    assert cgroup.owner(path) is None
    path.rmdir()
