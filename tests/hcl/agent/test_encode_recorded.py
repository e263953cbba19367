"""Results recorded from Nomad's own code: what it makes of values, or why it refuses them."""

# ruff: noqa: E501
from __future__ import annotations

import pytest

from tests.hcl.agent.specs import (
    array,
    attr,
    block,
    block_attrs,
    block_list,
    block_map,
    block_set,
    default,
    literal,
    obj,
)
from trio_driver import hcl
from trio_driver._proto.hclspec_pb2 import Spec

CONVERTED: list[tuple[str, object, str]] = [
    ("string", "x", "a178"),
    ("string", 5, "a135"),
    ("string", 1.0, "a131"),
    ("string", 0.1, "a3302e31"),
    ("string", True, "a474727565"),
    ("string", None, "c0"),
    ("string", "e\u0301", "a2c3a9"),
    ("string", 1e21, "b631303030303030303030303030303030303030303030"),
    ("string", 18446744073709551615, "b43138343436373434303733373039353531363135"),
    ("string", 18446744073709551616, "b43138343436373434303733373039353531363136"),
    ("string", 1180591620717411303424, "b631313830353931363230373137343131333030303030"),
    ("number", 0, "00"),
    ("number", 127, "7f"),
    ("number", 128, "cc80"),
    ("number", 255, "ccff"),
    ("number", 256, "cd0100"),
    ("number", 65535, "cdffff"),
    ("number", 65536, "ce00010000"),
    ("number", 4294967296, "cf0000000100000000"),
    ("number", 9223372036854775807, "cf7fffffffffffffff"),
    ("number", 9223372036854775808, "b339323233333732303336383534373735383038"),
    ("number", -1, "ff"),
    ("number", -32, "e0"),
    ("number", -33, "d0df"),
    ("number", -128, "d080"),
    ("number", -129, "d1ff7f"),
    ("number", -9223372036854775808, "d38000000000000000"),
    ("number", 0.5, "cb3fe0000000000000"),
    ("number", 0.1, "a3302e31"),
    ("number", "5", "05"),
    ("number", "0.1", "a3302e31"),
    ("number", "1e3", "cd03e8"),
    ("bool", True, "c3"),
    ("bool", "true", "c3"),
    ("bool", "1", "c3"),
    ("any", "x", "a178"),
    ("any", [1, "a"], "9201a161"),
    ("any", {"k": [True]}, "81a16b91c3"),
    ("any", None, "c0"),
    ("list(string)", ["a", 1, True], "93a161a131a474727565"),
    ("list(string)", [], "90"),
    ("list(string)", None, "c0"),
    ("list(string)", [None], "91c0"),
    ("list(number)", ["1", 2], "920102"),
    ("set(string)", ["b", "a", "b"], "92a161a162"),
    ("set(number)", [3, 1, 2, 1], "93010203"),
    ("map(string)", {"b": 1, "a": True}, "82a161a474727565a162a131"),
    ("map(string)", {}, "80"),
    ("list(map(string))", [{"b": 1}, {"a": "x"}], "9281a162a13181a161a178"),
    ("list(map(string))", [], "90"),
    ("list(any)", [1, "a"], "92a131a161"),
    ("list(any)", [], "90"),
    ("object({a=string, b=number})", {"a": 1, "b": "2"}, "82a161a131a16202"),
    ("object({a=string, b=number})", {"a": "x", "b": 1, "c": 2}, "82a161a178a16201"),
    ("tuple([string, number])", ["a", "1"], "92a16101"),
]
"""An attribute's type, a value for it, and the value's msgpack."""

