"""Forking a child that is born in a cgroup.

Rules:
- Only for a process with one thread: the C library's own preparations for a fork (locks that
  another thread may hold) are passed over. Its idea of the thread id is stale in the child, which
  matters to nothing that execs.
- What the kernel does not know is an OSError, and no child: fork then, and join.

Moving a process that exists waits for all CPUs (an RCU grace period, some 10 ms); being born there
does not, and there is no moment at which the child is elsewhere.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import threading

SYS_CLONE3 = 435
"""The same on every architecture. Source: Linux, include/uapi/asm-generic/unistd.h."""

CLONE_INTO_CGROUP = 0x2_0000_0000
"""Linux 5.7. Source: clone(2)."""


class _CloneArguments(ctypes.Structure):
    """`struct clone_args` of Linux 5.7. Source: clone(2)."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            "flags",
            "pidfd",
            "child_tid",
            "parent_tid",
            "exit_signal",
            "stack",
            "stack_size",
            "tls",
            "set_tid",
            "set_tid_size",
            "cgroup",
        )
    )


# PyDLL keeps the interpreter's lock, which the child must hold when it comes back.
_LIBC = ctypes.PyDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long
_BEFORE_FORK = ctypes.pythonapi.PyOS_BeforeFork
_AFTER_FORK_PARENT = ctypes.pythonapi.PyOS_AfterFork_Parent
_AFTER_FORK_CHILD = ctypes.pythonapi.PyOS_AfterFork_Child


def fork_into(cgroup_fd: int | None, *, flags: int = 0) -> int:
    """As `os.fork`, with the child in the v2 cgroup behind the directory `cgroup_fd`, and in the new
    namespaces that `flags` name (CLONE_NEWPID and the like).

    Raises:
        OSError: no child was made: ENOSYS or E2BIG before Linux 5.7, EPERM under a seccomp filter,
            EBUSY for a
        cgroup with controllers enabled below, ENODEV for a removed one, EAGAIN at a limit; EDEADLK
            if this process has threads.
    """
    if threading.active_count() > 1:
        raise OSError(errno.EDEADLK, "this process has more than one thread")
    arguments = _CloneArguments(
        flags=flags | (0 if cgroup_fd is None else CLONE_INTO_CGROUP),
        exit_signal=int(signal.SIGCHLD),
        cgroup=cgroup_fd or 0,
    )
    size = ctypes.c_size_t(ctypes.sizeof(arguments))
    _BEFORE_FORK()
    pid: int = _LIBC.syscall(ctypes.c_long(SYS_CLONE3), ctypes.byref(arguments), size)
    if pid == 0:
        _AFTER_FORK_CHILD()
        return 0
    number = ctypes.get_errno()
    _AFTER_FORK_PARENT()
    if pid < 0:
        raise OSError(number, os.strerror(number))
    return pid
