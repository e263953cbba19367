"""What trio_driver can promise on this host, each promise tried, and what to change for more.

Rules:
- "yes" was seen to hold, "no" was seen not to; "partly" names what is missing.
- What to change is a command or a setting, not advice.

Must not know: how it is shown.
"""

import os
import resource
import shlex
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from trio_driver.cli import probes
from trio_driver.cli.errors import CommandError
from trio_driver.cli.forked import ForkedError, in_child
from trio_driver.cli.install import identity_of, own_program
from trio_driver.executor import Trial, host_tier, try_task
from trio_driver.linux import cgroup
from trio_driver.state import StateDirectoryError, Tier, find_state_directory

ORDINARY_USER = "nobody"

FDS_A_TASK = 4
"""What a plugin holds open for a running task, at most."""

WANTED_FDS = 4096

SOCKET_PATH_BYTES = 107
"""Source: unix(7), sun_path."""

RUN_SOCKET = "/runs/000000000000-000000000000/socket"


class Guarantee(msgspec.Struct, frozen=True, kw_only=True):
    """One promise. `change` is what to do for more; empty where there is no more."""

    promise: str
    outcome: str
    why: str
    change: str = ""
    is_essential: bool = False
    """Without it no task can run."""


def all_guarantees(state_path: Path) -> Iterator[Guarantee]:
    """Try everything, one after the other."""
    yield _tried(
        "processes are held by descriptor, never by number",
        probes.pidfd,
        "Linux 5.3",
        essential=True,
    )
    yield _tried(
        "an executor finds every process that loses its parent",
        probes.subreaper,
        "Linux 3.4",
        essential=True,
    )
    yield _tried(
        "a task's main process dies with its executor",
        probes.parent_death,
        "Linux 2.1.57",
        essential=True,
    )
    yield from _state_directory(state_path)
    yield _tried(
        "at most one executor of a task lives",
        partial(probes.locks, _existing(state_path)),
        "a state_dir on a local file system",
        essential=True,
    )
    yield _tried(
        "a task cannot redirect its log pipes", probes.log_pipes, "a TMPDIR that can be written"
    )
    yield from _containment(state_path)
    yield _home()
    yield from _users(state_path)
    root_only = "the agent as root"
    yield _tried("a task can have a network namespace", probes.net_namespace, root_only, weak=True)
    yield _tried(
        "a task can have its own process numbers", probes.pid_namespace, root_only, weak=True
    )
    yield _descriptors()
    yield _pids()
    yield _plugin()


def _tried(
    promise: str,
    probe: Callable[[], str],
    needs: str,
    *,
    essential: bool = False,
    weak: bool = False,
) -> Guarantee:
    try:
        why = in_child(probe, str)
    except ForkedError as error:
        return Guarantee(
            promise=promise,
            outcome="no",
            why=str(error),
            change=f"it needs {needs}",
            is_essential=essential and not weak,
        )
    return Guarantee(promise=promise, outcome="yes", why=why, is_essential=essential)


def _existing(path: Path) -> Path:
    """The directory itself, or the nearest one above it that exists."""
    return next(each for each in (path, *path.parents) if each.is_dir())


def _state_directory(path: Path) -> Iterator[Guarantee]:
    promise = "records, locks and sockets are out of reach of tasks"
    length = len(os.fsencode(str(path) + RUN_SOCKET))
    try:
        state = find_state_directory(path)
    except StateDirectoryError as error:
        yield Guarantee(promise=promise, outcome="no", why=str(error), is_essential=True)
        return
    parent = _existing(path)
    if length > SOCKET_PATH_BYTES:
        why = f"{path} is too long: a socket's path in it has {length} bytes, {SOCKET_PATH_BYTES} are possible"
        change = "set a shorter state_dir"
        yield Guarantee(promise=promise, outcome="no", why=why, change=change, is_essential=True)
    elif not os.access(parent, os.W_OK | os.X_OK):
        why = f"{parent} cannot be written by uid {os.geteuid()}"
        change = "set a state_dir that can be"
        yield Guarantee(promise=promise, outcome="no", why=why, change=change, is_essential=True)
    else:
        is_volatile = path.is_relative_to("/run")
        kept = (
            "a reboot empties it" if is_volatile else "on a disk, records are synced: slower starts"
        )
        there = "is this user's alone" if state is not None else f"will be made in {parent}"
        yield Guarantee(
            promise=promise,
            outcome="yes",
            why=f"{path} {there}; {kept}",
            change="" if is_volatile else "a state_dir below /run is faster",
        )


