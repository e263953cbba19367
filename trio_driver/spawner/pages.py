"""What forks share: memory that is laid out so that a fork writes to as little of it as it can.

A fork shares each page with the spawner until one of the two writes to it. CPython puts new objects into
the holes between old ones, so that a small object costs a page of its own; and a garbage
collection writes to every object that it looks at.

Rules:
- It is about memory alone: without it everything works, and each executor takes half a megabyte more.
"""

import gc
from collections.abc import Callable

BLOCK_STEP_BYTES, LARGEST_BLOCK_BYTES = 16, 512
"""Sizes of the blocks that CPython's allocator hands out for small objects."""

BYTES_OVERHEAD = 33
"""Size of an empty `bytes` object."""

FRESH_RUN = 12
"""So many blocks in a row, each behind the one before, come from memory that was not used yet. Less
than half of a pool of the largest blocks, or a run might never fit into one."""

MOST_BLOCKS = 2_000
"""At most so many blocks of a size are used up; a size that our own batches use never comes in a row."""


def keep_pages_shared() -> list[list[object]]:
    """Fill the holes, and take what lives now out of every later garbage collection.

    Returns:
        What fills the holes: keep it for as long as there are forks.
    """
    gc.collect()
    fillers = [
        _fill(size) for size in range(BLOCK_STEP_BYTES, LARGEST_BLOCK_BYTES + 1, BLOCK_STEP_BYTES)
    ]
    gc.freeze()
    return fillers


def _fill(size_bytes: int) -> list[object]:
    """Objects of one block each, until they come one behind the other."""
    make = _maker(size_bytes)
    kept: list[object] = []
    while len(kept) < MOST_BLOCKS:
        # A batch at a time: what looking at them makes has blocks, too.
        batch = [make() for _ in range(FRESH_RUN)]
        kept += batch
        if id(batch[-1]) - id(batch[0]) == size_bytes * (FRESH_RUN - 1):
            break
    return kept


def _maker(size_bytes: int) -> Callable[[], object]:
    match size_bytes:
        case 16:
            return object
        case 32:
            return lambda: complex(0.5, 0.5)
        case _:
            return lambda: bytes(size_bytes - BYTES_OVERHEAD)
