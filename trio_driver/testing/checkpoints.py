"""A fault at every checkpoint of a scenario, one run for each.

    async def test_a_transfer_that_is_cancelled_anywhere_closes_its_connection():
        for point in every_checkpoint():
            connection = FakeConnection()
            await point.run(transfer, connection)
            assert connection.is_closed, point

The loop runs the scenario with a cancellation at its first checkpoint, then at its second, and so on,
until a run ends before it comes to the checkpoint. With `every_checkpoint(Fault.RAISE)` an exception
comes out of the call that waits there, and with `Fault.KILL` the process is killed there: then the
scenario runs in a new process each time.

What must hold after every fault is for the loop's body to say; `assert_no_leaks` says a lot of it.
"""

import enum
import os
import pickle
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVarTuple

import trio

from trio_driver.testing.trap import Trap, raise_in, trapped

Args = TypeVarTuple("Args")

LIMIT = 10_000
"""Most checkpoints that a scenario may have: one that never ends has no last one."""


class Fault(enum.Enum):
    """What happens at the checkpoint."""

    CANCEL = "cancelled"
    """The scenario is cancelled as a whole."""
    RAISE = "exception"
    """An exception comes out of the call that waits; what cannot be given up is passed over."""
    KILL = "SIGKILL"
    """The process that runs the scenario gets SIGKILL."""


class InjectedError(Exception):
    """What `Fault.RAISE` raises unless it is given another one."""


class NotRunError(Exception):
    """The body of the loop did not run the scenario, so nobody knows whether it has more checkpoints."""


class EndlessError(Exception):
    """The scenario has more than `LIMIT` checkpoints."""


@dataclass(slots=True)
class Point:
    """One checkpoint, and what happens there; `str` tells both for the text of a failure."""

    number: int
    """Counted from 1."""
    fault: Fault
    make_error: Callable[[], Exception] = InjectedError
    place: str = ""
    """File, line and function that waited; empty before, and in a process that was killed."""
    was_reached: bool | None = field(default=None)
    """None before the scenario was run."""

    def __str__(self) -> str:
        place = f" ({self.place})" if self.place else ""
        return f"{self.fault.value} at checkpoint {self.number}{place}"

    async def run(
        self, scenario: Callable[[*Args], Awaitable[object]], *args: *Args, limit_s: float = 60.0
    ) -> None:
        """Run `scenario(*args)` with the fault at this checkpoint.

        Args:
            scenario: with `Fault.KILL` a function of a module, and `args` that can be pickled.
            limit_s: seconds that a run may take.

        Raises:
            trio.TooSlowError: it took longer: the fault made it hang.
            Exception: whatever else than the fault comes out of the scenario, with a note that names
                the checkpoint.

        What the scenario does with the fault is its own: it may come out or not.
        """
        self.was_reached = False
        try:
            with trio.fail_after(limit_s):
                match self.fault:
                    case Fault.CANCEL:
                        await self._run_cancelled(scenario, *args)
                    case Fault.RAISE:
                        await self._run_raising(scenario, *args)
                    case Fault.KILL:
                        await self._run_killed(scenario, *args)
        except BaseException as error:
            error.add_note(f"with {self}")
            raise

    async def _run_cancelled(
        self, scenario: Callable[[*Args], Awaitable[object]], *args: *Args
    ) -> None:
        scope = trio.CancelScope()

        def cancel(_task: trio.lowlevel.Task) -> bool:
            scope.cancel()
            return True

        with trapped(self.number, cancel) as trap:
            try:
                with scope:
                    await scenario(*args)
            finally:
                self._note(trap)

    async def _run_raising(
        self, scenario: Callable[[*Args], Awaitable[object]], *args: *Args
    ) -> None:
        error = self.make_error()
        with trapped(self.number, lambda task: raise_in(task, error)) as trap:
            try:
                await scenario(*args)
            except BaseExceptionGroup as group:
                if (rest := group.split(lambda each: each is error)[1]) is not None:
                    raise rest from None
            except BaseException as raised:  # noqa: ASYNC103 - only our own is kept
                if raised is not error:
                    raise
            finally:
                self._note(trap)

    def _note(self, trap: Trap) -> None:
        if trap.sprung_at is not None:
            self.was_reached = True
            self.place = trap.sprung_at

    async def _run_killed(
        self, scenario: Callable[[*Args], Awaitable[object]], *args: *Args
    ) -> None:
        order = pickle.dumps((scenario, args, self.number))
        # The modules are found there as they are here.
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        # A file: whoever outlives the process would keep a pipe from its end.
        with tempfile.TemporaryFile() as stderr:
            done = await trio.run_process(
                [sys.executable, "-m", "trio_driver.testing.killed"],
                stdin=order,
                stderr=stderr,
                check=False,
                env=env,
            )
            stderr.seek(0)
            words = stderr.read().decode(errors="replace")
        match done.returncode:
            case 0:
                pass
            case -9:
                self.was_reached = True
            case code:
                raise RuntimeError(f"the scenario failed with exit code {code}:\n{words}")


def every_checkpoint(
    fault: Fault = Fault.CANCEL,
    *,
    error: Callable[[], Exception] = InjectedError,
    first: int = 1,
) -> Iterator[Point]:
    """The checkpoints of a scenario, one after the other; the body runs it with `await point.run(…)`.

    Args:
        fault: what happens at the checkpoint.
        error: makes the exception of `Fault.RAISE`.
        first: where to begin, for a look at one that failed.

    Raises:
        NotRunError: the body did not run the scenario.
        EndlessError: there are more than `LIMIT` of them.
    """
    for number in range(first, LIMIT + 1):
        point = Point(number, fault, error)
        yield point
        if point.was_reached is None:
            raise NotRunError(f"the body of the loop must `await point.run(scenario)`: {point}")
        if not point.was_reached:
            return
    raise EndlessError(f"the scenario has more than {LIMIT} checkpoints")


async def count_checkpoints(scenario: Callable[[*Args], Awaitable[object]], *args: *Args) -> int:
    """Run `scenario(*args)` without a fault; how many checkpoints it came to."""
    with trapped(LIMIT + 1, lambda _task: False) as trap:
        await scenario(*args)
    return trap.count
