"""Limits of processes as a job writes them."""

import re
import resource

import pytest

from trio_driver.model import ULIMIT_NAMES, ConfigInvalidError, parse_ulimits

INFINITY = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("2048:4096", (2048, 4096)),
        ("0", (0, 0)),
        ("unlimited", (INFINITY, INFINITY)),
        ("5:unlimited", (5, INFINITY)),
        ("infinity:-1", (INFINITY, INFINITY)),
    ],
)
def test_one_value_is_both_limits(text: str, limits: tuple[int, int]) -> None:
    assert parse_ulimits({"nofile": text, "core": "1"}) == {"nofile": limits, "core": (1, 1)}


@pytest.mark.parametrize("name", ULIMIT_NAMES)
def test_every_name_is_one_of_the_kernels(name: str) -> None:
    assert isinstance(getattr(resource, f"RLIMIT_{name.upper()}"), int)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("nofiles", "1", 'ulimit "nofiles" is not accepted; expected one of as, core,'),
        ("NOFILE", "1", 'ulimit "NOFILE" is not accepted'),
        ("nofile", "", 'ulimit.nofile "" is not accepted; expected "soft:hard"'),
        ("nofile", "1:2:3", 'ulimit.nofile "1:2:3" is not accepted'),
        ("nofile", "many", 'ulimit.nofile "many" is not accepted'),
        ("nofile", "-2", 'ulimit.nofile "-2" is not accepted'),
        ("nofile", "1:", 'ulimit.nofile "1:" is not accepted'),
        ("nofile", "2:1", 'ulimit.nofile "2:1" is not accepted: the soft limit is above the hard'),
        ("core", "unlimited:1", 'ulimit.core "unlimited:1" is not accepted: the soft limit is'),
        ("core", "9" * 30, "is not accepted"),
    ],
)
def test_what_is_no_limit_is_refused_by_name_and_value(name: str, value: str, text: str) -> None:
    with pytest.raises(ConfigInvalidError, match=re.escape(text)):
        parse_ulimits({name: value})