def _containment(state_path: Path) -> Iterator[Guarantee]:
    promise = "nothing of a task outlives it, however it hides"
    try:
        trial = in_child(partial(try_task, user="", owner=os.path.realpath(state_path)), Trial)
    except ForkedError as error:
        why = f"a task could not be started: {error}"
        yield Guarantee(promise=promise, outcome="no", why=why, is_essential=True)
        return
    yield nothing_outlives(promise, trial)
    if trial.tier in (Tier.CGROUP_V2.value, Tier.HYBRID.value):
        yield Guarantee(
            promise="a task's processes never are outside its cgroup",
            outcome="yes" if trial.is_born_inside else "partly",
            why="the kernel made a process in a cgroup"
            if trial.is_born_inside
            else "processes are moved there after their fork, which costs 10 ms a start",
            change="" if trial.is_born_inside else "it needs Linux 5.7 and no filter of clone3",
        )
    yield limit_holds("memory limits of jobs hold", "memory", trial)
    yield limit_holds("CPU shares of jobs hold", "cpu", trial)
    yield Guarantee(
        promise="out of memory is told, and not guessed",
        outcome="yes" if trial.counts_oom_kills else "no",
        why="the kernel counts such kills"
        if trial.counts_oom_kills
        else "nobody counts such kills",
        change="" if trial.counts_oom_kills else _for_controller("memory"),
    )


def nothing_outlives(promise: str, trial: Trial) -> Guarantee:
    """What the end of the trial's task says."""
    count = len(trial.pids)
    if trial.left:
        why = f"of {count} processes there still is: {', '.join(trial.left)}"
        return Guarantee(promise=promise, outcome="no", why=why, is_essential=True)
    ended = f"{count} processes, three of them hidden, were gone after {trial.end_s * 1000:.0f} ms"
    match trial.tier:
        case Tier.NONE.value:
            return Guarantee(
                promise=promise,
                outcome="partly",
                why=f"{ended}; but there is no cgroup: when spawner and executor are killed together, "
                "what left the task's session may survive",
                change=_for_cgroups(),
            )
        case Tier.FREEZER.value:
            why, change = (
                f"{ended}, by the freezer",
                (
                    "the kernel kills a cgroup v2 in one step: mount -t cgroup2 none "
                    "/sys/fs/cgroup/unified (after mkdir)"
                ),
            )
        case _:
            why, change = f"{ended}, by their cgroup", ""
    if trial.outside:
        return Guarantee(
            promise=promise, outcome="partly", why=f"{why}; outside it were {trial.outside}"
        )
    return Guarantee(promise=promise, outcome="yes", why=why, change=change)


def limit_holds(promise: str, controller: str, trial: Trial) -> Guarantee:
    """What the trial says of the limits of one controller."""
    found = {path: value for path, value in trial.limits.items() if _is_of(path, controller)}
    values = [f"{path} = {value}" for path, value in found.items() if value is not None]
    if values:
        return Guarantee(promise=promise, outcome="yes", why=f"the kernel took {', '.join(values)}")
    if trial.tier == Tier.CGROUP_V2.value and controller in _available():
        return Guarantee(
            promise=promise,
            outcome="partly",
            why=f"the controller {controller} is there; Nomad's agent enables it for its tasks, but it "
            "is not for cgroups at the root, which tasks without an agent get",
            change=f"echo +{controller} > /sys/fs/cgroup/cgroup.subtree_control",
        )
    why = f"there is no {controller} cgroup that can be written"
    return Guarantee(promise=promise, outcome="no", why=why, change=_for_controller(controller))


def _is_of(path: str, controller: str) -> bool:
    return Path(path).name.startswith(f"{controller}.")


def _available() -> frozenset[str]:
    unified = cgroup.find_mounts().unified
    return cgroup.controllers(unified) if unified is not None else frozenset()


