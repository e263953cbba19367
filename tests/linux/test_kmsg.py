"""Whom the kernel killed for memory: its log's lines, names of any bytes among them."""

import os

import pytest

from trio_driver.linux import oom_kills
from trio_driver.linux.kmsg import OomKill, parse

SCOPE = "/nomad/78f.web"

HEAD = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=share,mems_allowed=0"


def test_a_kill_in_the_cgroup_is_told_with_pid_and_name() -> None:
    line = f"{HEAD},oom_memcg={SCOPE},task_memcg={SCOPE},task=tail,pid=14500,uid=0"
    assert parse(line, 5.0, SCOPE) == OomKill(14500, "tail", SCOPE, False, 5.0)


def test_a_kill_in_a_cgroup_below_is_told_too() -> None:
    line = f"{HEAD},oom_memcg={SCOPE},task_memcg={SCOPE}/run.scope,task=tail,pid=1,uid=0"
    assert parse(line, 5.0, SCOPE) is not None


def test_a_kill_because_the_host_has_no_memory_is_told_apart() -> None:
    line = f"oom-kill:constraint=CONSTRAINT_NONE,cpuset=/,global_oom,task_memcg={SCOPE},task=x,pid=1,uid=0"
    kill = parse(line, 5.0, SCOPE)
    assert kill is not None
    assert kill.is_host_wide


@pytest.mark.parametrize("cgroup", ["/nomad/78f.web2", "/nomad", "/", "/other"])
def test_a_kill_elsewhere_is_not_ours(cgroup: str) -> None:
    line = f"{HEAD},oom_memcg={cgroup},task_memcg={cgroup},task=tail,pid=1,uid=0"
    assert parse(line, 5.0, SCOPE) is None


def test_a_name_cannot_fake_a_pid_or_a_cgroup() -> None:
    name = "a,pid=7,uid=0"
    line = f"{HEAD},oom_memcg={SCOPE},task_memcg={SCOPE},task={name},pid=14500,uid=0"
    assert parse(line, 5.0, SCOPE) == OomKill(14500, name, SCOPE, False, 5.0)
    elsewhere = f"{HEAD},oom_memcg=/x,task_memcg=/x,task=,task_memcg={SCOPE},pid=1,uid=0"
    assert parse(elsewhere, 5.0, SCOPE) is None


@pytest.mark.parametrize("which", ["Memory cgroup out of memory", "Out of memory"])
def test_the_shorter_line_is_understood_and_names_no_cgroup(which: str) -> None:
    line = f"{which}: Killed process 13696 (a (b) c) total-vm:34792kB, anon-rss:32384kB, UID:0"
    assert parse(line, 5.0, SCOPE) == OomKill(13696, "a (b) c", None, None, 5.0)


@pytest.mark.parametrize("line", ["", "oom-kill:", "tail invoked oom-killer: order=0", "Killed"])
def test_other_lines_are_none(line: str) -> None:
    assert parse(line, 5.0, SCOPE) is None


@pytest.mark.skipif(not os.access("/dev/kmsg", os.R_OK), reason="the log may not be read")
def test_the_log_of_this_host_can_be_read() -> None:
    for kill in oom_kills(since_monotonic_s=0):
        assert kill.pid > 0
    assert oom_kills(since_monotonic_s=1e12) == []
