"""Looking again: the one place where a test polls, for what the kernel announces to nobody."""

from collections.abc import Callable

import trio

LIMIT_S = 20.0
"""Longest wait of a test before it fails: enough for an emulated machine that is shared."""

PAUSE_S = 0.005
"""Between two looks at /proc, /sys/fs/cgroup or a state directory."""


async def until(
    condition: Callable[[], object],
    what: str | Callable[[], str],
    *,
    limit_s: float = LIMIT_S,
) -> None:
    """Look until `condition` holds.

    Raises:
        AssertionError: not within `limit_s` seconds; the text tells `what`.
    """
    deadline = trio.current_time() + limit_s
    while not condition():
        if trio.current_time() > deadline:
            text = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {limit_s:g} s: {text}")
        await trio.sleep(PAUSE_S)
