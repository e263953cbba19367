"""The process between executor and workload in a task with a pid namespace of its own: the
namespace's first process, or the one that brings a session into it.

    executor ── proxy ── workload

Pid 1 of a namespace ignores the signals that it has no handler for, and inherits every orphan in it:
no part for a workload. So the proxy is it: it forks the workload, reaps whatever ends, passes the
workload's status on, and ends. With it the kernel kills all that is in the namespace.

Rules:
- It holds no descriptor but the one for the status: log pipes must end with the workload.
- Its signals stay blocked; only SIGKILL, from outside, ends it before its workload. The executor
  signals the workload itself, through a pidfd.
- It runs between fork and exec of the workload, and for as long as that lives: no logging, no
  imports, no return into the executor's code.
"""

import os
import signal
from pathlib import Path
from typing import NoReturn

from trio_driver.linux import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    children_of,
    close_all_except,
    enter_namespace,
    identify,
    is_alive,
    map_only_own_ids,
    mount_own_proc,
    open_namespace,
    open_pidfd,
    set_name,
    set_parent_death_signal,
)

PRIVATE = "private"

FIRST_PID = 2
"""The workload's pid in its own namespace: the proxy's first child."""


def clone_flags() -> int:
    """What a private pid namespace is made with: an ordinary user needs one of users too."""
    return CLONE_NEWPID | CLONE_NEWNS | (CLONE_NEWUSER if os.geteuid() != 0 else 0)


def settle(uid: int, gid: int) -> None:
    """Make the new namespaces usable, in the process that was cloned into them.

    Raises:
        OSError: the kernel refuses.
    """
    if uid != 0:
        map_only_own_ids(uid, gid)
    mount_own_proc()


def enter(proxy_pid: int) -> int:
    """Let this process's children be in the pid namespace of a proxy that lives; a descriptor of its
    mount namespace, which the child enters by itself: for us /proc must stay what it is.

    Args:
        proxy_pid: an unreaped child of the executor.

    Raises:
        OSError: the kernel refuses; FileNotFoundError when the proxy has ended.
    """
    own = f"/proc/{proxy_pid}/ns"
    mounts = open_namespace(f"{own}/mnt", CLONE_NEWNS)
    pids = open_namespace(f"{own}/pid", CLONE_NEWPID)
    if os.readlink(f"{own}/user") != os.readlink("/proc/self/ns/user"):
        enter_namespace(open_namespace(f"{own}/user", CLONE_NEWUSER), CLONE_NEWUSER)
    enter_namespace(pids, CLONE_NEWPID)
    return mounts


def split(status: int, report: int) -> None:
    """Fork the workload: returns in it. The caller becomes its proxy, and does not return.

    Args:
        status: where the workload's wait status is written, for the executor.
        report: the workload's, closed here.
    """
    set_parent_death_signal(signal.SIGKILL)
    pid = os.fork()
    if pid != 0:
        os.close(report)
        _be_proxy(pid, status)


def _be_proxy(workload_pid: int, status: int) -> NoReturn:
    try:
        close_all_except({status})
        set_name("trio-init")
        while True:
            pid, wait_status = os.waitpid(-1, 0)
            if pid == workload_pid:
                os.write(status, str(wait_status).encode())
                break
    finally:
        os._exit(0)


def find_behind(proxy_pid: int, *, is_first: bool) -> tuple[int, int] | None:
    """The workload behind a proxy that is an unreaped child of ours: its pid on the host, and a
    pidfd; None when it has ended.

    Args:
        is_first: of a namespace's first process, which has orphans for children as well.
    """
    for pid in children_of(proxy_pid):
        process = identify(pid)
        if process is None or (is_first and _pid_inside(pid) != FIRST_PID):
            continue
        try:
            pidfd = open_pidfd(process)
        except ProcessLookupError:
            continue
        if pid in children_of(proxy_pid) and is_alive(process):
            return pid, pidfd
        os.close(pidfd)
    return None


def _pid_inside(pid: int) -> int | None:
    """Its pid in its own namespace. Source: proc_pid_status(5), NSpid."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("NSpid:"):
            return int(line.split()[-1])
    return None
