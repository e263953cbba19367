"""The agent's half: a schema and parsed HCL → the msgpack that a plugin receives.

Source: Nomad's hclutils.ParseHclInterface; HCL's hcldec; found equal to Nomad's own code on the
schemas of its drivers.
"""

from __future__ import annotations

from typing import cast

import msgspec

from trio_driver._proto import hclspec_pb2
from trio_driver.hcl.agent import types
from trio_driver.hcl.agent.body import Body, FoundBlock, read_body
from trio_driver.hcl.agent.compatible import unify
from trio_driver.hcl.agent.convert import ConversionError, convert, set_of
from trio_driver.hcl.agent.schema import (
    AttrNode,
    BlockAttrsNode,
    BlockListNode,
    BlockMapNode,
    BlockNode,
    DefaultNode,
    LiteralNode,
    Node,
    ObjectNode,
    TupleNode,
    implied_type,
    read_schema,
)
from trio_driver.hcl.agent.types import Collection, Collects, Type, Value
from trio_driver.hcl.errors import ConfigError, Problem, key_path, quoted, shown


def encode(spec: hclspec_pb2.Spec, value: object, *, path: str = "config") -> bytes:
    """Encode a configuration as an agent does before it calls the plugin.

    Args:
        spec: the plugin's schema.
        value: the block's content as maps, lists, strings, numbers, booleans and None: a job's
            `Config` in JSON. Of a job in HCL an agent makes the same: every nested block, and every
            `name = { ... }` directly in a block, is a list of maps. Strings count as they are:
            templates have been evaluated.
        path: how errors call the block.

    Raises:
        ConfigError: an agent would refuse the configuration; the text has its words.
        TypeError: an agent would refuse the schema, or panic on it.
    """
    node = read_schema(spec)
    if not isinstance(value, dict | list):
        detail = "The root value in a JSON-based configuration must be either a JSON object or a "
        detail += "JSON array of objects."
        raise ConfigError([Problem(path, f"Root value must be object: {detail}")])
    reader = _Reader()
    decoded = reader.read(node, cast("object", value), path)
    if reader.problems:
        raise ConfigError(reader.problems)
    return msgspec.msgpack.encode(types.to_wire(decoded))


