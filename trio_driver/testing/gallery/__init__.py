"""The gallery: small programs with a bug that real ones have had, each beside its right version.

    python -m trio_driver.testing.gallery            # every exhibit, both versions, with the verdict
    python -m trio_driver.testing.gallery torn_record

An exhibit is for reading first: its docstring tells the story. What the kit says of it proves that
the kit finds what it claims to find, and that it acquits the version without the bug.
"""

from trio_driver.testing.gallery import lifetimes, processes, records
from trio_driver.testing.gallery.exhibit import Exhibit, Trial, try_exhibit

EXHIBITS: tuple[Exhibit, ...] = (*lifetimes.EXHIBITS, *processes.EXHIBITS, *records.EXHIBITS)

__all__ = ["EXHIBITS", "Exhibit", "Trial", "try_exhibit"]
