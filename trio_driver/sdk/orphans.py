"""What nobody asks for any more: orphans, and records that have told their story.

Several agents may share a host and the state directory, so nothing is destroyed on suspicion.

Rules:
- A running task is an orphan of *this* plugin only if it lies in an allocation directory of this
  plugin's agent, the agent is connected, no WaitTask for it is open and none of StartTask and
  RecoverTask named it for `orphan_grace`.
- An exit record that nobody asked for is kept for `RECORD_LIFE_S`.
- What a crash left (executors dead, records not settled) is settled first, in the background, after
  the first answer.
"""

import logging
import time

import trio

from trio_driver._proto import driver_pb2
from trio_driver.model import orphan_line, task_spec
from trio_driver.sdk.tasks import Tasks
from trio_driver.spawner import remove_stale_files
from trio_driver.state import (
    LOST_REASON,
    RECORD_LIFE_S,
    RecordError,
    Run,
    RunState,
    StateDirectory,
    StuckError,
    destroy_run,
    end_run,
    remove_free_fences,
)

LOGGER = logging.getLogger("trio_driver.sdk")

LOOKS_PER_GRACE = 10
"""How often orphans are looked for within one grace time."""

MAX_LOOK_S = 60.0
"""Longest time between two looks."""


class OrphanWatch:
    """Looks after the runs of a state directory that this plugin's agent does not ask for."""

    def __init__(self, state: StateDirectory, tasks: Tasks, *, grace_s: float) -> None:
        self._state = state
        self._tasks = tasks
        self._grace_s = grace_s
        self._first_seen_s: dict[str, float] = {}
        self.alloc_roots: set[str] = set()
        """The allocation roots of our agent's tasks, as far as it told us."""
        self.listeners = 0
        """Open Fingerprint streams: whether an agent is connected."""

    def learn(self, config: driver_pb2.TaskConfig) -> None:
        """Our agent has named this task: its allocation root is our agent's."""
        self.alloc_roots.add(task_spec(config).alloc_root)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            for run in list(self._state.runs()):
                await self._look_at(run)
            remove_free_fences(self._state)
            remove_stale_files(self._state)
            await trio.sleep(min(max(self._grace_s / LOOKS_PER_GRACE, 0.1), MAX_LOOK_S))

    async def _look_at(self, run: Run) -> None:
        try:
            await self._settle(run)
        except (RecordError, StuckError, OSError) as error:
            LOGGER.error("run %s: %s", run.name, error)

    async def _settle(self, run: Run) -> None:
        match run.state():
            case RunState.LOST:
                await end_run(run, reason=LOST_REASON)
            case RunState.ENDED:
                await self._expire(run)
            case RunState.COMMITTED:
                await self._destroy_if_orphan(run)
            case RunState.PROVISIONAL:
                await self._tasks.end_abandoned(run)
            case None:
                pass  # gone meanwhile

    async def _expire(self, run: Run) -> None:
        task_exit, record = run.read_exit(), run.read_executor()
        if task_exit is None or (record is not None and self._is_wanted(record.task_id)):
            return
        if time.time() - task_exit.ended_at_s > RECORD_LIFE_S:
            LOGGER.info("removes a record that nobody asked for", extra={"kv": {"run": run.name}})
            await destroy_run(self._state, run)

    def _is_wanted(self, task_id: str) -> bool:
        return any(task.record.task_id == task_id and task.waiters for task in self._tasks.known())

    async def _destroy_if_orphan(self, run: Run) -> None:
        record = run.read_executor()
        if record is None or record.alloc_root not in self.alloc_roots or not self.listeners:
            self._first_seen_s.pop(run.name, None)
            return
        task = next(
            (task for task in self._tasks.known() if task.record.task_id == record.task_id), None
        )
        if task is not None and task.waiters:
            return
        named_at_s = self._first_seen_s.setdefault(run.name, trio.current_time())
        if task is not None:
            named_at_s = max(named_at_s, task.named_at_s)
        if trio.current_time() - named_at_s < self._grace_s:
            return
        orphan = task or self._tasks.adopt(run)
        if orphan is not None:
            self._tasks.tell(orphan, orphan_line(grace_s=self._grace_s))
        LOGGER.warning(
            "destroys an orphan", extra={"kv": {"task_id": record.task_id, "executor": record.pid}}
        )
        await destroy_run(self._state, run)
        self._tasks.forget(record.task_id)
