"""Durations as Go and HCL write them: `"90s"`, `"1h30m"`, `"250ms"`.

Source: Go's time.ParseDuration, whose text form Nomad's own options have.
"""

from __future__ import annotations

import re

UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
"""Seconds in each unit; the micro sign has two code points, and Go accepts both."""

PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", flags=re.ASCII)
WHOLE = re.compile(rf"\+?(?:0|(?:{PART.pattern})+)", flags=re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds of a duration such as `1h30m`; `0` needs no unit. None is negative.

    Raises:
        ValueError: it is not a duration, or too long for a float.
    """
    if not WHOLE.fullmatch(text):
        raise ValueError(text)
    parts = PART.findall(text)
    seconds = sum(float(number) * UNIT_S[unit] for number, unit in parts)
    if seconds == float("inf"):
        raise ValueError(text)
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest text with the unit s; what is below a nanosecond is lost."""
    return f"{f'{seconds:.9f}'.rstrip('0').rstrip('.')}s"
