"""Task events: nothing waits for a listener, nobody's events grow without bound."""

from contextlib import aclosing

import trio
import trio.testing

from trio_driver.model import TaskEvent
from trio_driver.sdk.events import KEPT, TaskEvents


def event(number: int) -> TaskEvent:
    return TaskEvent(task_id="id", alloc_id="alloc", task_name="web", message=str(number))


async def heard(events: TaskEvents, count: int) -> list[str]:
    """The next `count` messages of a new listener."""
    messages: list[str] = []
    with trio.fail_after(5):
        async with aclosing(events.listen()) as listener:
            while len(messages) < count:
                messages.append((await anext(listener)).message)
    return messages


async def test_what_nobody_heard_goes_to_the_first_listener_in_order() -> None:
    events = TaskEvents()
    for number in range(3):
        events.tell(event(number))
    assert await heard(events, 3) == ["0", "1", "2"]


async def test_what_somebody_heard_is_not_told_again() -> None:
    events = TaskEvents()
    events.tell(event(0))
    assert await heard(events, 1) == ["0"]
    await trio.testing.wait_all_tasks_blocked()
    events.tell(event(1))
    assert await heard(events, 1) == ["1"]


async def test_every_listener_hears_everything() -> None:
    events = TaskEvents()
    results: list[list[str]] = []

    async def listen() -> None:
        results.append(await heard(events, 2))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        events.tell(event(1))
        events.tell(event(2))
    assert results == [["1", "2"]] * 2


async def test_a_listener_that_does_not_read_loses_its_oldest_events_and_delays_nobody() -> None:
    events = TaskEvents()
    for number in range(KEPT + 10):
        events.tell(event(number))
    assert (await heard(events, KEPT))[0] == "10"
