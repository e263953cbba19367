"""A fault at every checkpoint: each is come to, and what is wrong there is found."""

import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from trio_driver.testing import (
    EndlessError,
    Fault,
    InjectedError,
    NotRunError,
    Point,
    checkpoints,
    count_checkpoints,
    every_checkpoint,
)

FAULTS_HERE = (Fault.CANCEL, Fault.RAISE)


async def three_steps() -> None:
    for _ in range(3):
        await trio.lowlevel.checkpoint()


async def two_tasks_of_two_steps() -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(trio.sleep, 0)
            nursery.start_soon(trio.sleep, 0)


async def test_checkpoints_are_counted() -> None:
    assert await count_checkpoints(three_steps) == 3


async def test_those_of_tasks_below_count_and_those_of_others_do_not() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        nursery.start_soon(three_steps)
        alone = await count_checkpoints(two_tasks_of_two_steps)
        nursery.cancel_scope.cancel()
    assert alone >= 4


@pytest.mark.parametrize("fault", FAULTS_HERE)
async def test_each_checkpoint_has_its_run_and_its_place(fault: Fault) -> None:
    reached: list[int] = []
    places: set[str] = set()

    async def scenario() -> None:
        reached.append(0)
        for _ in range(3):
            await trio.lowlevel.checkpoint()
            reached[-1] += 1

    for point in every_checkpoint(fault):
        await point.run(scenario)
        places.add(point.place)
    # Seen at its own checkpoint, and not at all in the last run.
    assert reached == [0, 1, 2, 3]
    assert len(places - {""}) == 1
    assert "test_checkpoints.py:" in max(places)
    assert "scenario" in max(places)


@pytest.mark.parametrize("fault", FAULTS_HERE)
async def test_a_call_that_waits_is_ended(fault: Fault) -> None:
    send, receive = trio.open_memory_channel[int](0)
    with send, receive:
        (point,) = itertools.islice(every_checkpoint(fault), 1)
        await point.run(receive.receive, limit_s=5)
        assert point.was_reached
        assert receive.statistics().tasks_waiting_receive == 0


class Resource:
    """Something that must be closed."""

    def __init__(self) -> None:
        self.is_open = False

    async def open(self) -> None:
        await trio.lowlevel.checkpoint()
        self.is_open = True
        await trio.lowlevel.checkpoint()

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()
        self.is_open = False


async def with_await_in_finally(resource: Resource) -> None:
    try:
        await resource.open()
    finally:
        await resource.close()  # noqa: ASYNC102 - the bug


async def with_shield(resource: Resource) -> None:
    try:
        await resource.open()
    finally:
        # Shield: this is what the right version looks like.
        # Ends by: the checkpoint in `close`.
        with trio.move_on_after(1, shield=True):
            await resource.close()


async def with_open_before_try(resource: Resource) -> None:
    await resource.open()
    try:
        await trio.lowlevel.checkpoint()
    finally:
        # Shield: this is what the right version looks like.
        # Ends by: the checkpoint in `close`.
        with trio.move_on_after(1, shield=True):
            await resource.close()


Scenario = Callable[[Resource], Awaitable[None]]


async def leaks(fault: Fault, scenario: Scenario) -> list[Point]:
    """The points at which the scenario leaves its resource open."""
    found: list[Point] = []
    for point in every_checkpoint(fault):
        resource = Resource()
        await point.run(scenario, resource)
        if resource.is_open:
            found.append(point)
    return found


async def test_an_unshielded_await_in_finally_is_found() -> None:
    assert await leaks(Fault.CANCEL, with_await_in_finally)


async def test_a_resource_that_is_opened_before_its_try_is_found() -> None:
    assert await leaks(Fault.CANCEL, with_open_before_try)
    assert await leaks(Fault.RAISE, with_open_before_try)


async def test_a_bounded_shield_is_found_innocent_of_a_cancellation() -> None:
    assert await leaks(Fault.CANCEL, with_shield) == []


async def test_an_exception_in_a_task_below_comes_out_of_its_nursery_and_is_no_failure() -> None:
    runs = 0
    for point in every_checkpoint(Fault.RAISE):
        await point.run(two_tasks_of_two_steps)
        runs += 1
    assert runs > 4


