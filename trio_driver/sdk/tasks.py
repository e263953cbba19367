"""The tasks that a plugin knows: which live, how the others ended, and who asks for them.

Owns: a pidfd and a watch of every committed executor that was started, recovered or asked for; the
claims by which an orphan is told from a task that somebody wants.

Rules:
- Proof of life is the executor's lock and start time; how a task ended is read from its record.
  Nothing here asks an executor, so a wedged one delays nobody (H18).
- When an executor dies, its containment is emptied before its end is told.
- A dict is the store: it changes only between checkpoints.
"""

import logging
import os
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import trio
from trio_util import AsyncValue, wait_any

from trio_driver.linux import boot_id, is_alive, open_pidfd, wait_pidfd
from trio_driver.model import (
    Line,
    Lost,
    TaskEvent,
    TaskNotFoundError,
    adopted_line,
    describe_exit,
    stuck_line,
)
from trio_driver.sdk.attach import keep_attached
from trio_driver.sdk.events import TaskEvents
from trio_driver.state import (
    LOST_REASON,
    CommitRecord,
    EventRecord,
    ExecutorRecord,
    ExitRecord,
    RecordError,
    Run,
    RunState,
    StateDirectory,
    StuckError,
    end_run,
    read_executor_or_none,
)

LOGGER = logging.getLogger("trio_driver.sdk")

EVENTS_LOOK_S = 2.0
"""Between two looks at what executors tell: one failing rename(2) a task."""

ABANDONED_REASON = "its plugin died before the task was handed to Nomad"
"""Of a run that Nomad may know all the same: the answer to StartTask is written before the run is
committed."""

STUCK_RETRY_S = 10.0
"""Between two attempts to end what outlived SIGKILL."""


class KnownTask:
    """One run that Nomad was told of."""

    def __init__(self, run: Run, record: ExecutorRecord, commit: CommitRecord | None) -> None:
        self.run = run
        self.record = record
        self.commit = commit
        """What Nomad was told; None for one that was lost before."""
        self.exit: ExitRecord | None = None
        """How it ended; None while it runs."""
        self.ended = trio.Event()
        """Set when nothing of it lives and `exit` is known."""
        self.waiters = 0
        """WaitTask calls that are open: somebody wants it."""
        self.named_at_s = trio.current_time()
        """When StartTask or RecoverTask last named it."""
        self.lost_reason = LOST_REASON
        self.was_handed_over = False
        """Started or adopted by this very plugin: its next recovery is that of another agent."""

    @contextmanager
    def claimed(self) -> Generator[None]:
        """Somebody waits for the task for the length of the block."""
        self.waiters += 1
        try:
            yield
        finally:
            self.waiters -= 1
            self.named_at_s = trio.current_time()

    def event(self, told: EventRecord) -> TaskEvent:
        """`told` as a line of this task's history."""
        return TaskEvent(
            task_id=self.record.task_id,
            alloc_id=self.record.alloc_id,
            task_name=self.record.task_name,
            message=told.message,
            annotations=told.annotations,
            timestamp_s=told.timestamp_s,
        )