class _Reader:
    """Reads bodies with nodes; `problems` grows on the way, and what is wrong reads as null."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def read(self, node: Node, raw: object, path: str) -> Value:
        """What `node` makes of the body `raw`."""
        body = read_body(node, raw, path)
        value = self._node(node, body)
        self.problems += body.problems
        return value

    def _node(self, node: Node, body: Body) -> Value:
        match node:
            case ObjectNode(attributes):
                return types.object_of({k: self._node(n, body) for k, n in attributes.items()})
            case TupleNode(elements):
                return types.tuple_of([self._node(element, body) for element in elements])
            case AttrNode():
                return self._attr(node, body)
            case BlockNode():
                found = self._single(node, body)
                if found is None:
                    return types.null(implied_type(node))
                return self.read(node.nested, found.body, found.path)
            case BlockAttrsNode():
                return self._block_attrs(node, body)
            case BlockListNode():
                return self._block_list(node, body)
            case BlockMapNode():
                return self._block_map(node, body)
            case DefaultNode(primary, default):
                value = self._node(primary, body)
                return self._node(default, body) if value.is_null else value
            case LiteralNode(value):
                return value

    def _attr(self, node: AttrNode, body: Body) -> Value:
        if node.name not in body.attributes:
            return types.null(node.type)
        path = key_path(body.path, node.name)
        summary = "Incorrect attribute value type"
        detail = f"Inappropriate value for attribute {quoted(node.name)}"
        return self._converted(body.attributes[node.name], node.type, path, f"{summary}: {detail}")

    def _converted(self, raw: object, want: Type, path: str, complaint: str) -> Value:
        try:
            return convert(self._value(raw), want)
        except ConversionError as error:
            self.problems.append(Problem(path, f"{complaint}: {error}."))
        except ValueError as error:
            self.problems.append(Problem(path, str(error)))
        return types.null(want)

    def _value(self, raw: object) -> Value:
        match raw:
            case None:
                return types.null()
            case bool():
                return types.boolean(raw)
            case int() | float():
                return types.number(raw)
            case str():
                return types.text(raw)
            case list():
                return types.tuple_of([self._value(e) for e in cast("list[object]", raw)])
            case dict():
                pairs = cast("dict[str, object]", raw).items()
                return types.object_of({key: self._value(part) for key, part in pairs})
            case _:
                raise ValueError(f"{shown(raw)} cannot be written in HCL")

    def _single(self, node: BlockNode | BlockAttrsNode, body: Body) -> FoundBlock | None:
        """The one block of a kind."""
        name, blocks = node.name, body.blocks_named(node.name)
        if len(blocks) > 1:
            detail = f"Only one block of type {quoted(name)} is allowed."
            body.add_problem(f"Duplicate {name} block", detail)
        if not blocks and node.required:
            detail = f"A block of type {quoted(name)} is required here."
            body.add_problem(f"Missing {name} block", detail)
        return blocks[0] if blocks else None

    def _block_attrs(self, node: BlockAttrsNode, body: Body) -> Value:
        found = self._single(node, body)
        if found is None:
            return types.null(implied_type(node))
        raw = found.body
        if not isinstance(raw, dict):
            detail = "A JSON object is required here, setting the arguments for this block."
            body.add_problem("Incorrect JSON value type", detail)
            return types.null(implied_type(node))
        summary = "Invalid attribute value"
        complaint = f"{summary}: Invalid value for attribute of {quoted(node.name)} block"
        values = {
            name: self._converted(part, node.element, key_path(found.path, name), complaint)
            for name, part in cast("dict[str, object]", raw).items()
            if name != "//"
        }
        return self._map(values, node.element, body, node.name)

    def _map(self, values: dict[str, Value], element: Type, body: Body, name: str) -> Value:
        """A map; the agent does not check that its elements have one type, and panics if not."""
        if len({value.type for value in values.values()}) > 1:
            detail = "the values have different types; an agent panics here"
            body.add_problem(f"Inconsistent {name} blocks", detail)
        return Value(Collection(Collects.MAP, element), values)

    def _block_list(self, node: BlockListNode, body: Body) -> Value:
        name, blocks = node.name, body.blocks_named(node.name)
        if len(blocks) < node.min_items:
            detail = f"At least {node.min_items} {quoted(name)} blocks are required."
            body.add_problem(f"Insufficient {name} blocks", detail)
        elif 0 < node.max_items < len(blocks):
            detail = f"No more than {node.max_items} {quoted(name)} blocks are allowed"
            body.add_problem(f"Too many {name} blocks", detail)
        values = [self.read(node.nested, found.body, found.path) for found in blocks]
        element = unify([value.type for value in values]) if values else implied_type(node.nested)
        if element is None:
            detail = "Corresponding attributes in all blocks of this type must be the same."
            body.add_problem(f"Unconsistent argument types in {name} blocks", detail)
            return types.null(implied_type(node))
        values = [convert(value, element) for value in values]
        if node.collects is Collects.SET:
            return set_of(element, values)
        return Value(Collection(Collects.LIST, element), tuple(values))

    def _block_map(self, node: BlockMapNode, body: Body) -> Value:
        element = implied_type(node.nested)
        values: dict[tuple[str, ...], Value] = {}
        for found in body.blocks_named(node.name):
            value = self.read(node.nested, found.body, found.path)
            if found.labels in values:
                labels = "".join(f" {quoted(label)}" for label in found.labels)
                detail = f"A block for {node.name}{labels} was already defined. "
                detail += f"The {node.name} labels must be unique."
                body.add_problem(f"Duplicate {node.name} block", detail)
            values[found.labels] = value
        for depth in range(len(node.labels) - 1, -1, -1):
            groups: dict[tuple[str, ...], dict[str, Value]] = {(): {}} if depth == 0 else {}
            for labels, value in values.items():
                groups.setdefault(labels[:depth], {})[labels[depth]] = value
            values = {k: self._map(group, element, body, node.name) for k, group in groups.items()}
            element = Collection(Collects.MAP, element)
        return values[()]