async def test_the_exception_can_be_chosen() -> None:
    caught: list[str] = []

    async def scenario() -> None:
        try:
            await trio.lowlevel.checkpoint()
        except OSError as error:
            caught.append(str(error))

    for point in every_checkpoint(Fault.RAISE, error=lambda: OSError("no space")):
        await point.run(scenario)
    assert caught == ["no space"]


async def test_what_cannot_be_given_up_is_passed_over() -> None:
    threads = 0

    async def scenario() -> None:
        nonlocal threads
        await trio.to_thread.run_sync(lambda: None)  # it cannot be abandoned
        threads += 1

    for point in every_checkpoint(Fault.RAISE):
        before = threads
        await point.run(scenario)
        assert threads == before + 1 or "scenario" in point.place, point


async def test_no_exception_comes_from_where_trio_itself_relies_on_none() -> None:
    lock = trio.Lock()

    async def scenario() -> None:
        async with lock:
            pass

    for point in every_checkpoint(Fault.RAISE):
        await point.run(scenario)
        assert not lock.locked(), point


async def test_another_error_of_the_scenario_comes_out_and_names_the_checkpoint() -> None:
    async def scenario() -> None:
        try:
            await trio.lowlevel.checkpoint()
        except InjectedError as error:
            raise ValueError("broken by it") from error

    (point,) = itertools.islice(every_checkpoint(Fault.RAISE), 1)
    with pytest.raises(ValueError, match="broken by it") as caught:
        await point.run(scenario)
    assert "exception at checkpoint 1" in caught.value.__notes__[0]


async def test_another_error_beside_the_fault_is_not_lost() -> None:
    async def fail() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("a second one")

    async def scenario() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            await trio.lowlevel.checkpoint()
            await trio.sleep_forever()

    point = Point(3, Fault.RAISE)
    with pytest.RaisesGroup(ValueError):
        await point.run(scenario)


async def test_a_run_that_hangs_is_an_error_that_names_the_checkpoint(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def scenario() -> None:
        try:
            await trio.lowlevel.checkpoint()
        except InjectedError:
            await trio.sleep_forever()

    with pytest.raises(trio.TooSlowError) as caught:
        await Point(1, Fault.RAISE).run(scenario)
    assert "checkpoint 1" in caught.value.__notes__[0]


async def test_a_body_that_does_not_run_the_scenario_is_told_so() -> None:
    with pytest.raises(NotRunError, match=r"await point.run\(scenario\)"):
        for _ in every_checkpoint():
            pass


async def test_a_scenario_without_end_has_too_many_checkpoints(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpoints, "LIMIT", 5)

    async def scenario() -> None:
        # Shield: a cancellation does not end it, so that each run comes to the next checkpoint.
        # Ends by: its hundredth checkpoint.
        with trio.move_on_after(1, shield=True):
            for _ in range(100):
                await trio.lowlevel.checkpoint()

    async def loop() -> None:
        for point in every_checkpoint():
            await point.run(scenario)

    with pytest.raises(EndlessError, match="more than 5"):
        await loop()


async def write_in_place(path: Path) -> None:
    """A record that is torn by a kill in the middle."""
    path.write_text("half ")
    await trio.lowlevel.checkpoint()
    with path.open("a") as file:
        file.write("whole")


async def write_and_rename(path: Path) -> None:
    """A record that is whole or absent."""
    new = path.with_suffix(".new")
    await write_in_place(new)
    await trio.lowlevel.checkpoint()
    new.rename(path)


@pytest.mark.parametrize(
    ("scenario", "is_sound"), [(write_in_place, False), (write_and_rename, True)]
)
async def test_a_kill_at_every_checkpoint_shows_whether_a_record_is_whole_or_absent(
    tmp_path: Path, scenario: Callable[[Path], Awaitable[None]], is_sound: bool
) -> None:
    path = tmp_path / "record"
    found: set[str] = set()
    for point in every_checkpoint(Fault.KILL):
        path.unlink(missing_ok=True)
        await point.run(scenario, path)
        found.add(path.read_text() if path.exists() else "")
    assert ("half " not in found) == is_sound
    assert "half whole" in found, "the last run is not killed"


async def fail_in_its_process(text: str) -> None:
    raise ValueError(text)


async def test_a_scenario_that_fails_in_its_own_process_is_shown() -> None:
    (point,) = itertools.islice(every_checkpoint(Fault.KILL), 1)
    with pytest.raises(RuntimeError, match="ValueError: of itself"):
        await point.run(fail_in_its_process, "of itself")
