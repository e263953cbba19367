"""When an executor looks at what nobody tells it of.

Rules:
- All looks of one executor fall on the same moments: it is woken once for all of them. Many executors
  idle on a host, and a wake-up is most of what an idle one costs.
- Those of different executors are spread by their pids.
"""

import math
import os

import trio

LOOK_EVERY_S = 10.0
"""Between two looks."""


async def wait_for_look() -> None:
    """Wait for the next moment to look: half of `LOOK_EVERY_S` from now at the earliest."""
    await trio.sleep_until(next_look_s(trio.current_time(), os.getpid()))


def next_look_s(now_s: float, pid: int) -> float:
    """When the process `pid` looks next, on the clock of `now_s`."""
    phase = pid % 100 / 100
    return (math.ceil(now_s / LOOK_EVERY_S - phase + 0.5) + phase) * LOOK_EVERY_S
