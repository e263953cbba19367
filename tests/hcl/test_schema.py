"""A class as the agent's schema."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import msgspec
import pytest

from tests.hcl.agent.specs import attr, block, block_list, block_map, default, obj
from tests.test_golden_vectors import task_schema
from trio_driver import hcl
from trio_driver._proto.hclspec_pb2 import Spec


class Inner(msgspec.Struct, frozen=True):
    x: str


INNER = obj(x=attr("x", "string", required=True))


def test_the_golden_schema_is_that_of_its_class() -> None:
    class Config(msgspec.Struct, kw_only=True):
        command: str
        args: list[str] = []
        tty: bool = False

    golden = task_schema().spec
    assert hcl.spec_of(Config) == golden


@pytest.mark.parametrize(
    ("annotation", "required"),
    [
        (str, attr("f", "string", required=True)),
        (bool, attr("f", "bool", required=True)),
        (int, attr("f", "number", required=True)),
        (float, attr("f", "number", required=True)),
        (hcl.Duration, attr("f", "string", required=True)),
        (Literal["a", "b"], attr("f", "string", required=True)),
        (list[int], attr("f", "list(number)", required=True)),
        (list[list[bool]], attr("f", "list(list(bool))", required=True)),
        (list[dict[str, str]], attr("f", "list(map(string))", required=True)),
        (dict[str, int], attr("f", "list(map(number))", required=True)),
        (dict[str, list[str]], attr("f", "list(map(list(string)))", required=True)),
        (Inner, block("f", INNER, required=True)),
        (list[Inner], block_list("f", INNER, least=1)),
        (
            Annotated[list[Inner], msgspec.Meta(min_length=2, max_length=3)],
            block_list("f", INNER, least=2, most=3),
        ),
        (dict[str, Inner], block_map("f", INNER, "name")),
    ],
)
def test_a_field_without_default_is_required(annotation: Any, required: Spec) -> None:
    cls = msgspec.defstruct("Config", [("f", annotation)])
    assert hcl.spec_of(cls) == obj(f=required)


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (str, "x", default(attr("f", "string"), '"x"')),
        (str, 'a"${b}\b', default(attr("f", "string"), r'"a\"$${b}\u0008"')),
        (bool, False, default(attr("f", "bool"), "false")),
        (int, -5, default(attr("f", "number"), "-5")),
        (float, 0.5, default(attr("f", "number"), "0.5")),
        (float, math.inf, attr("f", "number")),
        (hcl.Duration, 90, default(attr("f", "string"), '"90s"')),
        (hcl.Duration, 0.25, default(attr("f", "string"), '"0.25s"')),
        (str | None, None, attr("f", "string")),
        (str | None, "x", default(attr("f", "string"), '"x"')),
        (Inner | None, None, block("f", INNER)),
        (Inner, Inner("x"), block("f", INNER)),
        # A list literal is a tuple for an agent: below labelled blocks the two would be a panic.
        (list[str], msgspec.field(default_factory=lambda: ["x"]), attr("f", "list(string)")),
        (list[Inner], msgspec.field(default_factory=list[Inner]), block_list("f", INNER)),
    ],
)
def test_a_default_is_in_the_schema_where_it_is_a_single_value(
    annotation: Any, value: Any, expected: Spec
) -> None:
    cls = msgspec.defstruct("Config", [("f", annotation, value)])
    assert hcl.spec_of(cls) == obj(f=expected)


def test_an_option_has_the_name_that_the_class_gives_it() -> None:
    class Config(msgspec.Struct, rename="kebab"):
        grace_s: hcl.Duration = msgspec.field(name="grace", default=5)
        no_pivot_root: bool = True

    assert hcl.spec_of(Config) == obj(
        **{
            "grace": default(attr("grace", "string"), '"5s"'),
            "no-pivot-root": default(attr("no-pivot-root", "bool"), "true"),
        }
    )
    assert hcl.decode(Config, hcl.encode(hcl.spec_of(Config), {"grace": "1m"})).grace_s == 60


def test_a_class_without_options_is_an_empty_object() -> None:
    class Nothing(msgspec.Struct):
        pass

    assert hcl.spec_of(Nothing).WhichOneof("block") == "object"
    assert hcl.encode(hcl.spec_of(Nothing), {}) == b"\x80"


SAID_BETTER = {"array", "block_attrs", "block_set"}
"""Parts of a schema that no annotation makes; `kinds` says what to use instead."""


class Everything(msgspec.Struct):
    leaf: str
    block: Inner
    blocks: list[Inner]
    labelled: dict[str, Inner]


def test_every_part_of_a_schema_is_made_by_a_class_or_is_said_better() -> None:
    made: set[str] = {"default", "literal"}  # of a value that has a default

    def visit(spec: Spec) -> None:
        made.add(str(spec.WhichOneof("block")))
        for nested in spec.object.attributes.values():
            visit(nested)

    visit(hcl.spec_of(Everything))
    parts = {field.name for field in Spec.DESCRIPTOR.oneofs_by_name["block"].fields}
    assert parts == made | SAID_BETTER
