"""One allocation from start to end: what an agent does, for as long as a person waits.

Rules:
- Whatever ends the run, every task that was started is destroyed before it ends, and its directory
  is removed.
- A task that fails ends its siblings: so does an agent when it does not restart tasks.
- The first signal asks the tasks to end, the second kills them, the third gives them up.

Must not know: the command line, HCL text.
"""

import math
import signal
import uuid
from dataclasses import dataclass, field

import trio

from trio_driver._proto import driver_pb2
from trio_driver.cli.alloc_dir import open_alloc_dir
from trio_driver.cli.driver import Driver, Launch
from trio_driver.cli.errors import JobError, RunError
from trio_driver.cli.guardian import Guardian
from trio_driver.cli.job import Group, Job, Task
from trio_driver.cli.logs import Terminal
from trio_driver.cli.report import Report, Tone, join_fields
from trio_driver.cli.supply import Supply, open_supply
from trio_driver.cli.task_config import Allocation
from trio_driver.cli.task_run import Stop, Streams, TaskRun

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What a terminal or a service manager sends to end a program."""

SAME_PRESS_S = 0.2
"""Signals this close together are one wish: programs such as timeout(1) send one to the process and
one to its group. Nobody presses Ctrl-C twice as fast."""


@dataclass(slots=True, kw_only=True)
class _Progress:
    """How far the run is; changed only between checkpoints."""

    stop: Stop = field(default_factory=Stop)
    tasks: trio.CancelScope | None = None
    """What gives the tasks up; None while there are none."""
    signals: list[int] = field(default_factory=list[int])
    signalled_at_s: float = -math.inf
    codes: dict[str, int] = field(default_factory=dict[str, int])
    """Exit codes of the tasks in the order in which they ended."""


async def run_allocation(job: Job, group: Group, launch: Launch, *, report: Report) -> int:
    """Run all tasks of `group` until they have ended.

    Args:
        job: what the group belongs to.
        group: its tasks run at the same time.
        launch: the plugin.
        report: gets a line an event.

    Returns:
        0 when all tasks succeeded, else the code of the first that failed, as a shell shows it.

    Raises:
        JobError, RunError: in an ExceptionGroup; nothing is left of the run.
    """
    progress = _Progress()
    async with trio.open_nursery() as nursery:
        await nursery.start(_watch_signals, progress, nursery.cancel_scope)
        alloc_id = str(uuid.uuid4())
        with open_alloc_dir(alloc_id, [task.name for task in group.tasks]) as directory:
            launch.guardian.directory(directory.parent)
            launch.guardian.state_dir(str((launch.config or {}).get("state_dir") or ""))
            async with open_supply(launch) as supply:
                driver = await supply.driver()
                _check_driver(driver, group)
                allocation = Allocation(
                    id=alloc_id,
                    directory=directory,
                    job=job,
                    group=group,
                    node=launch.node,
                    environ=launch.environ,
                    images=_has_images(driver),
                    attributes=driver.attributes,
                )
                await _run_tasks(allocation, supply, progress, report, launch.guardian)
        nursery.cancel_scope.cancel()
    if failed := [code for code in progress.codes.values() if code]:
        return failed[0]
    return 128 + progress.signals[0] if len(progress.codes) < len(group.tasks) else 0


def report_event(report: Report, event: driver_pb2.DriverTaskEvent) -> None:
    """Show a task event as `nomad alloc status` does, with its annotations."""
    report.say(event.task_name or "plugin", event.message + join_fields(event.annotations))


class _Output:
    """One of our own streams as a sink; the tasks are stopped when nobody reads it any more."""

    def __init__(self, fd: int, stop: Stop, report: Report) -> None:
        self._terminal = Terminal(fd)
        self._stop = stop
        self._report = report
        self._gone = False

    async def write(self, text: bytes) -> None:
        """Write `text`, or drop it once the stream is gone: the task's pipe must not fill up."""
        if self._gone:
            await trio.lowlevel.checkpoint()
            return
        try:
            await self._terminal.write(text)
        except OSError as error:
            self._gone = True
            self._report.say("run", f"output cannot be written: {error.strerror}", tone=Tone.WARN)
            self._stop.request()


async def _run_tasks(
    allocation: Allocation,
    supply: Supply,
    progress: _Progress,
    report: Report,
    guardian: Guardian,
) -> None:
    out, err = _Output(1, progress.stop, report), _Output(2, progress.stop, report)

    async def run_one(task: Task, prefix: bytes | None) -> None:
        run = TaskRun(
            allocation=allocation,
            task=task,
            supply=supply,
            stop=progress.stop,
            streams=Streams(stdout=out.write, stderr=err.write, prefix=prefix),
            report=report,
            guardian=guardian,
        )
        code = progress.codes[task.name] = await run.run()
        if code:
            progress.stop.request()

    tasks = allocation.group.tasks
    width = max(len(task.name) for task in tasks)
    with trio.CancelScope() as progress.tasks:
        async with trio.open_nursery() as nursery:
            for task in tasks:
                prefix = f"{task.name:<{width}} | ".encode() if len(tasks) > 1 else None
                nursery.start_soon(run_one, task, prefix)
    progress.tasks = None


async def _watch_signals(
    progress: _Progress,
    run: trio.CancelScope,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Pass signals on to the tasks; while there are none, end the run.

    Tasks are given up alone: they are destroyed through the plugin, which must be there for that.
    """
    with trio.open_signal_receiver(*STOP_SIGNALS) as received:
        task_status.started()
        async for signum in received:
            now_s = trio.current_time()
            if now_s - progress.signalled_at_s < SAME_PRESS_S:
                continue
            progress.signalled_at_s = now_s
            progress.signals.append(signum)
            match (progress.tasks, len(progress.signals)):
                case (None, _):
                    run.cancel()
                case (_, 1):
                    progress.stop.request()
                case (_, 2):
                    progress.stop.force()
                case (tasks, _):
                    tasks.cancel()


def _check_driver(driver: Driver, group: Group) -> None:
    """Refuse what this driver, or this program, cannot run.

    Raises:
        JobError, RunError
    """
    for task in group.tasks:
        if task.driver not in ("", driver.name):
            raise JobError(
                f'{task.place}: driver "{task.driver}"; accepted is "{driver.name}", '
                "the driver of the plugin that runs it (--plugin chooses another)"
            )
    isolation = driver.capabilities.fs_isolation
    if isolation in (driver_pb2.DriverCapabilities.CHROOT, driver_pb2.DriverCapabilities.UNVEIL):
        name = driver_pb2.DriverCapabilities.FSIsolation.Name(isolation).lower()
        raise RunError(
            f"plugin: {driver.name} wants a {name} built for each task; only an agent can"
        )


def _has_images(driver: Driver) -> bool:
    return driver.capabilities.fs_isolation == driver_pb2.DriverCapabilities.IMAGE
