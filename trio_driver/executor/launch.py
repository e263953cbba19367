"""From fork to exec: the child does every step itself and reports the one that fails.

Rules:
- The fork happens in the executor's main thread, for a parent-death signal is bound to the thread
  that forked.
- The parent-death signal is set after setuid, which would disarm it, and then the parent is
  checked: one that died before cannot send it any more.
- Between fork and exec: no logging, no imports, no allocation worth the word, no return into the
  parent's code.
- The task's environment is data until exec: the executor never runs with it (`LD_*`, `PYTHON*` come
  from a job).

Must not know: Trio, records, RPCs.
"""

import errno
import os
import resource
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from trio_driver.executor.proxy import PRIVATE, clone_flags, enter, settle, split
from trio_driver.linux import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    Credentials,
    cgroup,
    close_all_except,
    enter_namespace,
    fork_into,
    make_controlling,
    open_namespace,
    set_no_new_privs,
    set_parent_death_signal,
)
from trio_driver.model import LaunchError
from trio_driver.spawner import ProcessLimits

CHILD_FAILED = 127
"""Exit status of a child that could not exec; nobody sees it but a debugger."""

REPORT_BYTES = 4096
"""A report is one write below PIPE_BUF, so it arrives whole or not at all."""

REPORTED_TEXT = 900
"""Characters of a value that a report can hold, each of at most four bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPlan:
    """All that a child needs; every value in it was checked as far as that can be done before the
    fork."""

    path: str
    """The program's file, absolute."""
    argv: list[str]
    env: Mapping[str, str]
    work_dir: str
    stdin: int
    stdout: int
    stderr: int
    born_in: Path | None
    """A v2 cgroup; None where there is none."""
    joined: Sequence[Path]
    """v1 cgroups."""
    credentials: Credentials | None
    limits: ProcessLimits
    ulimits: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """Soft and hard limit by name; unlike `limits`, which are the agent's, those that the job asked
    for: one that cannot be set is an error."""
    oom_score_adj: int = 0
    no_new_privs: bool = False
    private_pids: bool = False
    """Whether to make a pid namespace, with a proxy as its first process."""
    own_uid: int = 0
    own_gid: int = 0
    """The executor's, which a new user namespace does not know by itself."""
    behind: int | None = None
    """A proxy whose namespaces to enter, through one of our own."""
    network_path: str = ""
    """A network namespace to run in; empty: our own."""
    has_terminal: bool = False
    """Stdin is a terminal, which becomes the controlling one."""
    pass_fds: Sequence[int] = field(default_factory=tuple[int, ...])

    @property
    def has_proxy(self) -> bool:
        """Whether a process stands between executor and workload."""
        return self.private_pids or self.behind is not None


@dataclass(frozen=True, slots=True)
class ForkedChild:
    """A child on its way to exec: `report` is readable when it got there (end of file) or failed (a
    report)."""

    pid: int
    report: int
    status: int = -1
    """Of a proxy: where it writes the workload's wait status."""


def fork_child(plan: LaunchPlan) -> ForkedChild:
    """Fork a child that follows `plan`. The caller closes `report` and reaps `pid`.

    Raises:
        LaunchError: the kernel refused the fork, or the pipe for the report.
    """
    report, child_end = _pipe()
    status, status_end = _pipe() if plan.has_proxy else (-1, -1)
    executor_pid = os.getpid()
    # A signal that arrived in the child before its dispositions are reset would wake the parent's loop.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid, is_born_in = _fork(plan)
        if pid == 0:
            _become_workload(plan, executor_pid, child_end, status_end, is_born_in=is_born_in)
    except OSError as error:
        _close_those_open(report, status)
        step, value = ("pid_mode", PRIVATE) if plan.private_pids else ("fork", "")
        raise LaunchError.from_errno(step, value, error.errno or 0) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _close_those_open(child_end, status_end)
    return ForkedChild(pid, report, status)


def _pipe() -> tuple[int, int]:
    try:
        return os.pipe()
    except OSError as error:
        raise LaunchError.from_errno("pipe", "", error.errno or 0) from error


def _close_those_open(*fds: int) -> None:
    for fd in fds:
        if fd >= 0:
            os.close(fd)


