"""The kernel, one thing a module, without policy.

Rules:
- A function here does what the kernel does and says what the kernel said: errors are `OSError`s or
  typed ones that name the path or value. When to call it, how long to wait and what to do next is
  the caller's.
- Synchronous unless it waits, and then it is cancellable and leaves nothing behind.

Use the names below, or a module as a whole: `from trio_driver.linux import ProcessId, cgroup`.
"""

from __future__ import annotations

from trio_driver.linux import cgroup, fds, files, locks, namespaces, prctl, process, signals, user
from trio_driver.linux.cgroup_usage import (
    PIDS_LIMIT,
    CgroupUsage,
    CpuUsage,
    MemoryUsage,
    Throttling,
)
from trio_driver.linux.clone import fork_into
from trio_driver.linux.fds import (
    NotAFifoError,
    close_all_except,
    fd_count,
    is_pipe_full,
    open_beneath,
    open_fifo_reader,
    open_fifo_writer,
    queued_bytes,
)
from trio_driver.linux.files import (
    TEMPORARY_SUFFIX,
    ReservedRecord,
    prepare_record,
    reserve_record,
    write_atomic,
    write_once,
)
from trio_driver.linux.hangup import wait_hung_up
from trio_driver.linux.kmsg import OomKill, oom_kills
from trio_driver.linux.locks import ForeignLockError, lock_owner, try_lock
from trio_driver.linux.namespaces import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    enter_namespace,
    map_only_own_ids,
    mount_own_proc,
    open_namespace,
)
from trio_driver.linux.prctl import (
    is_child_subreaper,
    set_child_subreaper,
    set_name,
    set_no_new_privs,
    set_parent_death_signal,
)
from trio_driver.linux.process import (
    ProcessId,
    boot_id,
    children_of,
    descendants_of,
    has_ended,
    identify,
    is_alive,
    open_pidfd,
    parent_of,
    signal_pidfd,
    wait_pidfd,
)
from trio_driver.linux.pty import (
    Terminal,
    end_of_input,
    make_controlling,
    open_terminal,
    set_terminal_size,
)
from trio_driver.linux.signals import UnknownSignalError, name_of_signal, signum_of
from trio_driver.linux.unix_socket import listen_unix
from trio_driver.linux.usage import (
    CLOCK_TICKS_PER_S,
    Descriptors,
    KeptFile,
    ProcessUsage,
    process_swap_bytes,
    process_usage,
)
from trio_driver.linux.user import Credentials, UserNotFoundError, lookup

__all__ = [
    "CLOCK_TICKS_PER_S",
    "CLONE_NEWNET",
    "CLONE_NEWNS",
    "CLONE_NEWPID",
    "CLONE_NEWUSER",
    "PIDS_LIMIT",
    "TEMPORARY_SUFFIX",
    "CgroupUsage",
    "CpuUsage",
    "Credentials",
    "Descriptors",
    "ForeignLockError",
    "KeptFile",
    "MemoryUsage",
    "NotAFifoError",
    "OomKill",
    "ProcessId",
    "ProcessUsage",
    "ReservedRecord",
    "Terminal",
    "Throttling",
    "UnknownSignalError",
    "UserNotFoundError",
    "boot_id",
    "cgroup",
    "children_of",
    "close_all_except",
    "descendants_of",
    "end_of_input",
    "enter_namespace",
    "fd_count",
    "fds",
    "files",
    "fork_into",
    "has_ended",
    "identify",
    "is_alive",
    "is_child_subreaper",
    "is_pipe_full",
    "listen_unix",
    "lock_owner",
    "locks",
    "lookup",
    "make_controlling",
    "map_only_own_ids",
    "mount_own_proc",
    "name_of_signal",
    "namespaces",
    "oom_kills",
    "open_beneath",
    "open_fifo_reader",
    "open_fifo_writer",
    "open_namespace",
    "open_pidfd",
    "open_terminal",
    "parent_of",
    "prctl",
    "prepare_record",
    "process",
    "process_swap_bytes",
    "process_usage",
    "queued_bytes",
    "reserve_record",
    "set_child_subreaper",
    "set_name",
    "set_no_new_privs",
    "set_parent_death_signal",
    "set_terminal_size",
    "signal_pidfd",
    "signals",
    "signum_of",
    "try_lock",
    "user",
    "wait_hung_up",
    "wait_pidfd",
    "write_atomic",
    "write_once",
]
