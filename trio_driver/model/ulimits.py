"""Limits of single processes as a job writes them: `nofile = "2048:4096"`, `core = "0"`.

Source: getrlimit(2); the names are those of limits.conf(5) and of other drivers' `ulimit`.
"""

import re
import resource
from collections.abc import Mapping

from trio_driver.model.errors import ConfigInvalidError

ULIMIT_NAMES = (
    *("as", "core", "cpu", "data", "fsize", "memlock", "msgqueue", "nice", "nofile", "nproc"),
    *("rss", "rtprio", "rttime", "sigpending", "stack"),
)
"""Each is RLIMIT_ and its name in capitals."""

UNLIMITED = frozenset({"unlimited", "infinity", "-1"})

_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)

ACCEPTED = 'expected "soft:hard" or one value for both, each a number or unlimited'


def parse_ulimits(ulimits: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """Soft and hard limit by name; `resource.RLIM_INFINITY` for none.

    Raises:
        ConfigInvalidError: no such limit, or no such value; names both and what is accepted.
    """
    return {name: _limit(name, text) for name, text in ulimits.items()}


def _limit(name: str, text: str) -> tuple[int, int]:
    if name not in ULIMIT_NAMES:
        raise ConfigInvalidError(
            f'ulimit "{name}" is not accepted; expected one of {", ".join(ULIMIT_NAMES)}'
        )
    parts = text.split(":")
    values = [_value(part) for part in parts]
    numbers = [value for value in values if value is not None]
    if not len(numbers) == len(parts) <= 2:
        raise ConfigInvalidError(f'ulimit.{name} "{text}" is not accepted; {ACCEPTED}')
    soft, hard = numbers[0], numbers[-1]
    if hard != resource.RLIM_INFINITY and (soft == resource.RLIM_INFINITY or soft > hard):
        raise ConfigInvalidError(
            f'ulimit.{name} "{text}" is not accepted: the soft limit is above the hard one'
        )
    return soft, hard


def _value(text: str) -> int | None:
    if text in UNLIMITED:
        return resource.RLIM_INFINITY
    return int(text) if _NUMBER.fullmatch(text) else None