def _for_cgroups() -> str:
    if os.geteuid() != 0:
        return "run the agent as root"
    if cgroup.find_mounts().unified is None and not cgroup.find_mounts().v1:
        return "mount cgroups: mount -t cgroup2 none /sys/fs/cgroup"
    return "cgroups are mounted read-only here: mount -o remount,rw the hierarchy (a container: --privileged)"


def _for_controller(controller: str) -> str:
    if host_tier() is Tier.NONE:
        return _for_cgroups()
    if cgroup.find_mounts().v1:
        return f"mount it: mount -t cgroup -o {controller} none /sys/fs/cgroup/{controller} (after mkdir)"
    return f"boot with cgroup_enable={controller}"


def _home() -> Guarantee:
    promise = "stopping the agent's service does not take tasks along"
    try:
        entered = in_child(probes.home, list[str])
    except ForkedError as error:
        return Guarantee(promise=promise, outcome="partly", why=str(error))
    if entered:
        return Guarantee(
            promise=promise, outcome="yes", why=f"executors live in {', '.join(entered)}"
        )
    return Guarantee(
        promise=promise,
        outcome="partly",
        why="executors stay in the agent's cgroup",
        change="KillMode=process in the agent's unit"
        if os.geteuid() == 0
        else "run the agent as root",
    )


def _users(state_path: Path) -> Iterator[Guarantee]:
    promise = "tasks run as the user that their job names"
    if os.geteuid() != 0:
        why = f"they run as uid {os.geteuid()}, whatever a job says; another user is refused"
        yield Guarantee(promise=promise, outcome="no", why=why, change="run the agent as root")
        return
    try:
        ask = partial(try_task, user=ORDINARY_USER, owner=os.path.realpath(state_path))
        trial = in_child(ask, Trial)
    except ForkedError as error:
        yield Guarantee(promise=promise, outcome="no", why=str(error))
        return
    is_other = 0 not in trial.uids and not trial.left
    why = f"as {ORDINARY_USER}, all {len(trial.pids)} processes had uid {', '.join(map(str, trial.uids))}"
    yield Guarantee(promise=promise, outcome="yes" if is_other else "no", why=why)


def _descriptors() -> Guarantee:
    promise = "there are file descriptors for many tasks"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = "unlimited" if soft == resource.RLIM_INFINITY else str(soft)
    many = soft == resource.RLIM_INFINITY or soft >= WANTED_FDS
    return Guarantee(
        promise=promise,
        outcome="yes" if many else "partly",
        why=f"{text} here (an agent's service may have another limit)"
        + ("" if many else f": enough for some {max(0, soft - 64) // FDS_A_TASK} tasks"),
        change="" if many else f"LimitNOFILE=65536 in the agent's unit (here: ulimit -n {hard})",
    )


def _pids() -> Guarantee:
    limits = {
        "kernel.pid_max": _number(Path("/proc/sys/kernel/pid_max")),
        "kernel.threads-max": _number(Path("/proc/sys/kernel/threads-max")),
    }
    soft = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if os.geteuid() != 0 and soft != resource.RLIM_INFINITY:
        limits["RLIMIT_NPROC"] = soft
    known = {name: value for name, value in limits.items() if value is not None}
    name, least = min(known.items(), key=lambda item: item[1], default=("", 0))
    is_enough = least >= 8192
    return Guarantee(
        promise="there are process numbers for many tasks",
        outcome="yes" if is_enough else "partly",
        why=", ".join(f"{each} = {value}" for each, value in known.items()) or "no limit is known",
        change=""
        if is_enough
        else f"raise {name}" + (f": sysctl -w {name}=65536" if "." in name else ""),
    )


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _plugin() -> Guarantee:
    promise = "this program answers an agent, in the environment of a service"
    try:
        program = own_program()
        why = f"{shlex.quote(str(program))}: {identity_of(program)}"
    except CommandError as error:
        change = "install the package into a virtual environment, and run its trio-driver"
        return Guarantee(promise=promise, outcome="no", why=str(error), change=change)
    return Guarantee(promise=promise, outcome="yes", why=why)