class Tasks:
    """See the module."""

    def __init__(self, state: StateDirectory, nursery: trio.Nursery, events: TaskEvents) -> None:
        self.live = AsyncValue(0)
        """How many executors live."""
        self._agents = AsyncValue(0)
        """Streams and calls by which an agent shows that it is connected."""
        self._state = state
        self._nursery = nursery
        self._events = events
        self._known: dict[str, KnownTask] = {}
        self._handing_over: dict[str, trio.Event] = {}
        self._turns: dict[str, trio.Lock] = {}

    @asynccontextmanager
    async def turn(self, fence: str) -> AsyncGenerator[None]:
        """Starts of one (allocation, task) take turns: be in one for the length of the block."""
        turn = self._turns.setdefault(fence, trio.Lock())
        try:
            async with turn:
                yield
        finally:
            if not turn.locked():  # nobody waits either: a lock is handed on, not let go
                self._turns.pop(fence, None)

    @contextmanager
    def agent_connected(self) -> Generator[None]:
        """An agent is connected for the length of the block."""
        self._agents.value += 1
        try:
            yield
        finally:
            self._agents.value -= 1

    @contextmanager
    def handing_over(self, task_id: str) -> Generator[None]:
        """Nomad is being given the handle: what it asks of the task from now on waits for the end
        of the block."""
        self._handing_over[task_id] = done = trio.Event()
        try:
            yield
        finally:
            del self._handing_over[task_id]
            done.set()

    async def find(self, task_id: str) -> KnownTask | None:
        """The task with this id, looked for on disk if it was not asked for before.

        Waits only for a hand-over of this very task (Nomad may have the answer to StartTask before
        we know that it does) and for the end of one that its plugin abandoned.

        Raises:
            RecordError: a record of the task cannot be believed.
            StuckError: processes of an abandoned run outlive SIGKILL.
        """
        while (done := self._handing_over.get(task_id)) is not None:
            await done.wait()
        if task_id not in self._known and (run := self._state.find(task_id)) is not None:
            await self.end_abandoned(run)
        return self.find_nowait(task_id)

    async def end_abandoned(self, run: Run) -> None:
        """End a run whose plugin died before it was committed: its executor may not have come to it
        yet, or be stopped. Does nothing to any other run.

        Raises:
            StuckError: its processes outlive SIGKILL.
        """
        if run.is_committed():
            return
        record = read_executor_or_none(run)
        if record is not None and run.read_exit() is None and not is_alive(record.plugin):
            await end_run(run, reason=ABANDONED_REASON)

    def find_nowait(self, task_id: str) -> KnownTask | None:
        """As `find`, for a task that is not being handed over."""
        known = self._known.get(task_id)
        if known is not None:
            return known
        run = self._state.find(task_id)
        task = self.adopt(run) if run is not None else None
        if task is not None:
            self.take_events(task)
        return task

    async def get(self, task_id: str) -> KnownTask:
        """As `find`.

        Raises:
            TaskNotFoundError: there is no record of the id.
        """
        if (known := await self.find(task_id)) is None:
            raise TaskNotFoundError(task_id)
        return known

    def adopt(self, run: Run) -> KnownTask | None:
        """Know the task of `run` from now on; None if it has no record, or was never handed to
        Nomad."""
        state, record = run.state(), run.read_executor()
        commit, task_exit = run.read_commit(), run.read_exit()
        if record is None or state is None or state is RunState.PROVISIONAL:
            return None
        task = self._known[record.task_id] = KnownTask(run, record, commit)
        # An executor that has written its exit record still has a last word to say.
        if task_exit is not None and not is_alive(record.process):
            task.exit = task_exit
            task.ended.set()
            return task
        self.live.value += 1
        try:
            pidfd = open_pidfd(record.process)
        except ProcessLookupError:
            pidfd = -1
        self._nursery.start_soon(self._watch, task, pidfd)
        if record.stop_after_driver_loss_s is not None:
            self._nursery.start_soon(keep_attached, run, task.ended, self._agents)
        return task

    def forget(self, task_id: str) -> None:
        """The task was destroyed."""
        self._known.pop(task_id, None)

    def tell(self, task: KnownTask, line: Line) -> None:
        """Add a line to the task's history, or leave it in the run's directory for the next listener,
        be it this plugin's or that of another."""
        told = EventRecord(time.time(), line.message, dict(line.annotations))
        if not self._events.tell(task.event(told)):
            task.run.tell(told)

    def recovered(self, task: KnownTask) -> None:
        """An agent has recovered the task: it is claimed from now on."""
        task.named_at_s = trio.current_time()
        if not task.ended.is_set() and not task.waiters:
            of = "agent" if task.was_handed_over else "plugin"
            pid = task.commit.workload_pid if task.commit else 0
            self.tell(task, adopted_line(of=of, executor_pid=task.record.pid, pid=pid))
            task.was_handed_over = True

    def known(self) -> list[KnownTask]:
        """All tasks that were started, recovered or asked for, and not destroyed."""
        return list(self._known.values())

    async def follow_events(self) -> None:
        """Pass on what executors tell, until cancelled. What was told before somebody listened is
        passed on at once."""
        while True:
            await self._events.listeners.wait_value(lambda count: count > 0)
            new_listener = partial(self._events.wait_listener_after, self._events.listens.value)
            for task in self.known():
                self.take_events(task)
            await wait_any(self._wait_live, new_listener)
            with trio.move_on_after(EVENTS_LOOK_S):
                await new_listener()

    async def _wait_live(self) -> None:
        await self.live.wait_value(lambda count: count > 0)

    def take_events(self, task: KnownTask) -> None:
        """Pass on what was left in the run's directory, if somebody listens."""
        if self._events.listeners.value:
            for told in task.run.take_events():
                self._events.tell(task.event(told))

    async def _watch(self, task: KnownTask, pidfd: int) -> None:
        """Wait for the executor's end, then make sure that nothing of the task is left, then
        tell."""
        try:
            if pidfd >= 0:
                try:
                    await wait_pidfd(pidfd)
                finally:
                    os.close(pidfd)
            task.exit = await self._settled(task)
            self.take_events(task)
        finally:
            self.live.value -= 1
        LOGGER.info(
            "task ended",
            extra={"kv": {"task_id": task.record.task_id, "how": describe_exit(task.exit.exit)}},
        )
        task.ended.set()

    async def _settled(self, task: KnownTask) -> ExitRecord:
        while True:
            try:
                settled = await end_run(task.run, reason=task.lost_reason)
            except StuckError as error:
                self.tell(task, stuck_line(str(error)))
                LOGGER.error("task is stuck: %s", error)
                await trio.sleep(STUCK_RETRY_S)
            except RecordError as error:
                return _unknown_exit(f"its exit record cannot be read: {error}")
            else:
                return settled or _unknown_exit("it was destroyed while it ran")


def _unknown_exit(reason: str) -> ExitRecord:
    return ExitRecord(exit=Lost(reason), ended_at_s=time.time(), boot_id=boot_id())
