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
from trio_driver.testing.contract import ContractError, check_driver
from trio_driver.testing.driver_host import DriverHost, open_driver_host
from trio_driver.testing.leaks import LeakError, assert_no_leaks

__all__ = [
    "ContractError",
    "DriverHost",
    "EndlessError",
    "Fault",
    "InjectedError",
    "LeakError",
    "NotRunError",
    "Point",
    "assert_no_leaks",
    "check_driver",
    "count_checkpoints",
    "every_checkpoint",
    "open_driver_host",
]
