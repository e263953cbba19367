"""Schemas that an agent would refuse, or panic on, are refused; an agent never gets to see them."""

from __future__ import annotations

import pytest

from tests.hcl.agent.specs import array, attr, block, block_map, default, literal, obj
from trio_driver import hcl
from trio_driver._proto.hclspec_pb2 import Block, Default, Spec

PANIC = "an agent panics"
REFUSAL = "an agent refuses"


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (Spec(), REFUSAL),
        (obj(a=Spec()), REFUSAL),
        (array(attr("", "string")), REFUSAL),
        (obj(a=default(attr("", "string"), '"x"')), REFUSAL),
        (obj(b=Spec(block_value=Block(name="b"))), REFUSAL),
        (obj(b=block_map("b", obj())), REFUSAL),
        (obj(a=Spec(default=Default(primary=attr("a", "string")))), PANIC),
        (obj(a=Spec(default=Default(default=literal("1")))), PANIC),
        (obj(b=block_map("b", obj(x=attr("x", "any")), "l")), PANIC),
        (obj(b=block_map("b", obj(c=block("c", obj(x=attr("x", "list(any)")))), "l")), PANIC),
        (obj(a=attr("a", "")), "not an HCL expression"),
        (obj(a=attr("a", "strin")), "not a type expression"),
        (obj(a=attr("a", "list()")), "not a type expression"),
        (obj(a=attr("a", "list(string")), "not an HCL expression"),
        (obj(a=literal("[1,")), "not an HCL expression"),
        (obj(a=literal("x")), "only constants"),
        (obj(a=literal("max(1, 2)")), "only constants"),
        (obj(a=literal('"${x}"')), "only constants"),
    ],
)
def test_a_schema_that_no_agent_could_use_is_refused(spec: Spec, why: str) -> None:
    with pytest.raises(TypeError, match=why):
        hcl.encode(spec, {})


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        # Values of different types below one map.
        (obj(b=block_map("b", obj(x=default(attr("x", "list(string)"), "[]")), "l")),
         {"b": {"p": {}, "q": {"x": ["a"]}}}),
        (obj(b=Spec(block_attrs={"name": "b", "type": "any"})), {"b": {"x": 1, "y": "z"}}),
    ],
)  # fmt: skip
def test_a_value_on_which_an_agent_would_panic_is_refused(spec: Spec, value: object) -> None:
    with pytest.raises(hcl.ConfigError, match=PANIC):
        hcl.encode(spec, value)


def test_a_value_that_hcl_cannot_hold_is_refused() -> None:
    for value in (float("nan"), float("inf"), 10**400, b"bytes", object()):
        with pytest.raises(hcl.ConfigError, match=r"config\.a: .*written in HCL"):
            hcl.encode(obj(a=attr("a", "any")), {"a": value})


def test_the_path_leads_to_the_block_that_is_wrong() -> None:
    spec = obj(v=block_map("v", obj(p=attr("p", "number"), b=block("b", obj())), "name"))
    value = {"v": [{"data": [{"p": "x"}, {}]}, {"da ta": {"b": [{}, {"q": 1}]}}]}
    with pytest.raises(hcl.ConfigError) as caught:
        hcl.encode(spec, value, path='job "j"')
    assert sorted(problem.path for problem in caught.value.problems) == [
        'job "j"',
        'job "j".v.data[0].p',
        'job "j".v["da ta"]',
    ]
