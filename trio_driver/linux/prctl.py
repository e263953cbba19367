"""The prctl(2) calls that tie a process to its parent and its children to it.

Rules:
- Everything is looked up when this module is imported: between fork and exec each function is one
  system call, with no import, no allocation worth the name and no logging.

It must not know who calls, or when: the order of calls around setuid and exec is the caller's.
"""

from __future__ import annotations

import ctypes
import os

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PR_GET_CHILD_SUBREAPER = 37
_PR_SET_NO_NEW_PRIVS = 38
# Source: <linux/prctl.h>

NAME_BYTES = 15
"""Longest name of a thread in bytes: TASK_COMM_LEN, 16, less the final zero."""

_LIBC = ctypes.CDLL(None, use_errno=True)
_PRCTL = _LIBC.prctl
_PRCTL.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_PRCTL.restype = ctypes.c_int


def set_child_subreaper(wanted: bool = True) -> None:
    """Become the parent of every descendant that loses its own, or cease to. Not inherited by
    children.

    Source: PR_SET_CHILD_SUBREAPER(2const).
    """
    _prctl("PR_SET_CHILD_SUBREAPER", _PR_SET_CHILD_SUBREAPER, int(wanted))


def is_child_subreaper() -> bool:
    """Whether `set_child_subreaper` holds. Source: PR_GET_CHILD_SUBREAPER(2const)."""
    answer = ctypes.c_int()
    _prctl("PR_GET_CHILD_SUBREAPER", _PR_GET_CHILD_SUBREAPER, ctypes.addressof(answer))
    return bool(answer.value)


def set_parent_death_signal(signum: int) -> None:
    """Get `signum` from the kernel when the *thread* that forked this process ends; 0: never.

    Cleared by fork (in the child), by a change of uid or gid, and by executing a set-id or
    capability-bearing file. A parent that ended before this call sends nothing: check getppid
    afterwards.

    Raises:
        OSError: `signum` is not a signal number.

    Source: PR_SET_PDEATHSIG(2const).
    """
    _prctl("PR_SET_PDEATHSIG", _PR_SET_PDEATHSIG, signum)


def set_no_new_privs() -> None:
    """Never gain privileges by exec again: set-id bits and file capabilities no longer count.

    Inherited by children, kept over exec, not revocable.

    Source: PR_SET_NO_NEW_PRIVS(2const).
    """
    _prctl("PR_SET_NO_NEW_PRIVS", _PR_SET_NO_NEW_PRIVS, 1)


def set_name(name: str) -> None:
    """Name the calling thread as ps and top show it, cut to `NAME_BYTES` bytes.

    Raises:
        ValueError: `name` holds a zero byte.

    Source: PR_SET_NAME(2const).
    """
    # Cut here, at a character, so that no reader meets half of one.
    encoded = name.encode()[:NAME_BYTES].decode(errors="ignore").encode()
    if b"\0" in encoded:
        raise ValueError(f"process name holds a zero byte: {name!r}")
    buffer = ctypes.create_string_buffer(encoded, NAME_BYTES + 1)
    _prctl("PR_SET_NAME", _PR_SET_NAME, ctypes.addressof(buffer))


def _prctl(name: str, option: int, argument: int) -> None:
    if _PRCTL(option, argument, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({name}, {argument}): {os.strerror(number)}")
