"""How a task ended, and only what is known of it.

Rules:
- Unknown is `Lost`, never a number.
- The one place that must speak Nomad's integers converts (`convert.exit_result`).
"""

import signal
from typing import assert_never

import msgspec


class Exited(msgspec.Struct, frozen=True, tag="exited"):
    """The main process ended by itself with `code`, 0 to 255."""

    code: int


class Signaled(msgspec.Struct, frozen=True, tag="signaled"):
    """The main process was ended by the signal `signum`."""

    signum: int


class Lost(msgspec.Struct, frozen=True, tag="lost"):
    """The task ended while nobody was its parent; its status is not knowable."""

    reason: str


TaskExit = Exited | Signaled | Lost


def shell_status(task_exit: TaskExit) -> int:
    """Exit code as Nomad's own executors report it: a signal counts 128 + its number, a lost one
    -1.

    Source: nomad-protocol §4.7.
    """
    match task_exit:
        case Exited(code):
            return code
        case Signaled(signum):
            return 128 + signum
        case Lost():
            return -1
        case _:
            assert_never(task_exit)


def describe_exit(task_exit: TaskExit) -> str:
    """One clause for logs and events, such as `exited with code 3`."""
    match task_exit:
        case Exited(code):
            return f"exited with code {code}"
        case Signaled(signum):
            return f"was ended by {_signal_name(signum)}"
        case Lost(reason):
            return f"was lost: {reason}"
        case _:
            assert_never(task_exit)


def _signal_name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:
        return f"signal {signum}"
