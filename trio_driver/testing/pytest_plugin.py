"""The kit in pytest: fixtures for pytest-trio suites.

    async def test_a_transfer_leaves_nothing(no_leaks):
        await transfer()

    def test_any_order_is_fine(seed):
        shuffled = seed.sample(STEPS, len(STEPS))

In a conftest.py: `pytest_plugins = ["trio_driver.testing.pytest_plugin"]`. Not loaded by itself: a
suite that does not use it should not import it.
"""

import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from trio_driver.testing.leaks import assert_no_leaks

SEED_BITS = 32


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--seed N`: repeat what a test with the fixture `seed` did."""
    group = parser.getgroup("trio_driver")
    group.addoption("--seed", type=int, default=None, help="seed of tests with the fixture `seed`")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers that a failed test's output says how to repeat."""
    number = request.config.getoption("--seed")
    if number is None:
        number = time.time_ns() % (1 << SEED_BITS)
    print(f"repeat with --seed {number}")
    return random.Random(number)


@pytest.fixture
async def no_leaks(tmp_path: Path) -> AsyncIterator[None]:
    """Fail the test if it leaves anything behind, see `assert_no_leaks`; below `tmp_path`, too."""
    async with assert_no_leaks(tmp_path):
        yield
