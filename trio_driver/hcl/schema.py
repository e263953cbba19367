"""A configuration class as the agent's schema: `kinds` → hclspec.

Rules, each of which an agent punishes with a panic or by refusing every task:
- a default has both halves, and names inside of it are written out;
- only single values have a default in the schema, so that with and without it the type is the same
  (a list literal is a tuple for the agent: in a labelled block the two types together are a panic).
  All other defaults are applied by `decode`, to which an unset option is nil;
- the text of a literal is an HCL expression, in which `${` and `%{` would begin a template.

Source: Nomad's hclspec.proto, HCL's hcldec.
"""

from __future__ import annotations

import math
from typing import assert_never

import msgspec

from trio_driver._proto import hclspec_pb2
from trio_driver.hcl.declare import block_of
from trio_driver.hcl.expression import expression
from trio_driver.hcl.kinds import (
    Block,
    BlockList,
    BlockMap,
    Leaf,
    ListOf,
    MapOf,
    Option,
    Scalar,
)

LABEL = "name"
"""What an agent calls a missing label of labelled blocks."""

TYPES = {
    Scalar.STRING: "string",
    Scalar.BOOL: "bool",
    Scalar.INTEGER: "number",
    Scalar.FLOAT: "number",
    Scalar.DURATION: "string",
}


def spec_of(cls: type[msgspec.Struct]) -> hclspec_pb2.Spec:
    """The schema of the configuration class `cls`, for `ConfigSchema` or `TaskConfigSchema`.

    Raises:
        TypeError: the class has a field that HCL or an agent cannot serve.
    """
    return _object(block_of(cls))


def _object(block: Block) -> hclspec_pb2.Spec:
    spec = hclspec_pb2.Spec(object=hclspec_pb2.Object())
    for option in block.options:
        spec.object.attributes[option.name].CopyFrom(_option(option))
    return spec


def _option(option: Option) -> hclspec_pb2.Spec:
    name, required = option.name, option.required
    match option.kind:
        case Block() as block:
            value = hclspec_pb2.Block(name=name, required=required, nested=_object(block))
            return hclspec_pb2.Spec(block_value=value)
        case BlockList(block=block, limits=limits):
            blocks = hclspec_pb2.BlockList(
                name=name,
                min_items=max(limits.min_length or 0, 1) if required else 0,
                max_items=limits.max_length or 0,
                nested=_object(block),
            )
            return hclspec_pb2.Spec(block_list=blocks)
        case BlockMap(block=block):
            labelled = hclspec_pb2.BlockMap(name=name, labels=[LABEL], nested=_object(block))
            return hclspec_pb2.Spec(block_map=labelled)
        case Leaf() | ListOf() | MapOf() as kind:
            type_text = f"list({type_of(kind)})" if isinstance(kind, MapOf) else type_of(kind)
            attr = hclspec_pb2.Attr(name=name, type=type_text, required=required)
            return _with_default(hclspec_pb2.Spec(Attr=attr), option)
        case _:
            assert_never(option.kind)


def type_of(kind: Leaf | ListOf | MapOf) -> str:
    """The type expression of an attribute's value."""
    match kind:
        case Leaf():
            return TYPES[kind.scalar]
        case ListOf():
            return f"list({type_of(kind.element)})"
        case MapOf():
            return f"map({type_of(kind.element)})"


def _with_default(primary: hclspec_pb2.Spec, option: Option) -> hclspec_pb2.Spec:
    value = option.make_default() if option.make_default else None
    infinite = isinstance(value, float) and not math.isfinite(value)
    if value is None or infinite or not isinstance(option.kind, Leaf):
        return primary
    literal = hclspec_pb2.Literal(value=expression(option.kind, value))
    default = hclspec_pb2.Spec(literal=literal)
    return hclspec_pb2.Spec(default=hclspec_pb2.Default(primary=primary, default=default))
