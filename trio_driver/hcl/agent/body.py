"""The content of a block, as the agent finds it in parsed HCL or JSON.

A body is a map, or a list of maps that count as one. Keys that the schema has as attributes are
taken as they are; those that it has as blocks are unpacked into one block for each map in a list,
one level of keys for each label. All other keys are problems.

Source: HCL's json package, which is how an agent reads even native HCL jobs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import msgspec

from trio_driver.hcl.agent.schema import AttrNode, BlockMapNode, Node, body_nodes
from trio_driver.hcl.errors import Problem, index_path, key_path, quoted, suggestion

COMMENT = "//"
"""A key that every body may have, for people."""


class FoundBlock(msgspec.Struct, frozen=True):
    """One block in a body, with its labels and what stands for its own body."""

    name: str
    labels: tuple[str, ...]
    body: object
    path: str


class Body(msgspec.Struct):
    """What a body holds of the things that a schema asks for."""

    path: str
    attributes: dict[str, object] = {}
    blocks: list[FoundBlock] = []
    problems: list[Problem] = []

    def blocks_named(self, name: str) -> list[FoundBlock]:
        """The blocks of one kind, in order."""
        return [block for block in self.blocks if block.name == name]

    def add_problem(self, summary: str, detail: str) -> None:
        """Note what is wrong with this body, in the agent's words."""
        self.problems.append(Problem(self.path, f"{summary}: {detail}"))


def read_body(node: Node, raw: object, path: str) -> Body:
    """Sort what is in `raw` by what `node` asks for; problems are noted, none raised."""
    attributes: dict[str, bool] = {}
    blocks: dict[str, tuple[str, ...]] = {}
    for child in body_nodes(node):
        if isinstance(child, AttrNode):
            attributes[child.name] = attributes.get(child.name, False) or child.required
        else:
            blocks[child.name] = child.labels if isinstance(child, BlockMapNode) else ()
    body = Body(path)
    pairs = list(_pairs(body, raw, None))
    for name, value in pairs:
        if name in attributes and name in body.attributes:
            body.add_problem("Duplicate argument", f"The argument {quoted(name)} was already set.")
        elif name in attributes:
            body.attributes[name] = value
        elif name in blocks:
            _unpack(body, FoundBlock(name, (), value, key_path(path, name)), blocks[name])
    for name, required in attributes.items():
        if required and name not in body.attributes:
            text = f"The argument {quoted(name)} is required, but no definition was found."
            body.add_problem("Missing required argument", text)
    for name, _ in pairs:
        if name not in attributes and name not in blocks and name != COMMENT:
            unused = [known for known in attributes if known not in body.attributes]
            near = suggestion(name, [*unused, *blocks])
            hint = f" Did you mean {quoted(near)}?" if near else ""
            text = f"No argument or block type is named {quoted(name)}.{hint}"
            body.add_problem("Invalid label", text)
    return body


def _pairs(body: Body, raw: object, label: str | None) -> Iterator[tuple[str, object]]:
    """Keys and values of a map, or of all maps in a list; `label` is what the keys stand for."""
    if label is None:
        purpose = "to define arguments and child blocks"
    else:
        purpose = f"to specify {label} labels for this block"
    match raw:
        case None:
            return
        case dict():
            yield from cast("dict[str, object]", raw).items()
        case list():
            for element in cast("list[object]", raw):
                if isinstance(element, dict):
                    yield from cast("dict[str, object]", element).items()
                else:
                    detail = f"A JSON object is required here, {purpose}."
                    body.add_problem("Incorrect JSON value type", detail)
        case _:
            detail = f"Either a JSON object or JSON array of objects is required here, {purpose}."
            body.add_problem("Incorrect JSON value type", detail)


def _unpack(body: Body, found: FoundBlock, labels_left: tuple[str, ...]) -> None:
    """Add the blocks in `found.body`, below as many levels of keys as labels are left."""
    if labels_left:
        pairs = list(_pairs(body, found.body, labels_left[0]))
        if not pairs:
            detail = "At least one object property is required, whose name represents the "
            detail += f"{found.name} block's {labels_left[0]}."
            body.add_problem("Missing block label", detail)
        for label, value in pairs:
            labels, path = (*found.labels, label), key_path(found.path, label)
            _unpack(body, FoundBlock(found.name, labels, value, path), labels_left[1:])
        return
    raw = found.body
    match raw:
        case None:
            return
        case dict():
            body.blocks.append(found)
        case list():
            for index, element in enumerate(cast("list[object]", raw)):
                path = index_path(found.path, index)
                body.blocks.append(FoundBlock(found.name, found.labels, element, path))
        case _:
            detail = "Either a JSON object or a JSON array is required, representing the contents "
            detail += f"of one or more {quoted(found.name)} blocks."
            body.add_problem("Incorrect JSON value type", detail)