def _fork(plan: LaunchPlan) -> tuple[int, bool]:
    """Fork a child into the v2 cgroup if the kernel can; the pid as of fork(2), and whether it is
    there."""
    flags = clone_flags() if plan.private_pids else 0
    if plan.born_in is not None:
        cgroup_fd = os.open(plan.born_in, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return fork_into(cgroup_fd, flags=flags), True
        except OSError as error:
            if error.errno == errno.EAGAIN:  # a limit, which another way of forking would meet too
                raise
        finally:
            os.close(cgroup_fd)
    return (fork_into(None, flags=flags) if flags else os.fork()), False


def read_report(child: ForkedChild) -> LaunchError | None:
    """What the child reported, once `report` is readable: None when it has become the program."""
    text = os.read(child.report, REPORT_BYTES)
    if not text:
        return None
    step, value, number = text.decode("utf-8", "replace").split("\0")
    return LaunchError.from_errno(step, value, int(number))


class _StepError(Exception):
    """A step of the child failed."""

    def __init__(self, step: str, value: str, number: int) -> None:
        super().__init__(step)
        self.report = "\0".join((step, value[:REPORTED_TEXT], str(number))).encode(
            "utf-8", "replace"
        )


def _become_workload(
    plan: LaunchPlan, executor_pid: int, report: int, status: int, *, is_born_in: bool
) -> NoReturn:
    try:
        _join_cgroups(plan, is_born_in=is_born_in)
        _reset_signals()
        if plan.has_proxy:
            with _Step("pid_mode", PRIVATE):
                executor_pid = _go_behind_proxy(plan, report, status)
        _follow(plan, executor_pid, report)
    except _StepError as error:
        os.write(report, error.report)
    except BaseException as error:  # noqa: ASYNC103 - a fork: it never returns
        number = error.errno if isinstance(error, OSError) and error.errno else errno.EIO
        os.write(report, _StepError("launch", type(error).__name__, number).report)
    finally:
        os._exit(CHILD_FAILED)


def _join_cgroups(plan: LaunchPlan, *, is_born_in: bool) -> None:
    if plan.born_in is not None and not is_born_in:
        with _Step("cgroup", str(plan.born_in)):
            cgroup.join(plan.born_in)
    for path in plan.joined:
        with _Step("cgroup", str(path)):
            cgroup.join_thread(path)


def _go_behind_proxy(plan: LaunchPlan, report: int, status: int) -> int:
    """Returns in the workload, with what its parent's pid is there: 1 as in a new namespace, 0 for a
    parent outside."""
    if plan.behind is None:
        settle(plan.own_uid, plan.own_gid)
        split(status, report)
        return 1
    mounts = enter(plan.behind)
    split(status, report)
    enter_namespace(mounts, CLONE_NEWNS)
    return 0


def _follow(plan: LaunchPlan, parent_pid: int, report: int) -> None:
    with _Step("setsid", ""):
        os.setsid()
    if plan.network_path:
        _join_network(plan.network_path)
    with _Step("work_dir", plan.work_dir):
        os.chdir(plan.work_dir)
    with _Step("oom_score_adj", str(plan.oom_score_adj)):
        _write_oom_score(plan.oom_score_adj)
    _take_stdio(plan, report)
    if plan.has_terminal:
        with _Step("terminal", ""):
            make_controlling(0)
    _apply_limits(plan.limits)
    _apply_ulimits(plan.ulimits)
    if plan.credentials is not None:
        with _Step("user", plan.credentials.name):
            os.setgroups(plan.credentials.groups)
            os.setgid(plan.credentials.gid)
            os.setuid(plan.credentials.uid)
    with _Step("parent_death_signal", ""):
        set_parent_death_signal(signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(CHILD_FAILED)
    if plan.no_new_privs:
        with _Step("no_new_privs", ""):
            set_no_new_privs()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with _Step("command", plan.path):
        os.execve(plan.path, plan.argv, plan.env)


class _Step:
    """Names the step and its value for an OSError in the block."""

    def __init__(self, step: str, value: str) -> None:
        self._step = step
        self._value = value

    def __enter__(self) -> None:
        pass

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, OSError):
            raise _StepError(self._step, self._value, error.errno or errno.EIO) from error


def _reset_signals() -> None:
    """Defaults for all: an ignored signal would stay ignored over exec (H15), SIGPIPE is one in
    Python."""
    signal.set_wakeup_fd(-1)
    for signum in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(signum, signal.SIG_DFL)


def _write_oom_score(score: int) -> None:
    fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(score).encode())
    except PermissionError:
        # Only root may go below what was inherited: an ordinary user's task keeps it.
        if os.geteuid() == 0:
            raise
    finally:
        os.close(fd)


def _take_stdio(plan: LaunchPlan, report: int) -> None:
    # Above 2 first, so that no dup2 overwrites a descriptor that is still to be duplicated.
    high = [os.dup(fd) if fd <= 2 else fd for fd in (plan.stdin, plan.stdout, plan.stderr)]
    for number, fd in enumerate(high):
        os.dup2(fd, number)
    close_all_except({0, 1, 2, report, *plan.pass_fds})


def _apply_limits(limits: ProcessLimits) -> None:
    os.umask(limits.umask)
    for name, wanted in limits.rlimits.items():
        number: int = getattr(resource, name)
        if resource.getrlimit(number) != wanted:
            try:
                resource.setrlimit(number, wanted)
            except (ValueError, PermissionError):
                # Only root may raise a hard limit again; a lower one than the agent's is the safe side.
                continue


def check_network(path: str) -> None:
    """Look whether `path` names a network namespace, so that a start fails with words for it.

    Raises:
        LaunchError: it does not, or may not be opened.
    """
    try:
        os.close(open_namespace(path, CLONE_NEWNET))
    except OSError as error:
        reason = "not a network namespace" if error.errno == errno.EINVAL else error.strerror
        raise LaunchError("network namespace", path, str(reason)) from error


def _join_network(path: str) -> None:
    with _Step("network namespace", path):
        fd = open_namespace(path, CLONE_NEWNET)
        enter_namespace(fd, CLONE_NEWNET)
        os.close(fd)


def _apply_ulimits(ulimits: Mapping[str, tuple[int, int]]) -> None:
    for name, (soft, hard) in ulimits.items():
        with _Step("ulimit", f"{name} = {soft}:{hard}"):
            try:
                resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), (soft, hard))
            except ValueError as error:  # what Python makes of the kernel's refusal
                raise PermissionError(errno.EPERM, os.strerror(errno.EPERM)) from error
