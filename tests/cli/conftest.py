"""Fixtures of the command line's tests."""

from collections.abc import Iterator

import pytest

from .program import Sandbox, open_sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """The program in a directory of its own; the test fails when a run leaves anything."""
    with open_sandbox() as opened:
        yield opened
