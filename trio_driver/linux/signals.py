"""Signal names as people write them in jobs.

Rules:
- Any case, with or without SIG; numbers; RTMIN+n and RTMAX-n; SIGNULL (0), which Nomad's table has.
- An unknown name is an error, never another signal.

It must not know what a signal is sent to.
"""

from __future__ import annotations

import re
import signal

_REAL_TIME = re.compile(r"RT(?:MIN\+|MAX-)([0-9]{1,2})", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,3}", re.ASCII)

_NAMES = {name.removeprefix("SIG"): member for name, member in signal.Signals.__members__.items()}


class UnknownSignalError(ValueError):
    """The name or number is none of a signal of this kernel."""

    def __init__(self, name: str) -> None:
        """Name what was asked for, and what would be accepted."""
        super().__init__(
            f'unknown signal "{name}": accepted are {", ".join(sorted(_NAMES))}, '
            "each with or without SIG and in any case, RTMIN+n, RTMAX-n, NULL, and numbers"
        )
        self.name = name


def signum_of(name: str) -> int:
    """The number of the signal `name`: a `signal.Signals` member where Python has one.

    Raises:
        UnknownSignalError: there is no such signal. Numbers that the C library keeps for itself
            (32 and 33) are none.

    Source: signal(7).
    """
    if _NUMBER.fullmatch(name):
        return _member(name, int(name))
    bare = name.upper().removeprefix("SIG")
    if bare == "NULL":
        return 0
    if member := _NAMES.get(bare):
        return member
    if found := _REAL_TIME.fullmatch(bare):
        offset = int(found[1])
        low = bare.startswith("RTMIN")
        signum = signal.SIGRTMIN + offset if low else signal.SIGRTMAX - offset
        if signal.SIGRTMIN <= signum <= signal.SIGRTMAX:
            return _member(name, signum)
    raise UnknownSignalError(name)


def _member(name: str, signum: int) -> int:
    if signum not in {0, *signal.valid_signals()}:
        raise UnknownSignalError(name)
    try:
        return signal.Signals(signum)
    except ValueError:  # 0, and the real-time signals between the first and the last
        return signum


def name_of_signal(signum: int) -> str:
    """As people write it, and `signum_of` reads it."""
    if signum == 0:
        return "SIGNULL"
    if signal.SIGRTMIN < signum < signal.SIGRTMAX:
        return f"SIGRTMIN+{signum - signal.SIGRTMIN}"
    return signal.Signals(signum).name
