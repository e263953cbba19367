"""Process: makes the current process fit to be a go-plugin plugin, before anything else runs.

Owns the process-wide settings: file descriptors 0 to 2, signal dispositions, `logging`'s root.

Rules:
- Nothing but the handshake ever reaches the agent's stdout (H2). What is printed, by Python, by a
  C library or by a child, becomes a log line at DEBUG: fd 1 is a pipe whose reader is a thread of
  ours. A thread, because a print longer than the pipe from the thread of Trio would wait for
  itself; a pipe and not fd 2, because a printed line may be JSON that panics the agent (H3).
- No descriptor but 0, 1 and 2 passes an exec (H1). fd 2 stays the agent's stderr: a crash of the
  interpreter must be able to say why. So **whoever starts a process that may outlive this one
  must replace all of its fds 0, 1 and 2**, or the agent never learns that the plugin ended.
- Signals get handlers that do nothing, never SIG_IGN, which children would inherit (H15).

Must not know: gRPC, Trio (its import takes longer than all of this).

Source: nomad-protocol §0, §1.6, §1.13, Appendix D.1.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import fcntl
import logging
import os
import signal
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from trio_driver.goplugin.handshake import CookieError, PluginEnvironment
from trio_driver.goplugin.log_handler import HclogHandler, open_log_fd

if TYPE_CHECKING:
    import io
    from collections.abc import Mapping
    from types import TracebackType

LOGGER: Final = logging.getLogger("trio_driver.goplugin")
STDOUT_LOGGER: Final = logging.getLogger("trio_driver.stdout")

_HANDLED_SIGNALS: Final = (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ)
"""The terminal's, meant for the agent (§1.13), and those that Python ignores with SIG_IGN."""

_QUIET_LOGGERS: Final = ("hpack", "h2")
"""They log every header at DEBUG, which costs more than the RPC."""

_STDOUT_PIPE_BYTES: Final = 1 << 20
"""Room for what C code prints in one go while it holds the GIL, which our reader needs too."""

_PIECE_BYTES: Final = 16 * 1024
"""A longer line is logged in pieces of one to two times this, which fit into a line of hclog."""

_LAST_LINES_LIMIT_S: Final = 0.2
"""How long the end of the process waits for its last prints: little of the agent's 2 s (H13)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginProcess:
    """What `prepare_process` found and saved; it is there for the life of the process."""

    environment: PluginEnvironment
    handshake_fd: int
    """The agent's stdout pipe: for one line. Close-on-exec."""
    log_fd: int
    """The agent's stderr pipe, for the log. Close-on-exec."""
    parent_pidfd: int | None
    """The process that started this one, normally the agent; None when it is gone already or
    cannot be seen (another pid namespace)."""


def prepare_process(environ: Mapping[str, str] = os.environ) -> PluginProcess:
    """Turn this process into a plugin. Not twice: see `prepare_process_once`.

    What has been printed before and is still in `sys.stdout`'s buffer goes to the log as well. What
    is out already (flushed, or printed under PYTHONUNBUFFERED) has spoiled the handshake.

    Raises:
        SystemExit: with status 1, when no agent started this process; says so on stderr.
    """
    try:
        environment = PluginEnvironment.parse(environ)
    except CookieError as hint:
        sys.stderr.write(hint.message)
        raise SystemExit(1) from None
    handshake_fd = _move_away(1)
    log_fd = open_log_fd(2)
    _keep_from_children()
    _replace_fd(0, os.O_RDONLY)
    _handle_signals()
    _log_to(log_fd)
    _log_stdout()
    return PluginProcess(
        environment=environment,
        handshake_fd=handshake_fd,
        log_fd=log_fd,
        parent_pidfd=_open_parent(),
    )


def _move_away(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)


def _replace_fd(fd: int, flags: int) -> None:
    """Put /dev/null where `fd` was."""
    null_fd = os.open(os.devnull, flags | os.O_CLOEXEC)
    os.dup2(null_fd, fd, inheritable=True)
    os.close(null_fd)


def _keep_from_children() -> None:
    """Mark all descriptors from 3 up close-on-exec: a wrapper script may have left duplicates."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2:
            with contextlib.suppress(OSError):  # the listing's own descriptor
                os.set_inheritable(fd, False)


def _handle_signals() -> None:
    for signum in _HANDLED_SIGNALS:
        signal.signal(signum, lambda _signum, _frame: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _log_to(log_fd: int) -> None:
    """Send everything that is logged, warned or fatal to `log_fd`."""
    # When nobody reads the log any more, plain writes to stderr must not fail either (H16).
    handler = HclogHandler(log_fd, on_broken=lambda: _replace_fd(2, os.O_WRONLY))
    logging.basicConfig(level=logging.DEBUG, handlers=[handler], force=True)
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    # As plain text a traceback would be DEBUG to the agent: the reason of the end, unseen.
    sys.excepthook = _log_fatal
    faulthandler.enable()


def _log_fatal(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    LOGGER.critical("the plugin failed", exc_info=(kind, error, traceback))


def _log_stdout() -> None:
    """Make fd 1 a pipe into the log, and keep it so until the process ends."""
    read_fd, write_fd = os.pipe()
    with contextlib.suppress(OSError):  # a user's limit for pipes; then it is the usual 64 KiB
        fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, _STDOUT_PIPE_BYTES)
    os.dup2(write_fd, 1, inheritable=True)
    os.close(write_fd)
    # Print by print, as on a terminal: a pipe would otherwise get 8 KiB at a time.
    cast("io.TextIOWrapper[io.BufferedWriter]", sys.stdout).reconfigure(line_buffering=True)
    reader = threading.Thread(target=_log_lines, args=(read_fd,), name="stdout", daemon=True)
    reader.start()
    atexit.register(_end_stdout, reader)


def _log_lines(read_fd: int) -> None:
    """Log what arrives, a line at a time, until the last writer is gone."""
    pending = b""
    while chunk := os.read(read_fd, _PIECE_BYTES):
        *lines, pending = (pending + chunk).split(b"\n")
        if len(pending) >= _PIECE_BYTES:
            lines.append(pending)
            pending = b""
        _log_texts(lines)
    _log_texts([pending])
    os.close(read_fd)


def _log_texts(lines: list[bytes]) -> None:
    for line in lines:
        if line.strip():
            STDOUT_LOGGER.debug("%s", line.decode(errors="replace").rstrip("\r"))


def _end_stdout(reader: threading.Thread) -> None:
    """Log the last prints; a child that still holds fd 1 is not waited for."""
    with contextlib.suppress(ValueError):  # closed by the driver
        sys.stdout.flush()
    _replace_fd(1, os.O_WRONLY)
    reader.join(_LAST_LINES_LIMIT_S)


def _open_parent() -> int | None:
    parent = os.getppid()
    try:
        pidfd = os.pidfd_open(parent)
    except OSError:
        return None
    # Still our parent, so it was alive when the pidfd was made, and the pidfd is its own.
    if os.getppid() == parent:
        return pidfd
    os.close(pidfd)
    return None
