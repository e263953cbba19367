"""Denied ids and variables: ranges as raw_exec's, and globs with one wildcard."""

import re
import time
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_driver.model import ConfigInvalidError, DeniedIds, allowed_env
from trio_driver.model.denied import matches


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("", ()),
        ("0", ((0, 0),)),
        ("0-99,65534", ((0, 99), (65534, 65534))),
        ("5-5", ((5, 5),)),
        ("4294967295", ((4294967295, 4294967295),)),
    ],
)
def test_ranges_hold_both_bounds(text: str, ranges: tuple[tuple[int, int], ...]) -> None:
    assert DeniedIds.parse(text, text) == DeniedIds(ranges, ranges)


@pytest.mark.parametrize(
    ("text", "part", "reason"),
    [
        ("100-1", "100-1", "lower bound cannot be greater than upper bound"),
        ("1,9-2", "9-2", "lower bound cannot be greater than upper bound"),
        ("a", "a", "range bound not valid"),
        ("1,", "", "range bound not valid"),
        ("-5", "-5", "range bound not valid"),
        ("5-", "5-", "range bound not valid"),
        ("1-2-3", "1-2-3", "range bound not valid"),
        ("1, 2", " 2", "range bound not valid"),
        ("4294967296", "4294967296", "range bound not valid"),
        ("1_0", "1_0", "range bound not valid"),
        ("٣", "٣", "range bound not valid"),
        ("root", "root", "range bound not valid"),
    ],
)
def test_what_is_no_range_is_refused_with_the_texts_of_raw_exec(
    text: str, part: str, reason: str
) -> None:
    uids = re.escape(f'denied_host_uids: invalid range deniedHostUIDs "{part}": {reason}')
    with pytest.raises(ConfigInvalidError, match=uids):
        DeniedIds.parse(text, "")
    gids = re.escape(f'denied_host_gids: invalid range deniedHostGIDs "{part}": {reason}')
    with pytest.raises(ConfigInvalidError, match=gids):
        DeniedIds.parse("", text)


def test_a_uid_and_every_group_are_checked() -> None:
    denied = DeniedIds.parse("10-20", "7")
    denied.check(uid=9, gids=(6, 8, 10))
    with pytest.raises(ConfigInvalidError, match="running as uid 20 is disallowed"):
        denied.check(uid=20, gids=())
    with pytest.raises(ConfigInvalidError, match="running as gid 7 is disallowed"):
        denied.check(uid=9, gids=(6, 7))


@pytest.mark.parametrize(
    ("pattern", "denied"),
    [
        ("AWS_*", {"AWS_A", "AWS_"}),
        ("*", {"AWS_A", "AWS_", "HOME", "MY_TOKEN", "a.b", ""}),
        ("*_TOKEN", {"MY_TOKEN"}),
        ("*_T*N", {"MY_TOKEN"}),
        ("a?b", set[str]()),
        ("a.b", {"a.b"}),
        ("[A-Z]*", set[str]()),
        ("HOME", {"HOME"}),
        ("home", set[str]()),
        ("", {""}),
        ("HOME*HOME", set[str]()),
    ],
)
def test_only_a_star_is_special(pattern: str, denied: set[str]) -> None:
    env: dict[str, str] = dict.fromkeys(("AWS_A", "AWS_", "HOME", "MY_TOKEN", "a.b", ""), "x")
    assert env.keys() - allowed_env(env, [pattern]).keys() == denied


def test_a_variable_is_denied_by_any_of_the_patterns() -> None:
    assert allowed_env({"A": "1", "B": "2", "C": "3"}, ["A", "C*"]) == {"B": "2"}


@given(st.text("ab*", max_size=8), st.text("ab", max_size=12))
def test_it_matches_as_the_shell_does(pattern: str, text: str) -> None:
    assert matches(pattern, text) is fnmatchcase(text, pattern)


def test_a_pattern_from_a_job_costs_no_more_than_its_length() -> None:
    began_s = time.process_time()
    assert not matches("*a" * 2000 + "*b", "a" * 100_000)
    assert time.process_time() - began_s < 2
