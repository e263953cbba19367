"""The drivers that come with the package; each is written on `sdk`, as an author's would be."""

from trio_driver.drivers.trio import TrioDriver

__all__ = ["TrioDriver"]
