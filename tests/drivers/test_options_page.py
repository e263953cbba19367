"""Every option of the driver `trio` is on the reference page, and refuses what it cannot take."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.support.host import open_host
from trio_driver import hcl
from trio_driver._proto import base_pb2
from trio_driver.drivers.options_page import COMMAND, page
from trio_driver.drivers.trio import TrioTaskConfig
from trio_driver.hcl.declare import block_of
from trio_driver.hcl.errors import shown
from trio_driver.hcl.kinds import Kind, Leaf, ListOf, MapOf, Option, Scalar, accepted_words
from trio_driver.rpc import RpcError
from trio_driver.sdk import PluginConfig

PAGE = Path(__file__).parents[2] / "docs" / "options.md"
CLASSES: tuple[type[msgspec.Struct], ...] = (TrioTaskConfig, PluginConfig)
OPTIONS = [(cls, option) for cls in CLASSES for option in block_of(cls).options]
REQUIRED = {"command": "/bin/true"}

TASK_VALUES: dict[str, list[tuple[object, str, str]]] = {
    "command": [("", '""', "name a program")],
    "work_dir": [("not/absolute", '"not/absolute"', "absolute path")],
    "oom_score_adj": [(-1, "-1", "0 to 1000"), (1001, "1001", "0 to 1000")],
    "pids_limit": [(0, "0", "1 to"), (2**40, str(2**40), "1 to")],
    "ulimit": [
        ([{"frobnicate": "1"}], "frobnicate", "nofile"),
        ([{"nofile": "many"}], '"many"', "unlimited"),
        ([{"nofile": "9:1"}], '"9:1"', "soft"),
    ],
    "stop": [
        (["SIGFOO 1s"], '"SIGFOO 1s"', "SIGTERM"),
        (["SIGTERM somebody 1s"], '"SIGTERM somebody 1s"', "main"),
    ],
    "pid_mode": [("shared", '"shared"', '"private"')],
    "stop_after_driver_loss": [("1ms", "0.001s", "or more"), ("soon", '"soon"', "a duration")],
    "cgroup_v2_override": [("../up", '"../up"', "without")],
    "cgroup_v1_override": [([{"pids": "../up"}], '"../up"', "without")],
}
"""What the type allows and the option does not: the value, how the text shows it, what it offers."""

PLUGIN_VALUES: dict[str, list[tuple[object, str, str]]] = {
    "orphan_grace": [("soon", '"soon"', "a duration")],
    "denied_host_uids": [("root", '"root"', "0-99,65534"), ("9-1", '"9-1"', "0-99,65534")],
    "denied_host_gids": [("0-", '"0-"', "0-99,65534")],
    "log_level": [("loud", '"loud"', '"debug"')],
    "state_dir": [("not/absolute", '"not/absolute"', "absolute path")],
}

TYPE_IS_ALL = {"args", "denied_envvars", "cpu_hard_limit", "enabled"}
"""Options that take whatever their type has."""


def wrong(kind: Kind) -> list[object]:
    """Values that an option of this kind does not take, as an agent would send them."""
    match kind:
        case Leaf(scalar=Scalar.STRING):
            others: list[object] = [5, True, ["a"], {"a": "b"}]
            return [*others, "none of them"] if kind.choices else others
        case Leaf(scalar=Scalar.BOOL):
            return ["yes", 1, []]
        case Leaf(scalar=Scalar.DURATION):
            return ["soon", "5", "-1s", 5]
        case Leaf():
            return ["many", "0.5", True, "1e3", []]
        case ListOf():
            return ["one", {"a": "b"}, 5]
        case MapOf():
            return ["one", {"a": "b"}, 5]
        case _:
            return ["one", 5]


WRONG = [
    pytest.param(cls, option, value, id=f"{cls.__name__}-{option.name}-{value}")
    for cls, option in OPTIONS
    for value in wrong(option.kind)
]


def test_the_page_is_what_the_classes_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), f"run: {COMMAND}"


@pytest.mark.parametrize(("cls", "option"), OPTIONS, ids=lambda part: getattr(part, "name", ""))
def test_every_option_says_what_it_means(cls: type[msgspec.Struct], option: Option) -> None:
    assert len(option.doc) > 10, f"{cls.__name__}.{option.field} has no hcl.doc"
    assert option.doc.endswith("."), f"{cls.__name__}.{option.field}"


@pytest.mark.parametrize(("cls", "option", "value"), WRONG)
def test_a_value_of_another_type_is_refused_with_option_value_and_what_is_accepted(
    cls: type[msgspec.Struct], option: Option, value: object
) -> None:
    own = dict(REQUIRED) if cls is TrioTaskConfig else {}
    with pytest.raises(hcl.ConfigError) as caught:
        hcl.decode(cls, msgspec.msgpack.encode({**own, option.name: value}))
    text = str(caught.value)
    assert f"config.{option.name}" in text
    assert shown(value) in text
    assert accepted_words(option.kind) in text


def test_for_every_option_it_is_known_which_values_of_its_type_are_refused() -> None:
    names = {option.name for _, option in OPTIONS}
    assert names == set(TASK_VALUES) | set(PLUGIN_VALUES) | TYPE_IS_ALL, (
        "a new option is named in TASK_VALUES, PLUGIN_VALUES or TYPE_IS_ALL"
    )


@pytest.mark.cgroup
async def test_a_job_with_a_wrong_value_is_refused_with_option_value_and_what_is_accepted() -> None:
    async with open_host() as host:
        for name, values in TASK_VALUES.items():
            for value, as_shown, offer in values:
                task = host.task("/bin/true", config={name: value})
                with pytest.raises(RpcError) as caught:
                    await host.plugin.start(task)
                for part in (name, as_shown, offer):
                    assert part in caught.value.message, caught.value.message
        await host.nothing_is_left()


@pytest.mark.cgroup
async def test_a_plugin_block_with_a_wrong_value_is_refused_the_same() -> None:
    async with open_host() as host:
        for name, values in PLUGIN_VALUES.items():
            for value, as_shown, offer in values:
                with pytest.raises(RpcError) as caught:
                    await host.plugin.configure({name: value}, base_pb2.NomadConfig())
                for part in (name, as_shown, offer):
                    assert part in caught.value.message, caught.value.message