REFUSED_VALUES: list[tuple[str, object, str]] = [
    ("string", ["x"], "string required, but have tuple"),
    ("string", {"k": "v"}, "string required, but have object"),
    ("number", "x", "a number is required"),
    ("number", True, "number required, but have bool"),
    ("number", "", "a number is required"),
    ("number", [], "number required, but have tuple"),
    ("bool", "TRUE", 'a bool is required; to convert from string, use lowercase "true"'),
    ("bool", "yes", "a bool is required"),
    ("bool", 1, "bool required, but have number"),
    ("list(string)", "x", "list of string required, but have string"),
    ("list(string)", ["a", ["b"]], "element 1: string required, but have tuple"),
    ("list(string)", {"a": "b"}, "list of string required"),
    ("list(number)", ["x"], "a number is required"),
    ("list(number)", [True], "element 0: number required, but have bool"),
    ("map(string)", [{"a": "b"}], "map of string required"),
    ("map(string)", {"a": {}}, 'element "a": string required, but have object'),
    ("list(map(string))", {"a": "b"}, "list of map of string required"),
    (
        "list(map(string))",
        [{"a": ["x"]}],
        'element 0: element "a": string required, but have tuple',
    ),
    ("list(any)", [1, True], "all list elements must have the same type"),
    ("object({a=string, b=number})", {"a": 1}, 'attribute "b" is required'),
    ("object({a=string, b=number})", {}, 'attributes "a" and "b" are required'),
    ("object({a=string, b=number})", "x", "object required, but have string"),
    ("tuple([string, number])", ["a"], "tuple required"),
    ("tuple([string, number])", ["a", "b"], "a number is required"),
]

ENCODED: list[tuple[Spec, object, str]] = [
    (obj(a=attr("a", "string", required=True)), {"a": None}, "81a161c0"),
    (obj(a=attr("a", "string", required=True)), {"//": "comment", "a": "x"}, "81a161a178"),
    (obj(a=attr("a", "string", required=True)), [{"a": "x"}, {}], "81a161a178"),
    (obj(renamed=attr("a", "string")), {"a": "x"}, "81a772656e616d6564a178"),
    (obj(a=attr("", "string")), {"a": "x"}, "81a161a178"),
    (obj(a=default(attr("a", "bool"), "false")), {}, "81a161c2"),
    (obj(a=default(attr("a", "bool"), "false")), {"a": None}, "81a161c2"),
    (obj(a=default(attr("a", "bool"), "false")), {"a": "true"}, "81a161c3"),
    (
        obj(a=default(block("a", obj(x=attr("x", "string"))), '{ x = "y", z = [1, -0.5] }')),
        {},
        "81a16182a178a179a17a9201cbbfe0000000000000",
    ),
    (
        obj(a=default(block("a", obj(x=attr("x", "string"))), '{ x = "y", z = [1, -0.5] }')),
        {"a": {}},
        "81a16181a178c0",
    ),
    (
        obj(a=default(block("a", obj(x=attr("x", "string"))), '{ x = "y", z = [1, -0.5] }')),
        {"a": [{"x": "q"}]},
        "81a16181a178a171",
    ),
    (
        obj(a=literal("5"), b=array(attr("x", "string"), literal("null"))),
        {"x": "y"},
        "82a16105a16292a179c0",
    ),
    (obj(b=block("b", obj(x=attr("x", "number", required=True)))), {}, "81a162c0"),
    (
        obj(b=block("b", obj(x=attr("x", "number", required=True)))),
        {"b": {"x": 1}},
        "81a16281a17801",
    ),
    (
        obj(b=block("b", obj(x=attr("x", "number", required=True)))),
        {"b": [{"x": 1}]},
        "81a16281a17801",
    ),
    (obj(b=block("b", obj(x=attr("x", "number", required=True)))), {"b": None}, "81a162c0"),
    (obj(b=block("b", obj(x=attr("x", "number", required=True)))), {"b": []}, "81a162c0"),
    (obj(b=block("b", obj(), required=True)), {"b": {}}, "81a16280"),
    (obj(b=block_attrs("b", "string")), {}, "81a162c0"),
    (obj(b=block_attrs("b", "string")), {"b": {}}, "81a16280"),
    (
        obj(b=block_attrs("b", "string")),
        {"b": {"x": 1, "a": "q", "//": 1}},
        "81a16282a161a171a178a131",
    ),
    (obj(b=block_attrs("b", "string")), {"b": [{"x": 1}]}, "81a16281a178a131"),
    (obj(b=block_attrs("b", "any")), {"b": {"x": 1, "y": 2}}, "81a16282a17801a17902"),
    (
        obj(b=block_list("b", obj(x=attr("x", "string")), least=1, most=2)),
        {"b": {"x": 1}},
        "81a1629181a178a131",
    ),
    (
        obj(b=block_list("b", obj(x=attr("x", "string")), least=1, most=2)),
        {"b": [{"x": 1}, {}]},
        "81a1629281a178a13181a178c0",
    ),
    (
        obj(b=block_list("b", obj(x=attr("x", "any")))),
        {"b": [{"x": 1}, {"x": "a"}, {}]},
        "81a1629381a178a13181a178a16181a178c0",
    ),
    (obj(b=block_set("b", obj(x=attr("x", "string")))), {}, "81a16290"),
    (
        obj(b=block_set("b", obj(x=attr("x", "string")))),
        {"b": [{"x": "a"}, {"x": "a"}]},
        "81a1629181a178a161",
    ),
    (obj(b=block_map("b", obj(x=attr("x", "string")), "label")), {}, "81a16280"),
    (
        obj(b=block_map("b", obj(x=attr("x", "string")), "label")),
        {"b": {"z": {"x": 1}, "a": {}}},
        "81a16282a16181a178c0a17a81a178a131",
    ),
    (
        obj(b=block_map("b", obj(x=attr("x", "string")), "label")),
        {"b": [{"z": [{"x": 1}]}, {"a": [{}]}]},
        "81a16282a16181a178c0a17a81a178a131",
    ),
    (obj(b=block_map("b", obj(x=attr("x", "string")), "l1", "l2")), {}, "81a16280"),
    (
        obj(b=block_map("b", obj(x=attr("x", "string")), "l1", "l2")),
        {"b": {"z": {"y": {"x": 1}, "a": {}}, "k": [{"m": {}}]}},
        "81a16282a16b81a16d81a178c0a17a82a16181a178c0a17981a178a131",
    ),
    (obj(), [], "80"),
]

