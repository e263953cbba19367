"""Task events on their way to Nomad: one queue a listener.

Rules:
- Telling never waits: a listener that does not read loses its oldest events.
- An event that nobody listens to is not kept here: it stays in its run's directory, where a plugin
  that comes later finds it, too.
- What a listener had not taken when it went away is kept for the next, up to the same bound.
"""

from collections import deque
from collections.abc import AsyncGenerator

import trio
from trio_util import AsyncValue

from trio_driver.model import TaskEvent

KEPT = 1000
"""Events a listener may be behind; a line of Nomad's own history holds ten a task."""

HEARD_LIMIT_S = 0.2
"""How long the end of a task waits for a listener that is slow to take what was told before it."""


class TaskEvents:
    """See the module."""

    def __init__(self) -> None:
        self.listeners = AsyncValue(0)
        """How many listen now."""
        self.listens = AsyncValue(0)
        """How many have begun to listen, ever."""
        self._queues: list[_Queue] = []
        self._left: deque[TaskEvent] = deque(maxlen=KEPT)

    def tell(self, event: TaskEvent) -> bool:
        """Give `event` to all who listen; False when nobody does."""
        for queue in self._queues:
            queue.put(event)
        return bool(self._queues)

    async def wait_heard(self) -> None:
        """Wait until every listener has taken what was told, but not longer than `HEARD_LIMIT_S`."""
        with trio.move_on_after(HEARD_LIMIT_S):
            for queue in list(self._queues):
                await queue.is_waiting.wait_value(True)

    async def wait_listener_after(self, listens: int) -> None:
        """Wait until somebody begins to listen after the first `listens`."""
        await self.listens.wait_value(lambda count: count > listens)

    async def listen(self) -> AsyncGenerator[TaskEvent]:
        """Events from now on, and those before that a listener left, until cancelled."""
        queue = _Queue(self._left)
        self._left.clear()
        self._queues.append(queue)
        self.listeners.value += 1
        self.listens.value += 1
        try:
            while True:
                yield await queue.get()
        finally:
            self._queues.remove(queue)
            self.listeners.value -= 1
            if not self._queues:
                self._left.extend(queue.events)


class _Queue:
    """The events that one listener has not taken yet."""

    def __init__(self, events: deque[TaskEvent]) -> None:
        self.events = deque(events, maxlen=KEPT)
        self.is_waiting = AsyncValue(False)
        """The listener has taken everything, and asks for more."""

    def put(self, event: TaskEvent) -> None:
        self.events.append(event)
        self.is_waiting.value = False

    async def get(self) -> TaskEvent:
        while not self.events:
            self.is_waiting.value = True
            await self.is_waiting.wait_value(False)
        return self.events.popleft()
