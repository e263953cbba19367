"""What the processes of a run use, read from /proc: for hosts where no cgroup counts it.

Rules:
- One pass an interval, and only while somebody listens.
- A pass looks at `PIDS_LIMIT` processes at most.
"""

import os
import time
from collections.abc import AsyncGenerator
from itertools import islice

import trio

from trio_driver._proto import driver_pb2
from trio_driver.executor.task_run import TaskRun
from trio_driver.executor.usage import Look, build_stats, look_at_processes
from trio_driver.linux import PIDS_LIMIT, descendants_of
from trio_driver.model import timestamp_of

MIN_INTERVAL_S = 0.1
"""An interval of 0 would keep the executor busy with nothing else."""


async def sample_processes(
    task_run: TaskRun, *, interval_s: float
) -> AsyncGenerator[driver_pb2.TaskStats]:
    """One sample at once, then one every `interval_s` seconds, until the task has ended or we are
    cancelled."""
    before: Look | None = None
    while not task_run.ended.is_set():
        pids = islice(descendants_of(os.getpid()), PIDS_LIMIT)
        now = Look(at_s=time.monotonic(), processes=look_at_processes(pids, may_swap=True))
        stats = build_stats(before, now, task_run.compute)
        stats.timestamp.CopyFrom(timestamp_of(time.time()))
        before = now
        yield stats
        with trio.move_on_after(max(interval_s, MIN_INTERVAL_S)):
            await task_run.ended.wait()