REFUSED: list[tuple[Spec, object, list[str]]] = [
    (
        obj(a=attr("a", "string", required=True)),
        {},
        ['Missing required argument: The argument "a" is required, but no definition was found.'],
    ),
    (
        obj(a=attr("a", "string", required=True)),
        {"aa": 1},
        [
            'Missing required argument: The argument "a" is required, but no definition was found.',
            'Invalid label: No argument or block type is named "aa". Did you mean "a"?',
        ],
    ),
    (
        obj(a=attr("a", "string", required=True)),
        [{"a": "x"}, {"a": "y"}],
        ['Duplicate argument: The argument "a" was already set.'],
    ),
    (
        obj(renamed=attr("a", "string")),
        {"renamed": "x"},
        ['Invalid label: No argument or block type is named "renamed".'],
    ),
    (
        obj(b=block("b", obj(x=attr("x", "number", required=True)))),
        {"b": [{"x": 1}, {"x": 2}]},
        ['Duplicate b block: Only one block of type "b" is allowed.'],
    ),
    (
        obj(b=block("b", obj(x=attr("x", "number", required=True)))),
        {"b": {}},
        ['Missing required argument: The argument "x" is required, but no definition was found.'],
    ),
    (
        obj(b=block("b", obj(x=attr("x", "number", required=True)))),
        {"b": "s"},
        [
            'Incorrect JSON value type: Either a JSON object or a JSON array is required, representing the contents of one or more "b" blocks.'
        ],
    ),
    (
        obj(b=block("b", obj(), required=True)),
        {},
        ['Missing b block: A block of type "b" is required here.'],
    ),
    (
        obj(b=block_attrs("b", "string")),
        {"b": [{"x": 1}, {"y": 1}]},
        ['Duplicate b block: Only one block of type "b" is allowed.'],
    ),
    (
        obj(b=block_attrs("b", "string")),
        {"b": {"x": []}},
        [
            'Invalid attribute value: Invalid value for attribute of "b" block: string required, but have tuple.'
        ],
    ),
    (
        obj(b=block_attrs("b", "string")),
        {"b": ["q"]},
        [
            "Incorrect JSON value type: A JSON object is required here, setting the arguments for this block."
        ],
    ),
    (
        obj(b=block_attrs("b", "number", required=True)),
        {},
        ['Missing b block: A block of type "b" is required here.'],
    ),
    (
        obj(b=block_list("b", obj(x=attr("x", "string")), least=1, most=2)),
        {},
        ['Insufficient b blocks: At least 1 "b" blocks are required.'],
    ),
    (
        obj(b=block_list("b", obj(x=attr("x", "string")), least=1, most=2)),
        {"b": [{}, {}, {}]},
        ['Too many b blocks: No more than 2 "b" blocks are allowed'],
    ),
    (
        obj(b=block_list("b", obj(x=attr("x", "any")))),
        {"b": [{"x": 1}, {"x": []}]},
        [
            "Unconsistent argument types in b blocks: Corresponding attributes in all blocks of this type must be the same."
        ],
    ),
    (
        obj(b=block_map("b", obj(x=attr("x", "string")), "label")),
        {"b": [{"z": {}}, {"z": {}}]},
        ['Duplicate b block: A block for b "z" was already defined. The b labels must be unique.'],
    ),
    (
        obj(b=block_map("b", obj(x=attr("x", "string")), "label")),
        {"b": {}},
        [
            "Missing block label: At least one object property is required, whose name represents the b block's label."
        ],
    ),
    (
        obj(b=block_map("b", obj(x=attr("x", "string")), "label")),
        {"b": {"z": 5}},
        [
            'Incorrect JSON value type: Either a JSON object or a JSON array is required, representing the contents of one or more "b" blocks.'
        ],
    ),
    (
        obj(b=block_map("b", obj(x=attr("x", "string")), "label")),
        {"b": 5},
        [
            "Incorrect JSON value type: Either a JSON object or JSON array of objects is required here, to specify label labels for this block.",
            "Missing block label: At least one object property is required, whose name represents the b block's label.",
        ],
    ),
    (
        obj(),
        None,
        [
            "Root value must be object: The root value in a JSON-based configuration must be either a JSON object or a JSON array of objects."
        ],
    ),
    (
        obj(),
        "x",
        [
            "Root value must be object: The root value in a JSON-based configuration must be either a JSON object or a JSON array of objects."
        ],
    ),
    (
        obj(),
        5,
        [
            "Root value must be object: The root value in a JSON-based configuration must be either a JSON object or a JSON array of objects."
        ],
    ),
    (obj(), {"a": {}}, ['Invalid label: No argument or block type is named "a".']),
]


