"""Limits on a value, as `msgspec.Meta` declares them: checked here, and put in words.

Only the limits that HCL values can break: bounds and multiples of numbers, lengths, patterns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sized
from typing import cast

import msgspec
from msgspec import inspect

Number = int | float

RULES: dict[str, tuple[str, Callable[[Number, Number], bool]]] = {
    "gt": ("more than {}", lambda value, limit: value > limit),
    "ge": ("at least {}", lambda value, limit: value >= limit),
    "lt": ("less than {}", lambda value, limit: value < limit),
    "le": ("at most {}", lambda value, limit: value <= limit),
    "multiple_of": ("a multiple of {}", lambda value, limit: value % limit == 0),
    "min_length": ("at least {} long", lambda length, limit: length >= limit),
    "max_length": ("at most {} long", lambda length, limit: length <= limit),
}
"""By the name of each numeric limit: its words, and whether a value (or length) keeps it."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one value; None is no limit. Lengths are characters or elements."""

    gt: Number | None = None
    ge: Number | None = None
    lt: Number | None = None
    le: Number | None = None
    multiple_of: Number | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None

    @classmethod
    def of(cls, declared: inspect.Type) -> Limits:
        """The limits that msgspec found on a type."""
        return cls(**{name: getattr(declared, name, None) for name in cls.__struct_fields__})

    def kept_by(self, value: object) -> bool:
        """Whether `value`, which has the declared type, keeps every limit."""
        if self.pattern is not None and not re.search(self.pattern, str(value)):
            return False
        for name, limit in self._numeric():
            measured = len(cast("Sized", value)) if name.endswith("length") else value
            if not RULES[name][1](cast("Number", measured), limit):
                return False
        return True

    def words(self) -> str:
        """All limits in words, `at least 1, at most 9`; empty without limits."""
        found = [RULES[name][0].format(limit) for name, limit in self._numeric()]
        if self.pattern is not None:
            found.append(f"matching {self.pattern}")
        return ", ".join(found)

    def _numeric(self) -> list[tuple[str, Number]]:
        limits = [(name, cast("Number | None", getattr(self, name))) for name in RULES]
        return [(name, limit) for name, limit in limits if limit is not None]
