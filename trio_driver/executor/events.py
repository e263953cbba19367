"""What an executor tells an operator, through a file of its run that the plugin takes.

Rules:
- Nothing waits for the plugin, and nothing is lost while there is none.
- A task cannot make it grow without bound: the file has a limit, and a log pipe is reported once
  for each time that it is stuck for `STUCK_AFTER_S`.
"""

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path

import trio

from trio_driver.executor.looks import wait_for_look
from trio_driver.executor.oom import OomEvidence
from trio_driver.executor.output import STUCK_AFTER_S, LogPipe
from trio_driver.linux import cgroup
from trio_driver.model import out_of_memory_line
from trio_driver.state import EventRecord, Run

OOM_PAUSE_S = 0.5
"""Between the kernel's word that memory ran out and our look."""


def tell(run: Run, message: str, annotations: Mapping[str, str]) -> None:
    """Tell the operator something that happens now."""
    run.tell(EventRecord(time.time(), message, dict(annotations)))


def tell_oom(run: Run, oom: OomEvidence, known_pids: Collection[int]) -> None:
    """Tell of the processes that the kernel killed for memory since the last call."""
    kills, victims = oom.take_news(known_pids)
    if kills:
        reasons = {victim.is_host_wide for victim in victims}
        line = out_of_memory_line(
            kills=kills,
            victims={victim.pid: victim.name for victim in victims},
            is_host_wide=reasons.pop() if len(reasons) == 1 else None,
        )
        tell(run, line.message, line.annotations)


async def watch_oom(memory_path: Path, look: Callable[[], None]) -> None:
    """Call `look` when the kernel may have killed for memory, until cancelled."""
    with suppress(OSError), cgroup.watch_oom(memory_path) as events:
        while events is not None:
            await events.wait()
            # v1 tells before it kills; and a task at its limit is no reason to keep us busy.
            await trio.sleep(OOM_PAUSE_S)
            events.acknowledge()
            look()


async def watch_log_pipe(pipe: LogPipe, run: Run) -> None:
    """Tell when a log pipe is full and does not move: its reader is gone, and the task hangs in
    write(2)."""
    queued: int | None = None
    since_s = trio.current_time()
    while True:
        await wait_for_look()
        now_queued = pipe.queued_bytes_if_full()
        if now_queued is None or now_queued != queued:
            queued, since_s = now_queued, trio.current_time()
        elif trio.current_time() - since_s >= STUCK_AFTER_S:
            tell(
                run,
                f"log pipe {pipe.name} is full and nobody reads it; the task waits until Nomad restarts its log reader",
                {"stream": pipe.name, "queued_bytes": str(queued)},
            )
            queued, since_s = None, trio.current_time()