def text(value: object) -> str:
    """A short name for a case."""
    return "" if isinstance(value, Spec) else repr(value)[:40]


@pytest.mark.parametrize(("type_", "value", "expected"), CONVERTED, ids=text)
def test_a_value_is_converted_as_an_agent_does_it(type_: str, value: object, expected: str) -> None:
    encoded = hcl.encode(obj(a=attr("a", type_)), {"a": value})
    assert encoded.hex() == "81a161" + expected


@pytest.mark.parametrize(("type_", "value", "reason"), REFUSED_VALUES, ids=text)
def test_a_value_is_refused_in_the_agent_s_words(type_: str, value: object, reason: str) -> None:
    with pytest.raises(hcl.ConfigError) as caught:
        hcl.encode(obj(a=attr("a", type_)), {"a": value})
    (problem,) = caught.value.problems
    assert problem.path == "config.a"
    assert problem.text == (
        f'Incorrect attribute value type: Inappropriate value for attribute "a": {reason}.'
    )


@pytest.mark.parametrize(("spec", "value", "expected"), ENCODED, ids=text)
def test_a_body_is_encoded_as_an_agent_does_it(spec: Spec, value: object, expected: str) -> None:
    assert hcl.encode(spec, value).hex() == expected


@pytest.mark.parametrize(("spec", "value", "reasons"), REFUSED, ids=text)
def test_a_body_is_refused_in_the_agent_s_words(
    spec: Spec, value: object, reasons: list[str]
) -> None:
    with pytest.raises(hcl.ConfigError) as caught:
        hcl.encode(spec, value)
    assert sorted(problem.text for problem in caught.value.problems) == sorted(reasons)
