"""What is left in a run's directory for the operator: nothing is lost between a teller and a taker."""

import os
import threading
from pathlib import Path

import pytest

from trio_driver.model import Exited
from trio_driver.state import EventRecord, ExitRecord, Run
from trio_driver.state.records import MAX_EVENTS_BYTES


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run(tmp_path / "fence-run", durable=False)
    made.create()
    return made


def record(text: str) -> EventRecord:
    return EventRecord(1.0, text, {})


def test_events_are_taken_once_and_in_order(run: Run) -> None:
    for text in ("one", "two"):
        run.tell(record(text))
    assert [event.message for event in run.take_events()] == ["one", "two"]
    assert run.take_events() == []


def test_what_a_taker_left_that_died_is_taken_by_the_next(run: Run) -> None:
    run.tell(record("one"))
    os.rename(run.path / "events", run.path / ".events")
    run.tell(record("two"))
    assert [event.message for event in run.take_events()] == ["one"]
    assert [event.message for event in run.take_events()] == ["two"]


def test_events_that_nobody_takes_are_bounded(run: Run) -> None:
    event = record("x" * 1000)
    for _ in range(MAX_EVENTS_BYTES // 1000 + 100):
        run.tell(event)
    assert (run.path / "events").stat().st_size < MAX_EVENTS_BYTES + 2000


def test_telling_a_run_that_is_gone_does_nothing(run: Run) -> None:
    run.remove()
    run.tell(record("one"))
    assert run.take_events() == []


def test_no_event_is_lost_between_tellers_and_a_taker(run: Run) -> None:
    taken: list[str] = []

    def tell_all(name: str) -> None:
        for number in range(300):
            run.tell(record(f"{name}{number}"))

    tellers = [threading.Thread(target=tell_all, args=(name,)) for name in "ab"]
    for teller in tellers:
        teller.start()
    while any(teller.is_alive() for teller in tellers):
        taken += [event.message for event in run.take_events()]
    for teller in tellers:
        teller.join()
    taken += [event.message for event in (*run.take_events(), *run.take_events())]
    for name in "ab":
        assert [text for text in taken if text[0] == name] == [f"{name}{n}" for n in range(300)]


def test_how_a_run_ended_is_a_line_with_the_time_of_its_end(run: Run) -> None:
    run.tell_ended(ExitRecord(exit=Exited(3), ended_at_s=7.0, boot_id="b", evidence="why"))
    (event,) = run.take_events()
    assert (event.timestamp_s, event.message) == (7.0, "Exited with code 3 (why)")
