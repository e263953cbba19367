"""What an agent sends, as an instance of a class; or why not."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest

from trio_driver import hcl


class Port(msgspec.Struct, frozen=True):
    label: str
    to: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 80


class Config(msgspec.Struct, frozen=True, kw_only=True):
    command: str
    args: list[str] = []
    user: str | None = None
    mode: Literal["left", "right"] = "left"
    grace_s: hcl.Duration = msgspec.field(name="grace", default=5)
    env: dict[str, str] = {}
    main: Port | None = None
    port: list[Port] = []
    volume: dict[str, Port] = {}


class Range(msgspec.Struct):
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is more than high")


class Ranges(msgspec.Struct):
    range: list[Range]


MINIMAL = Config(command="x")


def decode_one(annotation: Any, value: object, **default: Any) -> object:
    """The field `f` of a class with nothing else."""
    field = ("f", annotation, default["default"]) if default else ("f", annotation)
    cls = msgspec.defstruct("One", [field])
    return getattr(hcl.decode(cls, msgspec.msgpack.encode({"f": value})), "f")  # noqa: B009


def problems_of(value: object, cls: type[msgspec.Struct] = Config) -> list[str]:
    with pytest.raises(hcl.ConfigError) as caught:
        hcl.decode(cls, msgspec.msgpack.encode(value))
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    "value",
    [
        {"command": "x"},
        {"command": "x", "args": None, "user": None, "grace": None, "env": None, "main": None},
        {"command": "x", "port": [], "volume": {}, "env": []},
    ],
    ids=["missing", "nil", "empty"],
)
def test_what_is_not_set_has_its_default(value: object) -> None:
    assert hcl.decode(Config, msgspec.msgpack.encode(value)) == MINIMAL


def test_an_empty_message_is_an_empty_block() -> None:
    class Plugin(msgspec.Struct):
        enabled: bool = True

    for data in (b"", b"\xc0", b"\x80"):
        assert hcl.decode(Plugin, data).enabled


def test_an_empty_list_is_not_the_default() -> None:
    default = msgspec.field(default_factory=lambda: ["x"])
    assert decode_one(list[str], None, default=default) == ["x"]
    assert decode_one(list[str], [], default=default) == []


def test_two_instances_do_not_share_a_default() -> None:
    first, second = (hcl.decode(Config, msgspec.msgpack.encode({"command": "x"})) for _ in "12")
    first.args.append("y")
    assert second.args == []


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (int, "18446744073709551616", 2**64),
        (int, "5", 5),
        (int, 5.0, 5),
        (float, "0.1", 0.1),
        (float, 1, 1.0),
        (float, "18446744073709551616", 2.0**64),
        (hcl.Duration, "1h30m", 5400),
        (dict[str, str], [{"a": "1", "b": "1"}, {"a": "2"}], {"a": "2", "b": "1"}),
        (dict[str, list[int]], [{"a": [1]}], {"a": [1]}),
        (list[dict[str, str]], [{"a": "1"}, {}], [{"a": "1"}, {}]),
        (dict[str, Port], {"x": {"label": "l", "to": 1}}, {"x": Port("l", 1)}),
        (list[Port], [{"label": "l", "to": None}], [Port("l")]),
    ],
)
def test_a_value_is_read_in_all_forms_that_agents_give_it(
    annotation: Any, value: object, expected: object
) -> None:
    found = decode_one(annotation, value)
    assert (type(found), found) == (type(expected), expected) or annotation is hcl.Duration


@pytest.mark.parametrize(
    ("annotation", "value", "problem"),
    [
        (str, 5, "config.f: 5 is not accepted; expected a string"),
        (bool, 1, "config.f: 1 is not accepted; expected true or false"),
        (int, True, "config.f: true is not accepted; expected a whole number"),
        (int, 1.5, "config.f: 1.5 is not accepted; expected a whole number"),
        (int, "0.5", 'config.f: "0.5" is not accepted; expected a whole number'),
        (int, "1_0", 'config.f: "1_0" is not accepted; expected a whole number'),
        (float, "inf", 'config.f: "inf" is not accepted; expected a number'),
        (float, float("nan"), "config.f: nan is not accepted; expected a number"),
        (float, float("inf"), "config.f: inf is not accepted; expected a number"),
        (list[str], ["a", 5], "config.f[1]: 5 is not accepted; expected a string"),
        (list[str], ["a", None], "config.f[1]: null is not accepted; expected a string"),
        (list[str], "a", 'config.f: "a" is not accepted; expected a list, each element a string'),
        (dict[str, str], {"a": "b"},
         "config.f: a map is not accepted; expected a map, each value a string"),
        (dict[str, str], ["a"],
         'config.f[0]: "a" is not accepted; expected a map, each value a string'),
        (dict[str, str], [{"a b": 1}], 'config.f["a b"]: 1 is not accepted; expected a string'),
        (Port, [], "config.f: a list of 0 is not accepted; expected one block"),
        (dict[str, Port], {"x": {"label": "l", "to": 0}},
         "config.f.x.to: 0 is not accepted; expected a whole number, at least 1, at most 65535"),
        (hcl.Duration, "90",
         'config.f: "90" is not accepted; expected a duration such as "90s" or "1h30m"'),
        (Annotated[hcl.Duration, msgspec.Meta(le=60)], "61s",
         'config.f: "61s" is not accepted; expected a duration such as "90s" or "1h30m", '
         "at most 60 (seconds)"),
        (Literal["a", "b"], "c", 'config.f: "c" is not accepted; expected one of "a", "b"'),
        (Annotated[str, msgspec.Meta(pattern="^a+$")], "b",
         'config.f: "b" is not accepted; expected a string, matching ^a+$'),
        (Annotated[list[str], msgspec.Meta(max_length=1)], ["a", "b"],
         "config.f: a list of 2 is not accepted; expected a list, each element a string, "
         "at most 1 long"),
        (str, "x" * 100, None),
        (int, "x" * 100, f'config.f: "{"x" * 57}..." is not accepted; expected a whole number'),
        (int, "9" * 5000, f'config.f: "{"9" * 57}..." is not accepted; expected a whole number'),
    ],
)  # fmt: skip
def test_a_rejection_names_the_path_the_value_and_what_is_accepted(
    annotation: Any, value: object, problem: str | None
) -> None:
    if problem is None:
        assert decode_one(annotation, value) == value
    else:
        cls = msgspec.defstruct("One", [("f", annotation)])
        assert problems_of({"f": value}, cls) == [problem]


def test_an_unknown_option_is_an_error_with_a_suggestion() -> None:
    class Small(msgspec.Struct):
        command: str = ""
        args: list[str] = []

    assert problems_of({"comand": "x", "zzzzzz": 1}, Small) == [
        'config.comand: there is no such option. Did you mean "command"? There are: args, command',
        "config.zzzzzz: there is no such option. There are: args, command",
    ]
    assert problems_of({5: "x"}, Small) == ["config: 5 is not the name of an option"]


@pytest.mark.parametrize(
    "annotation", [str, list[str], dict[str, str], Port, list[Port], dict[str, Port]]
)
def test_an_option_without_default_is_required(annotation: Any) -> None:
    cls = msgspec.defstruct("One", [("f", annotation)])
    for value in ({}, {"f": None}):
        (problem,) = problems_of(value, cls)
        assert problem.startswith("config.f: required, but not set; expected ")


def test_a_required_option_that_may_be_null_is_null() -> None:
    assert decode_one(str | None, None) is None


def test_all_problems_are_reported_together() -> None:
    value = {"args": 5, "port": [{"to": 0}], "volume": {"v": {"label": 1}}, "other": 1}
    assert [problem.split(":")[0] for problem in problems_of(value)] == [
        "config.other",
        "config.command",
        "config.args",
        "config.port[0].label",
        "config.port[0].to",
        "config.volume.v.label",
    ]


def test_the_class_s_own_check_names_its_block() -> None:
    value = {"range": [{"low": 1, "high": 2}, {"low": 2, "high": 1}]}
    assert problems_of(value, Ranges) == ["config.range[1]: low is more than high"]


@pytest.mark.parametrize(
    "data", [b"\xc1", b"\x81", b"\x80\x80", b"\xa1\xff", b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff"]
)
def test_what_is_not_msgpack_is_an_error_of_the_configuration(data: bytes) -> None:
    with pytest.raises(hcl.ConfigError, match="config: not msgpack: "):
        hcl.decode(Config, data)


def test_errors_call_the_block_as_they_are_told() -> None:
    with pytest.raises(hcl.ConfigError, match=r'^plugin "x" config\.command: required'):
        hcl.decode(Config, b"", path='plugin "x" config')
