"""What an executor tells an operator: a list that only grows, and streams that follow it.

Rules:
- Nothing waits for a listener; one that comes late hears everything from the start.
- A task cannot make it grow without bound: a log pipe is reported once for each time it gets stuck, and a time is
  `STUCK_AFTER_S` long.
"""

import time
from collections.abc import AsyncGenerator, Mapping

import trio
from trio_util import AsyncValue

from trio_driver._proto import executor_pb2
from trio_driver.executor.output import STUCK_AFTER_S, LogPipe
from trio_driver.model import timestamp_of

LOOK_EVERY_S = 10.0
"""Between two looks at a log pipe: one ioctl."""


class Events:
    """See the module."""

    def __init__(self) -> None:
        self._events: list[executor_pb2.Event] = []
        self._count = AsyncValue(0)

    def tell(self, message: str, annotations: Mapping[str, str]) -> None:
        """Add one that happens now."""
        timestamp = timestamp_of(time.time())
        self._events.append(
            executor_pb2.Event(timestamp=timestamp, message=message, annotations=annotations)
        )
        self._count.value = len(self._events)

    async def follow(self) -> AsyncGenerator[executor_pb2.Event]:
        """All events from the first on, until cancelled."""
        position = 0
        while True:
            while position < len(self._events):
                yield self._events[position]
                position += 1
            await self._count.wait_value(lambda count, seen=position: count > seen)


async def watch_log_pipe(pipe: LogPipe, events: Events) -> None:
    """Tell when a log pipe is full and does not move: its reader is gone, and the task hangs in write(2)."""
    queued: int | None = None
    since_s = trio.current_time()
    while True:
        await trio.sleep(LOOK_EVERY_S)
        now_queued = pipe.queued_bytes_if_full()
        if now_queued is None or now_queued != queued:
            queued, since_s = now_queued, trio.current_time()
        elif trio.current_time() - since_s >= STUCK_AFTER_S:
            events.tell(
                f"log pipe {pipe.name} is full and nobody reads it; the task waits until Nomad restarts its log reader",
                {"stream": pipe.name, "queued_bytes": str(queued)},
            )
            queued, since_s = None, trio.current_time()
