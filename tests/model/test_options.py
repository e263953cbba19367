"""What a driver asks of the framework: combinations that cannot be are refused where they are made."""

import re

import pytest

from trio_driver.model import ConfigInvalidError, TaskOptions


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"cgroup_v2_override": "a", "cgroup_v1_override": {"cpu": "b"}},
            "only one of cgroups_v1_override and cgroups_v2_override may be set",
        ),
        ({"cgroup_v2_override": "a/../../b"}, 'cgroup_v2_override "a/../../b" is not accepted'),
        ({"cgroup_v1_override": {"cpu": "../b"}}, 'cgroup_v1_override "../b" is not accepted'),
        ({"cgroup_v1_override": {"cpu": ""}}, 'cgroup_v1_override.cpu "" is not accepted'),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_value(options: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigInvalidError, match=re.escape(text)):
        TaskOptions(**options)  # pyright: ignore[reportArgumentType]
