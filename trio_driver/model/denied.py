"""What a task is denied: users and groups by number, variables by pattern.

Rules:
- Ids are checked as numbers, after a name was resolved, never as a name.

Source: nomad-protocol §8.9, §9.2; the texts are those of Nomad's raw_exec.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trio_driver.model.errors import ConfigInvalidError

ID_LIMIT = 2**32
"""First number that is no uid or gid of Linux."""

_NUMBER = re.compile(r"[0-9]{1,10}", re.ASCII)

Ranges = tuple[tuple[int, int], ...]
"""Lowest and highest number of each, both included."""


@dataclass(frozen=True, slots=True)
class DeniedIds:
    """Users and groups that no task may run as."""

    uids: Ranges = ()
    gids: Ranges = ()

    @classmethod
    def parse(cls, uids: str, gids: str) -> "DeniedIds":
        """From the texts of the plugin's options, such as `0-99,65534`.

        Raises:
            ConfigInvalidError: a range is none.
        """
        return cls(
            _ranges("denied_host_uids", "deniedHostUIDs", uids),
            _ranges("denied_host_gids", "deniedHostGIDs", gids),
        )

    def __bool__(self) -> bool:
        return bool(self.uids or self.gids)

    def check(self, *, uid: int, gids: Iterable[int]) -> None:
        """Refuse a process that would have this uid and these groups.

        Raises:
            ConfigInvalidError: one of them is denied.
        """
        if _is_within(uid, self.uids):
            raise ConfigInvalidError(f"running as uid {uid} is disallowed by denied_host_uids")
        for gid in gids:
            if _is_within(gid, self.gids):
                raise ConfigInvalidError(f"running as gid {gid} is disallowed by denied_host_gids")


def _is_within(number: int, ranges: Ranges) -> bool:
    return any(low <= number <= high for low, high in ranges)


def _ranges(option: str, reference_name: str, text: str) -> Ranges:
    return tuple(_range(option, reference_name, part) for part in text.split(",")) if text else ()


def _range(option: str, reference_name: str, text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    bounds = [int(part) for part in (low, high or low) if _NUMBER.fullmatch(part)]
    reason = ""
    if len(bounds) < 2 or max(bounds) >= ID_LIMIT or text.endswith("-"):
        reason = "range bound not valid"
    elif bounds[0] > bounds[1]:
        reason = "lower bound cannot be greater than upper bound"
    if reason:
        raise ConfigInvalidError(
            f'{option}: invalid range {reference_name} "{text}": {reason}; '
            "expected numbers and ranges such as 0-99,65534"
        )
    return bounds[0], bounds[1]


def allowed_env(env: Mapping[str, str], patterns: Iterable[str]) -> dict[str, str]:
    """`env` without the variables whose names match one of `patterns`."""
    denied = list(patterns)
    return {
        name: value
        for name, value in env.items()
        if not any(matches(pattern, name) for pattern in denied)
    }


def matches(pattern: str, text: str) -> bool:
    """Whether `text` is `pattern`, in which `*` stands for any text and nothing else is special.

    Takes time proportional to both: a pattern may come from a job.
    """
    first, *rest = pattern.split("*")
    if not rest:
        return text == first
    if not text.startswith(first):
        return False
    *middle, last = rest
    at = len(first)
    for part in middle:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(text) - at >= len(last) and text.endswith(last)
