"""The constants and type expressions of schemas."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.hcl.strategies import floats, integers, texts
from trio_driver.hcl.agent.expression import evaluate_literal, evaluate_type
from trio_driver.hcl.agent.types import (
    Collection,
    Collects,
    ObjectType,
    Primitive,
    TupleType,
    Type,
    to_wire,
)
from trio_driver.hcl.expression import expression
from trio_driver.hcl.kinds import Leaf, Scalar


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ('"private"', "private"),
        (r'"a\n\t\"\\\u00e9\U0001F600"', 'a\n\t"\\é😀'),
        ('"$${x} 100%%{"', "${x} 100%{"),
        ("5", 5),
        ("-0.5", -0.5),
        ("1e-7", "0.0000001"),
        ("true", True),
        ("null", None),
        ("[]", []),
        ('["a", 1, [true],]', ["a", 1, [True]]),
        ("{}", {}),
        ("{ enabled = true, label = \"\" }", {"enabled": True, "label": ""}),
        ('{"k": 1, "l m": [2]}', {"k": 1, "l m": [2]}),
        ("{\n  a = 1\n  b-c = 2\n}", {"a": 1, "b-c": 2}),
    ],
)  # fmt: skip
def test_a_constant_is_read(source: str, value: object) -> None:
    assert to_wire(evaluate_literal(source)) == value


@pytest.mark.parametrize(
    ("source", "type_"),
    [
        ("string", Primitive.STRING),
        ("any", Primitive.ANY),
        (
            "list(map(number))",
            Collection(Collects.LIST, Collection(Collects.MAP, Primitive.NUMBER)),
        ),
        (
            "object({b = string, a = number})",
            ObjectType((("a", Primitive.NUMBER), ("b", Primitive.STRING))),
        ),
        ("tuple([string, bool])", TupleType((Primitive.STRING, Primitive.BOOL))),
    ],
)
def test_a_type_expression_is_read(source: str, type_: Type) -> None:
    assert evaluate_type(source) == type_


@given(texts)
def test_any_text_can_be_a_constant(text: str) -> None:
    assert to_wire(evaluate_literal(expression(Leaf(scalar=Scalar.STRING), text))) == text


@given(integers | floats)
def test_any_number_can_be_a_constant(number: float) -> None:
    read = evaluate_literal(expression(Leaf(scalar=Scalar.FLOAT), number)).content
    assert float(str(read)) == float(number)
