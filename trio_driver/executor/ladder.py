"""How a task is asked to end: rung by rung, as its job says.

    stop = ["SIGTERM group 10s", "SIGINT main 2s"]

Rules:
- A rung is a signal, to whom (`main`, the default, or `group`: the main process's process group),
  and how long it may take. Only the last may leave that out: it has what is left of the grace time.
- The ladder is never longer than the grace time, whatever it says: the caller's scope ends it. What
  comes after the last rung is always the containment.
- Each rung tells the operator what it did.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from trio_driver.executor.task_run import TaskRun
from trio_driver.executor.workload import Workload
from trio_driver.hcl import parse_duration
from trio_driver.linux import UnknownSignalError, name_of_signal, signum_of
from trio_driver.model import ConfigInvalidError, rung_line

MAIN, GROUP = "main", "group"

ACCEPTED = 'expected a signal, "main" or "group", and a duration, such as "SIGTERM group 10s"'


@dataclass(frozen=True, slots=True)
class Rung:
    """One attempt: `wait_s` seconds for the main process to end, infinite for the rest of the grace
    time."""

    signum: int
    to_group: bool
    wait_s: float

    def __str__(self) -> str:
        return (
            f"{name_of_signal(self.signum)} to its {'group' if self.to_group else 'main process'}"
        )


def parse_ladder(texts: Sequence[str]) -> tuple[Rung, ...]:
    """The rungs that a job's option `stop` names.

    Raises:
        ConfigInvalidError: one of them is none; names it and what is accepted.
    """
    rungs = tuple(_parse(text) for text in texts)
    for rung, text in zip(rungs[:-1], texts, strict=False):
        if rung.wait_s == math.inf:
            raise ConfigInvalidError(
                f'stop "{text}" is not accepted: only the last rung may leave out its duration'
            )
    return rungs


def _parse(text: str) -> Rung:
    name, *rest = text.split() or [""]
    to_group = rest[:1] == [GROUP]
    durations = rest[1:] if rest[:1] in ([MAIN], [GROUP]) else rest
    try:
        [wait_s] = [parse_duration(each) for each in durations] or [math.inf]
        return Rung(signum_of(name), to_group, wait_s)
    except UnknownSignalError as error:
        raise ConfigInvalidError(f'stop "{text}" is not accepted: {error}; {ACCEPTED}') from error
    except ValueError as error:
        raise ConfigInvalidError(f'stop "{text}" is not accepted; {ACCEPTED}') from error


def ladder_length_s(ladder: Sequence[Rung], *, rest_s: float) -> float:
    """How long the whole ladder takes, with `rest_s` for a last rung that leaves it open."""
    return sum(rest_s if rung.wait_s == math.inf else rung.wait_s for rung in ladder)


async def climb(task_run: TaskRun, main: Workload, ladder: Sequence[Rung]) -> bool:
    """Try rung after rung; True when the main process has ended, False when the last was tried in
    vain.

    If cancelled (the grace time is over), the rung at which it was tells so.
    """
    for number, rung in enumerate(ladder, 1):
        began_s = trio.current_time()
        if not main.send_signal(rung.signum, to_group=rung.to_group):
            return True
        outcome = "cut short, the grace time is over"
        try:
            with trio.move_on_after(rung.wait_s) as waiting:
                await main.wait()
            took_s = trio.current_time() - began_s
            outcome = "still running" if waiting.cancelled_caught else "ended"
            outcome += f" after {took_s:.1f} s"
        finally:
            line = rung_line(number=number, count=len(ladder), rung=str(rung), outcome=outcome)
            task_run.tell_line(line)
        if not waiting.cancelled_caught:
            return True
    return False
