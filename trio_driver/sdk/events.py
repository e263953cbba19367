"""Task events on their way to Nomad: one queue a listener.

Rules:
- Telling never waits: a listener that does not read loses its oldest events.
- What nobody listened to is kept, up to the same bound, for the next listener: the agent opens the
  stream a moment after it has started us, and once more after each restart of its own.
"""

from collections import deque
from collections.abc import AsyncGenerator

import trio

from trio_driver.model import TaskEvent

KEPT = 1000
"""Events a listener may be behind; a line of Nomad's own history holds ten a task."""


class TaskEvents:
    """See the module."""

    def __init__(self) -> None:
        self._queues: list[_Queue] = []
        self._unheard: deque[TaskEvent] = deque(maxlen=KEPT)

    def tell(self, event: TaskEvent) -> None:
        """Give `event` to all who listen."""
        if not self._queues:
            self._unheard.append(event)
        for queue in self._queues:
            queue.put(event)

    async def listen(self) -> AsyncGenerator[TaskEvent]:
        """Events from now on, and those before that nobody heard, until cancelled."""
        queue = _Queue(self._unheard)
        self._unheard.clear()
        self._queues.append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._queues.remove(queue)


class _Queue:
    """The events that one listener has not taken yet."""

    def __init__(self, events: deque[TaskEvent]) -> None:
        self._events = deque(events, maxlen=KEPT)
        self._more = trio.Event()

    def put(self, event: TaskEvent) -> None:
        self._events.append(event)
        self._more.set()

    async def get(self) -> TaskEvent:
        while not self._events:
            self._more = trio.Event()
            await self._more.wait()
        return self._events.popleft()
