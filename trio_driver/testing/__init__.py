"""Faults at every place, and what they leave: for tests of code that owns processes and tasks.

Usable in any suite of pytest-trio, without Nomad. Each name's docstring begins with its use.
"""

from trio_driver.testing.checkpoints import (
    EndlessError,
    Fault,
    InjectedError,
    NotRunError,
    Point,
    count_checkpoints,
    every_checkpoint,
)
from trio_driver.testing.leaks import LeakError, assert_no_leaks

__all__ = [
    "EndlessError",
    "Fault",
    "InjectedError",
    "LeakError",
    "NotRunError",
    "Point",
    "assert_no_leaks",
    "count_checkpoints",
    "every_checkpoint",
]
