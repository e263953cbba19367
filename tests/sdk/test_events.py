"""Task events: nothing waits for a listener, nobody's events grow without bound."""

from contextlib import aclosing

import trio
import trio.testing

from trio_driver.model import TaskEvent
from trio_driver.sdk.events import HEARD_LIMIT_S, KEPT, TaskEvents


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


async def test_who_tells_learns_whether_somebody_listens() -> None:
    events = TaskEvents()
    assert not events.tell(event(0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heard, events, 1)
        await trio.testing.wait_all_tasks_blocked()
        assert events.listeners.value == 1
        assert events.tell(event(1))
    assert events.listeners.value == 0
    assert not events.tell(event(2))


async def test_what_a_listener_left_goes_to_the_next_in_order_and_once() -> None:
    events = TaskEvents()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heard, events, 1)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(3):
            events.tell(event(number))
    assert await heard(events, 2) == ["1", "2"]
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            assert await heard(events, 1) == ["3"]

        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        events.tell(event(3))


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
    async with aclosing(events.listen()) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.__anext__)
            await trio.testing.wait_all_tasks_blocked()
            events.tell(event(-1))
        for number in range(KEPT + 10):
            events.tell(event(number))
        assert (await anext(listener)).message == "10"


async def test_what_was_told_is_heard_before_the_wait_for_it_ends() -> None:
    events = TaskEvents()
    heard_messages: list[str] = []

    async def listen() -> None:
        async with aclosing(events.listen()) as listener:
            async for told in listener:
                heard_messages.append(told.message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(5):
            events.tell(event(number))
        await events.wait_heard()
        assert heard_messages == ["0", "1", "2", "3", "4"]
        nursery.cancel_scope.cancel()


async def test_a_listener_that_does_not_read_is_waited_for_only_so_long(
    autojump_clock: trio.testing.MockClock,
) -> None:
    events = TaskEvents()
    async with aclosing(events.listen()) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.__anext__)
            await trio.testing.wait_all_tasks_blocked()
            events.tell(event(0))
        events.tell(event(1))
        began_s = trio.current_time()
        await events.wait_heard()
        assert trio.current_time() - began_s == HEARD_LIMIT_S


async def test_without_a_listener_there_is_nothing_to_wait_for() -> None:
    with trio.fail_after(1):
        await TaskEvents().wait_heard()
