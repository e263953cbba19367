"""Short ways to write schemas in tests."""

from __future__ import annotations

from trio_driver._proto.hclspec_pb2 import (
    Array,
    Attr,
    Block,
    BlockAttrs,
    BlockList,
    BlockMap,
    BlockSet,
    Default,
    Literal,
    Object,
    Spec,
)


def attr(name: str, type_: str, *, required: bool = False) -> Spec:
    return Spec(Attr=Attr(name=name, type=type_, required=required))


def obj(**attributes: Spec) -> Spec:
    return Spec(object=Object(attributes=attributes))


def array(*values: Spec) -> Spec:
    return Spec(array=Array(values=values))


def block(name: str, nested: Spec, *, required: bool = False) -> Spec:
    return Spec(block_value=Block(name=name, nested=nested, required=required))


def block_attrs(name: str, type_: str, *, required: bool = False) -> Spec:
    return Spec(block_attrs=BlockAttrs(name=name, type=type_, required=required))


def block_list(name: str, nested: Spec, *, least: int = 0, most: int = 0) -> Spec:
    return Spec(block_list=BlockList(name=name, nested=nested, min_items=least, max_items=most))


def block_set(name: str, nested: Spec) -> Spec:
    return Spec(block_set=BlockSet(name=name, nested=nested))


def block_map(name: str, nested: Spec, *labels: str) -> Spec:
    return Spec(block_map=BlockMap(name=name, nested=nested, labels=labels))


def literal(value: str) -> Spec:
    return Spec(literal=Literal(value=value))


def default(primary: Spec, value: str) -> Spec:
    return Spec(default=Default(primary=primary, default=literal(value)))
