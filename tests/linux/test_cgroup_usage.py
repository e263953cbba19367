"""What the processes of a cgroup use: real cgroups, and files as other kernels have them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from trio_driver.linux import (
    PIDS_LIMIT,
    CgroupUsage,
    CpuUsage,
    Descriptors,
    MemoryUsage,
    Throttling,
    cgroup,
    fd_count,
)

from .conftest import StartChild, join, wait_until

pytestmark = pytest.mark.cgroup

TURNS = """
import sys
print('ready', flush=True)
for line in sys.stdin:
    sum(range(200_000))
    print('done', flush=True)
"""
"""A child that works for a moment for each line that it is given."""


@contextlib.contextmanager
def usage_of(
    run: Path, *, memory: Path | None = None, cpu: Path | None = None, limit: int = 100
) -> Generator[CgroupUsage]:
    usage = CgroupUsage(run=run, memory=memory, cpu=cpu, descriptors=Descriptors(limit))
    with contextlib.closing(usage):
        yield usage


def write_files(directory: Path, **texts: str) -> Path:
    """Files of a cgroup; `memory_stat` stands for memory.stat."""
    directory.mkdir(exist_ok=True)
    for name, text in texts.items():
        (directory / name.replace("_", ".", 1)).write_text(text)
    return directory


def test_a_cgroup_changes_when_something_runs_in_it_and_only_then(
    v2_dir: Path, start_child: StartChild
) -> None:
    child = start_child(TURNS)
    cgroup.join(v2_dir, pid=child.pid)
    assert child.read_line() == "ready"
    os.kill(child.pid, signal.SIGSTOP)
    with usage_of(v2_dir) as usage:
        assert usage.has_changed()
        wait_until(lambda: not usage.has_changed(), "the child has stopped")
        assert not usage.has_changed()
        before = usage.cpu()
        os.kill(child.pid, signal.SIGCONT)
        child.write_line("go")
        assert child.read_line() == "done"
        assert usage.has_changed()
        after = usage.cpu()
        assert before is not None
        assert after is not None
        assert after.user_us + after.system_us > before.user_us + before.system_us


def test_members_below_are_listed_too(cgroup_dir: Path, start_child: StartChild) -> None:
    top = join(start_child, cgroup_dir)
    with usage_of(cgroup_dir) as usage:
        assert usage.pids() == [top]
        cgroup.make(cgroup_dir / "below")
        below = join(start_child, cgroup_dir / "below")
        assert sorted(usage.pids()) == sorted([top, below])


def test_members_are_those_of_now_at_each_look(cgroup_dir: Path, start_child: StartChild) -> None:
    pids: list[int] = []
    with usage_of(cgroup_dir) as usage:
        for _ in range(3):
            assert sorted(usage.pids()) == sorted(pids)
            pids.append(join(start_child, cgroup_dir))
        assert sorted(usage.pids()) == sorted(pids)


def test_members_of_a_threaded_cgroup_are_listed(v2_dir: Path, start_child: StartChild) -> None:
    cgroup.make(v2_dir / "threads")
    pid = join(start_child, v2_dir)
    cgroup.write(v2_dir / "threads" / "cgroup.type", "threaded")
    cgroup.write(v2_dir / "threads" / "cgroup.threads", str(pid))
    with usage_of(v2_dir / "threads") as usage:
        assert usage.pids() == [pid]


def test_a_cgroup_that_is_removed_is_gone_and_not_idle(
    v2_dir: Path, start_child: StartChild
) -> None:
    run = v2_dir / "run"
    cgroup.make(run)
    before = fd_count()
    with usage_of(run) as usage:
        assert usage.has_changed()
        assert usage.pids() == []
        assert cgroup.remove_tree(run)
        for look in (usage.has_changed, usage.cpu, usage.pids):
            with pytest.raises(OSError) as caught:
                look()
            assert cgroup.is_gone(caught.value)
    assert fd_count() == before


def test_without_descriptors_to_keep_the_figures_are_the_same(
    v2_dir: Path, start_child: StartChild
) -> None:
    pid = join(start_child, v2_dir)
    before = fd_count()
    with usage_of(v2_dir, limit=0) as usage:
        assert usage.has_changed()
        assert usage.cpu() is not None
        assert usage.pids() == [pid]
        assert fd_count() <= before + 1  # of the directory


def test_what_no_hierarchy_counts_is_none_and_may_have_changed(v1_dir: Path) -> None:
    with usage_of(v1_dir) as usage:  # a freezer counts nothing
        assert usage.has_changed()
        assert usage.has_changed()
        assert (usage.cpu(), usage.throttling(), usage.memory()) == (None, None, None)


def test_a_task_of_many_processes_is_listed_up_to_the_limit(tmp_path: Path) -> None:
    pids = "".join(f"{pid}\n" for pid in range(1, 50_000))
    run = write_files(tmp_path / "run", cgroup_procs=pids)
    with usage_of(run) as usage:
        assert usage.pids() == list(range(1, PIDS_LIMIT + 1))


def test_processes_of_another_pid_namespace_are_left_out(tmp_path: Path) -> None:
    run = write_files(tmp_path / "run", cgroup_procs="0\n12\n0\n")
    with usage_of(run) as usage:
        assert usage.pids() == [12]


def test_figures_of_v2_are_read(tmp_path: Path) -> None:
    cpu_stat = "usage_usec 30\nuser_usec 20\nsystem_usec 10\n"
    run = write_files(tmp_path / "run", cpu_stat=cpu_stat)
    scope = write_files(
        tmp_path / "scope",
        cpu_stat=f"{cpu_stat}nr_periods 9\nnr_throttled 3\nthrottled_usec 7\n",
        memory_stat="anon 11\nfile 22\nkernel 33\nkernel_stack 44\nfile_mapped 55\n",
        memory_current="66\n",
        memory_peak="77\n",
        **{"memory_swap.current": "88\n"},
    )
    with usage_of(run, memory=scope, cpu=scope) as usage:
        assert usage.cpu() == CpuUsage(user_us=20, system_us=10)
        assert usage.throttling() == Throttling(periods=3, time_ns=7000)
        assert usage.memory() == MemoryUsage(
            rss=11, cache=22, kernel=33, usage=66, max_usage=77, swap=88
        )


def test_figures_of_v1_are_read(tmp_path: Path) -> None:
    run = write_files(tmp_path / "run")
    cpu = write_files(
        tmp_path / "cpu",
        cpu_stat="nr_periods 9\nnr_throttled 3\nthrottled_time 7000\n",
        cpuacct_usage="30000\n",
        cpuacct_usage_user="20000\n",
        cpuacct_usage_sys="10000\n",
    )
    memory = write_files(
        tmp_path / "memory",
        memory_stat="cache 1\nrss 2\nswap 3\ntotal_cache 22\ntotal_rss 11\ntotal_swap 88\n",
        memory_usage_in_bytes="66\n",
        memory_max_usage_in_bytes="77\n",
        **{"memory_kmem.usage_in_bytes": "33\n", "memory_kmem.max_usage_in_bytes": "44\n"},
    )
    with usage_of(run, memory=memory, cpu=cpu) as usage:
        assert usage.has_changed()
        assert not usage.has_changed()
        assert usage.cpu() == CpuUsage(user_us=20, system_us=10)
        assert usage.throttling() == Throttling(periods=3, time_ns=7000)
        assert usage.memory() == MemoryUsage(
            rss=11, cache=22, kernel=33, kernel_max=44, usage=66, max_usage=77, swap=88
        )


def test_a_kernel_that_counts_less_gives_none_for_the_rest(tmp_path: Path) -> None:
    memory = write_files(tmp_path / "memory", memory_stat="anon 11\nfile 22\n")
    with usage_of(tmp_path, memory=memory, cpu=memory) as usage:
        assert usage.memory() == MemoryUsage(rss=11, cache=22)
        assert (usage.cpu(), usage.throttling()) == (None, None)
