"""What an exhibit is, and how it is tried: a fault at each of its checkpoints, and a look at what is
left.

Rules:
- Whatever a broken version leaves is ended after each run: the next one begins with nothing.
"""

import gc
import tempfile
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from trio_driver.testing.checkpoints import Fault, Point, every_checkpoint
from trio_driver.testing.leaks import (
    LeakError,
    Snapshot,
    adopting,
    assert_no_leaks,
    end_processes_since,
)

Scenario = Callable[[Path], Awaitable[None]]
"""What is tried, with an empty directory to work in."""

RUN_LIMIT_S = 5.0
"""For a scenario of milliseconds, in a new process where it is killed: one that takes longer hangs."""

LEAK_LIMIT_S = 1.0
"""What goes by itself is gone by then."""


def sees_nothing(_directory: Path) -> str | None:
    """What a scenario leaves is enough to convict it."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """A bug: the version that has it, and the one that has not."""

    broken: Scenario
    sound: Scenario
    fault: Fault
    """What brings it to light."""
    witness: Callable[[Path], str | None] = sees_nothing
    """Says what is wrong with what is on disk afterwards."""

    @property
    def name(self) -> str:
        """As in `broken_NAME`."""
        return self.broken.__name__.removeprefix("broken_")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]

    @property
    def story(self) -> str:
        """What happens, and why."""
        return (self.broken.__doc__ or "").strip()


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of trying one version."""

    runs: int
    problems: tuple[str, ...]
    """A line for each run after which something was wrong."""

    @property
    def is_convicted(self) -> bool:
        return bool(self.problems)


async def try_exhibit(exhibit: Exhibit, scenario: Scenario) -> Trial:
    """Run `scenario`, one of the two of `exhibit`, with its fault at every checkpoint."""
    problems: list[str] = []
    runs = 0
    with adopting():
        before = Snapshot.of_processes()
        for point in every_checkpoint(exhibit.fault):
            runs += 1
            with tempfile.TemporaryDirectory(prefix="trio-driver-") as name:
                problem = await _run(exhibit, scenario, point, Path(name))
                if problem is not None:
                    problems.append(f"{point}: {problem}")
                await _end_leftovers(before)
    return Trial(runs, tuple(problems))


async def _run(exhibit: Exhibit, scenario: Scenario, point: Point, directory: Path) -> str | None:
    try:
        async with assert_no_leaks(limit_s=LEAK_LIMIT_S):
            await point.run(scenario, directory, limit_s=RUN_LIMIT_S)
    except LeakError as error:
        return " ".join(str(error).split())
    except trio.TooSlowError:
        point.was_reached = point.was_reached or False
        return f"it hangs, for {RUN_LIMIT_S:g} s and more"
    return exhibit.witness(directory)


async def _end_leftovers(before: Snapshot) -> None:
    await end_processes_since(before)
    with warnings.catch_warnings():
        # What was left open says so when it is collected: here, and not in whatever comes next.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
