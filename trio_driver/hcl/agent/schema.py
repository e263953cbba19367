"""The agent's reading of a schema: hclspec messages → a tree of nodes that is known to be sound.

A schema that an agent would refuse, or panic on, is refused here, whether or not a configuration
uses the part in question.

Source: Nomad's hclspecutils; HCL's hcldec.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from trio_driver._proto import hclspec_pb2
from trio_driver.hcl.agent.expression import evaluate_literal, evaluate_type
from trio_driver.hcl.agent.types import (
    Collection,
    Collects,
    ObjectType,
    TupleType,
    Type,
    Value,
    has_any,
)


class ObjectNode(msgspec.Struct, frozen=True):
    """An object with these keys."""

    attributes: dict[str, Node]


class TupleNode(msgspec.Struct, frozen=True):
    """A tuple with these elements."""

    elements: tuple[Node, ...]


class AttrNode(msgspec.Struct, frozen=True):
    """`name = value`."""

    name: str
    type: Type
    required: bool


class BlockNode(msgspec.Struct, frozen=True):
    """`name { ... }`, at most once."""

    name: str
    nested: Node
    required: bool


class BlockAttrsNode(msgspec.Struct, frozen=True):
    """`name { key = value }`, at most once."""

    name: str
    element: Type
    required: bool


class BlockListNode(msgspec.Struct, frozen=True):
    """`name { ... }`, repeated; 0 for `max_items` is no limit."""

    name: str
    nested: Node
    min_items: int
    max_items: int
    collects: Collects


class BlockMapNode(msgspec.Struct, frozen=True):
    """`name "label" { ... }`, repeated."""

    name: str
    nested: Node
    labels: tuple[str, ...]


class DefaultNode(msgspec.Struct, frozen=True):
    """`primary`, or `default` where that is null."""

    primary: Node
    default: Node


class LiteralNode(msgspec.Struct, frozen=True):
    """A constant."""

    value: Value


BlockKind: TypeAlias = BlockNode | BlockAttrsNode | BlockListNode | BlockMapNode
Node: TypeAlias = ObjectNode | TupleNode | AttrNode | BlockKind | DefaultNode | LiteralNode


def read_schema(spec: hclspec_pb2.Spec, implied_name: str = "") -> Node:
    """The nodes of `spec`; `implied_name` is the key that directly holds it.

    Raises:
        TypeError: an agent would refuse the schema, or panic.
    """
    match spec.WhichOneof("block"):
        case "object":
            attributes = spec.object.attributes
            return ObjectNode({name: read_schema(attributes[name], name) for name in attributes})
        case "array":
            return TupleNode(tuple(read_schema(element) for element in spec.array.values))
        case "Attr":
            attr = spec.Attr
            name = _named(attr.name or implied_name, "Attr")
            return AttrNode(name, evaluate_type(attr.type), attr.required)
        case "default":
            return _read_default(spec.default)
        case "literal":
            return LiteralNode(evaluate_literal(spec.literal.value))
        case None:
            raise TypeError("a Spec with nothing in it: an agent refuses it")
        case _:
            return _read_block(spec, implied_name)


def _read_default(default: hclspec_pb2.Default) -> DefaultNode:
    if not default.HasField("primary") or not default.HasField("default"):
        raise TypeError("a Default without both of its halves: an agent panics on it")
    return DefaultNode(read_schema(default.primary), read_schema(default.default))


def _read_block(spec: hclspec_pb2.Spec, implied_name: str) -> BlockKind:
    match spec.WhichOneof("block"):
        case "block_value":
            block = spec.block_value
            name = _named(block.name or implied_name, "Block")
            return BlockNode(name, _nested(block, name), block.required)
        case "block_attrs":
            free = spec.block_attrs
            name = _named(free.name or implied_name, "BlockAttrs")
            return BlockAttrsNode(name, evaluate_type(free.type), free.required)
        case "block_map":
            labelled = spec.block_map
            name = _named(labelled.name or implied_name, "BlockMap")
            nested = _nested(labelled, name)
            if not labelled.labels:
                raise TypeError(f"BlockMap {name!r} without a label: an agent refuses it")
            if has_any(implied_type(nested)):
                raise TypeError(f"BlockMap {name!r} with `any` inside: an agent panics on it")
            return BlockMapNode(name, nested, tuple(labelled.labels))
        case which:
            is_list = which == "block_list"
            repeated = spec.block_list if is_list else spec.block_set
            name = _named(repeated.name or implied_name, "BlockList" if is_list else "BlockSet")
            nested = _nested(repeated, name)
            collects = Collects.LIST if is_list else Collects.SET
            return BlockListNode(name, nested, repeated.min_items, repeated.max_items, collects)


def _named(name: str, what: str) -> str:
    if not name:
        raise TypeError(
            f"{what} without a name, and not directly in an Object: an agent refuses it"
        )
    return name


NestingSpec: TypeAlias = (
    hclspec_pb2.Block | hclspec_pb2.BlockList | hclspec_pb2.BlockSet | hclspec_pb2.BlockMap
)


def _nested(block: NestingSpec, name: str) -> Node:
    if not block.HasField("nested"):
        raise TypeError(f"block {name!r} has no nested Spec: an agent refuses it")
    return read_schema(block.nested)


def implied_type(node: Node) -> Type:
    """The type of what `node` gives; open where it depends on the configuration."""
    match node:
        case ObjectNode(attributes):
            return ObjectType(
                tuple((name, implied_type(attributes[name])) for name in sorted(attributes))
            )
        case TupleNode(elements):
            return TupleType(tuple(implied_type(element) for element in elements))
        case AttrNode(type=type_):
            return type_
        case BlockNode(nested=nested) | DefaultNode(primary=nested):
            return implied_type(nested)
        case BlockAttrsNode(element=element):
            return Collection(Collects.MAP, element)
        case BlockListNode(nested=nested, collects=collects):
            return Collection(collects, implied_type(nested))
        case BlockMapNode(nested=nested, labels=labels):
            type_ = implied_type(nested)
            for _ in labels:
                type_ = Collection(Collects.MAP, type_)
            return type_
        case LiteralNode(value):
            return value.type


def body_nodes(node: Node) -> Iterator[AttrNode | BlockKind]:
    """The nodes that read the same body as `node`, itself included."""
    match node:
        case ObjectNode(attributes):
            for child in attributes.values():
                yield from body_nodes(child)
        case TupleNode(elements):
            for child in elements:
                yield from body_nodes(child)
        case DefaultNode(primary, default):
            yield from body_nodes(primary)
            yield from body_nodes(default)
        case LiteralNode():
            return
        case _:
            yield node
