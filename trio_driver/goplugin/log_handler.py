"""Log handler: Python's `logging` into the agent's log pipe.

Owns the writing of lines to one file descriptor; it does not own the descriptor.

Rules:
- Logging never fails and never blocks for long. A pipe without a reader (the agent was killed and
  this plugin lives on, H16) and a reader that stands still both cost log lines, nothing else.
- Key/value pairs come as `extra={"kv": {...}}`, an exception as the pair `exception`.

Must not know: what is logged, Trio.

Source: nomad-protocol §1.7, §1.15.
"""

from __future__ import annotations

import logging
import os
import select
import stat
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, cast

from trio_driver.goplugin.hclog import Level, LogRecord, encode_record

TRACE: Final = 5
"""Level for `logging` that becomes hclog's trace: below DEBUG, as there."""

_STALL_LIMIT_MS: Final = 100
"""How long a line waits for a full pipe: long for a busy reader, short for an event loop."""

_LEVELS: Final = (
    (logging.ERROR, Level.ERROR),
    (logging.WARNING, Level.WARN),
    (logging.INFO, Level.INFO),
    (logging.DEBUG, Level.DEBUG),
)


class HclogHandler(logging.Handler):
    """Writes every record as a line of hclog JSON to `fd`.

    Args:
        fd: where to write; stays the caller's. With O_NONBLOCK set (see `open_log_fd`) a reader
            that stands still costs at most 0.1 s once, and the lines until it reads again, whose
            number is logged then. Without it, it blocks.
        on_broken: called once, when nobody can read any more (EPIPE).
    """

    def __init__(self, fd: int, *, on_broken: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._fd = fd
        self._on_broken = on_broken
        self._broken = False
        self._stalled = False
        self._torn = False
        """The pipe holds the beginning of a line whose end was dropped."""
        self._dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record. Raises nothing; called with the handler's lock held."""
        if self._broken:
            return
        line = encode_record(to_hclog(record))
        if self._dropped:
            line = _dropped_line(self._dropped) + line
        if self._write(line):
            self._dropped = 0
        else:
            self._dropped += 1

    def _write(self, line: bytes) -> bool:
        """Write all of `line`; False when it was dropped: the pipe is full, or broken."""
        rest = memoryview(b"\n" + line if self._torn else line)
        try:
            while rest:
                try:
                    count = os.write(self._fd, rest)
                except BlockingIOError:
                    if not self._wait_room():
                        return False
                else:
                    rest = rest[count:]
                    self._torn = len(rest) > 0
        except OSError:
            self._broken = True
            self._on_broken()
            return False
        self._stalled = False
        return True

    def _wait_room(self) -> bool:
        """Wait a moment for the reader, unless it has been found standing still already."""
        if self._stalled:
            return False
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        self._stalled = not poll.poll(_STALL_LIMIT_MS)
        return not self._stalled


def open_log_fd(fd: int) -> int:
    """A close-on-exec descriptor of our own for what `fd` writes to.

    A pipe is opened anew: O_NONBLOCK on a duplicate would also hit `fd`, and with it everybody
    who writes there and does not expect EAGAIN. Where that is not possible (a pipe of another
    user, no pipe at all) it is a plain duplicate, which blocks.
    """
    if stat.S_ISFIFO(os.fstat(fd).st_mode):
        try:
            return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            pass
    own = os.dup(fd)
    os.set_inheritable(own, False)
    return own


def to_hclog(record: logging.LogRecord) -> LogRecord:
    """The hclog form of a record of `logging`."""
    fields = {str(key): value for key, value in _pairs(record).items()}
    if record.exc_info:
        fields["exception"] = logging.Formatter().formatException(record.exc_info)
    return LogRecord(
        level=_level(record.levelno),
        message=_message(record),
        module=record.name,
        timestamp=datetime.fromtimestamp(record.created, UTC),
        fields=fields,
    )


def _pairs(record: logging.LogRecord) -> Mapping[object, object]:
    pairs: object = getattr(record, "kv", None)
    if isinstance(pairs, Mapping):
        return cast("Mapping[object, object]", pairs)
    return {} if pairs is None else {"kv": pairs}


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:
        # Arguments that do not fit the format: a mistake of the caller, who should not die of it.
        return f"{record.msg} (with arguments that do not fit: {record.args!r})"


def _level(levelno: int) -> Level:
    for lowest, level in _LEVELS:
        if levelno >= lowest:
            return level
    return Level.TRACE


def _dropped_line(count: int) -> bytes:
    message = "the agent did not read its log pipe: log lines were dropped"
    return encode_record(
        LogRecord(
            level=Level.WARN,
            message=message,
            module=__name__,
            timestamp=datetime.now(UTC),
            fields={"dropped": count},
        )
    )
