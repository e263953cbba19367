"""What an executor can hold on this host, tried: a task whose processes hide, in the containment that a
task gets, ended as a task ends.

Rules:
- It runs in a process of its own, with one thread and no children: what it kills is its children.
- It is the executor's own code that is tried; nothing of it is left, and what could not be removed is
  told.
"""

import os
import time
from pathlib import Path

import msgspec
import trio

from trio_driver.executor.children import Children
from trio_driver.executor.containment import Containment, host_plan
from trio_driver.executor.credentials import credentials_of
from trio_driver.executor.launch import LaunchPlan
from trio_driver.executor.workload import open_workload
from trio_driver.linux import (
    cgroup,
    descendants_of,
    fork_into,
    parent_of,
    set_child_subreaper,
)
from trio_driver.model import Resources, TaskOptions, TaskSpec
from trio_driver.spawner import ProcessLimits
from trio_driver.state import Tier

SCRIPT = """
sleep 1000 &
setsid sleep 1000 &
(setsid sh -c '(sleep 1000 &) ; exec sleep 1000' &)
exec sleep 1000
"""
"""The main process, a child, one in a session of its own, and a daemon with a daemon of its own."""

SCRIPT_PROCESSES = 5

MEMORY_BYTES, CPU_SHARES = 64 << 20, 100

LIMIT_S = 10.0
"""For each of start and end; some ten milliseconds are normal."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen. `limits` has what the kernel says of each limit that was asked for; None: there
    is no such file."""

    tier: str
    uids: tuple[int, ...]
    pids: tuple[int, ...]
    outside: tuple[int, ...]
    """Those of `pids` that were not in the run's cgroup."""
    is_born_inside: bool
    """Whether the kernel makes a process in a cgroup, so that it never was elsewhere."""
    limits: dict[str, str | None]
    counts_oom_kills: bool
    end_s: float
    left: tuple[str, ...]
    """Processes and cgroups that outlived the end."""


def try_task(*, user: str, owner: str) -> Trial:
    """Run and end a task that hides; must be called in a fork of its own.

    Args:
        user: whom it runs as; empty for ourselves.
        owner: the state directory, noted with the cgroups in case that we are killed.

    Raises:
        LaunchError: a step could not be done; the text names it.
        trio.TooSlowError: the task did not start.
    """
    set_child_subreaper()
    return trio.run(_try_task, user, owner)


def _spec(user: str) -> TaskSpec:
    return TaskSpec(
        id="doctor",
        alloc_id="doctor",
        name="doctor",
        alloc_dir="/",
        user=user,
        stdout_path="",
        stderr_path="",
        env={"PATH": os.defpath},
        resources=Resources(memory_hard_bytes=MEMORY_BYTES, cpu_shares_mhz=CPU_SHARES),
        msgpack_driver_config=b"",
    )


async def _try_task(user: str, owner: str) -> Trial:
    children = Children()
    spec = _spec(user)
    plan = host_plan(f"{'0' * 12}-{os.getpid():012x}", spec, TaskOptions())
    containment = Containment(plan, children, owner=owner)
    try:
        containment.make()
        is_born_inside = plan.born_in is not None and _is_born_inside(plan.born_in)
        async with trio.open_nursery() as nursery:
            await nursery.start(children.reap_until_cancelled)
            seen = await _start_and_end(spec, containment, children)
            nursery.cancel_scope.cancel()
    finally:
        with trio.move_on_after(LIMIT_S):
            await containment.close(limit_s=LIMIT_S)  # noqa: ASYNC102 - nobody cancels a trial
    left = [f"pid {pid}" for pid in seen.pids if parent_of(pid) is not None]
    left += [f"cgroup {path}" for path in plan.own_paths if path.exists()]
    return Trial(
        tier=plan.tier.value,
        uids=seen.uids,
        pids=seen.pids,
        outside=seen.outside,
        is_born_inside=is_born_inside,
        limits=seen.limits,
        counts_oom_kills=seen.counts_oom_kills,
        end_s=seen.end_s,
        left=tuple(left),
    )


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What there was while the task ran, and how long its end took."""

    uids: tuple[int, ...]
    pids: tuple[int, ...]
    outside: tuple[int, ...]
    limits: dict[str, str | None]
    counts_oom_kills: bool
    end_s: float


async def _start_and_end(spec: TaskSpec, containment: Containment, children: Children) -> _Seen:
    plan = containment.plan
    with open(os.devnull, "r+b") as null:
        launch = LaunchPlan(
            path="/bin/sh",
            argv=["sh", "-c", SCRIPT],
            env=spec.env,
            work_dir="/",
            stdin=null.fileno(),
            stdout=null.fileno(),
            stderr=null.fileno(),
            born_in=plan.born_in,
            joined=containment.joined_paths,
            credentials=credentials_of(spec.user, TaskOptions().denied_ids),
            limits=ProcessLimits.of_this_process(),
            no_new_privs=plan.tier is Tier.NONE,
        )
        async with open_workload(launch, children):
            pids = await _wait_for_all()
            members = cgroup.procs(plan.kill_path, recursive=True) if plan.kill_path else []
            uids = {os.stat(f"/proc/{pid}").st_uid for pid in pids}
            limits = {str(path): _read(path) for path, _ in plan.limits}
            counts = plan.memory_path and cgroup.oom_kill_count(plan.memory_path)
            began_s = time.monotonic()
            await containment.close(limit_s=LIMIT_S)
            return _Seen(
                uids=tuple(sorted(uids)),
                pids=tuple(pids),
                outside=tuple(pid for pid in pids if pid not in members),
                limits=limits,
                counts_oom_kills=counts is not None,
                end_s=time.monotonic() - began_s,
            )


async def _wait_for_all() -> list[int]:
    """Our descendants, once all of the script's are there and none is on its way."""
    with trio.fail_after(LIMIT_S):
        while True:
            pids = descendants_of(os.getpid())
            if len(pids) == SCRIPT_PROCESSES and all(map(_has_come, pids)):
                return pids
            await trio.sleep(0.01)


def _has_come(pid: int) -> bool:
    """Whether the process is one of those that sleep, and not a shell that will be."""
    try:
        return Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
    except OSError:
        return False


def _read(path: Path) -> str | None:
    try:
        return cgroup.read(path).strip()
    except OSError:
        return None


def _is_born_inside(path: Path) -> bool:
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        pid = fork_into(fd)
        if pid == 0:
            os._exit(0 if Path(cgroup.of(os.getpid())[""]).name == path.name else 1)
        return os.waitpid(pid, 0)[1] == 0
    except OSError:
        return False
    finally:
        os.close(fd)
