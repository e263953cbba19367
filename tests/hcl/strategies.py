"""Random configuration classes, and random configurations of them as a job file would have them."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

import msgspec
from hypothesis import strategies as st

from trio_driver import hcl
from trio_driver.hcl.declare import block_of
from trio_driver.hcl.duration import format_duration
from trio_driver.hcl.kinds import Block, BlockList, BlockMap, Kind, Leaf, ListOf, MapOf, Scalar

DEPTH = 2
"""Blocks in blocks in a configuration."""


def normal(text: str) -> str:
    """`text` as an agent would have it."""
    return unicodedata.normalize("NFC", text)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(normal)
names = st.sampled_from(["alpha", "beta", "gamma", "delta", "epsilon", "zeta"])
labels = texts.filter(lambda text: text != "//")
integers = st.integers(-(2**63), 2**64 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
durations = st.integers(0, 10**9).map(lambda ms: ms / 1000)

SCALARS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, texts),
    (bool, st.booleans()),
    (int, integers),
    (float, floats),
    (hcl.Duration, durations),
    (Literal["left", "right"], st.sampled_from(["left", "right"])),
    (Annotated[int, msgspec.Meta(ge=1, le=9)], st.integers(1, 9)),
]


@st.composite
def fields(draw: st.DrawFn, name: str, depth: int) -> tuple[Any, ...]:
    """The declaration of one field."""
    scalar, values = draw(st.sampled_from(SCALARS))
    shape = draw(st.sampled_from(["scalar", "list", "lists", "maps", "map", *BLOCKS[: depth * 3]]))
    default: Any = draw(st.sampled_from(["none", "empty", "value"]))
    if shape == "scalar":
        if default == "none":
            return name, scalar
        return (name, scalar | None, None) if default == "empty" else (name, scalar, draw(values))
    inner = draw(classes(depth - 1)) if shape in BLOCKS else None
    declared: Any = {
        "list": list[scalar],
        "lists": list[list[scalar]],
        "maps": list[dict[str, scalar]],
        "map": dict[str, scalar],
        "block": inner,
        "block_list": list[Any if inner is None else inner],
        "block_map": dict[str, Any if inner is None else inner],
    }[shape]
    if default == "none":
        return name, declared
    if shape == "block":
        return name, declared | None, None
    empty = cast("type[object]", dict if shape.endswith("map") else list)
    return name, declared, msgspec.field(default_factory=empty)


BLOCKS = ["block", "block_list", "block_map"]


@st.composite
def classes(draw: st.DrawFn, depth: int = DEPTH) -> type[msgspec.Struct]:
    """A configuration class."""
    chosen = draw(st.lists(names, unique=True, max_size=4))
    declared = [draw(fields(name, depth)) for name in chosen]
    return msgspec.defstruct("Config", declared, kw_only=True)


@dataclass(frozen=True, slots=True)
class Case:
    """An instance of a class, and what a job file says to get it."""

    cls: type[msgspec.Struct]
    instance: msgspec.Struct
    written: dict[str, object]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A class with a configuration of it."""
    cls = draw(classes())
    instance, written = draw(blocks(block_of(cls)))
    return Case(cls, cast("msgspec.Struct", instance), written)


@st.composite
def blocks(draw: st.DrawFn, block: Block) -> tuple[object, dict[str, object]]:
    """An instance of a block's class, and the block as it is written."""
    values: dict[str, object] = {}
    written: dict[str, object] = {}
    for option in block.options:
        if option.make_default is not None and draw(st.booleans()):
            values[option.field] = option.make_default()
            continue
        at_least = 1 if option.required else 0
        value, text = draw(attributes(option.kind, at_least))
        values[option.field] = value
        written[option.name] = [text] if isinstance(option.kind, MapOf) else text
    return block.type(**values), written


def attributes(kind: Kind, at_least: int = 0) -> st.SearchStrategy[tuple[Any, Any]]:
    """A value of an option, and the value as it is written."""
    match kind:
        case Leaf():
            return leaves(kind)
        case ListOf():
            return st.lists(attributes(kind.element), max_size=3).map(_unzip)
        case MapOf():
            return st.dictionaries(labels, attributes(kind.element), max_size=3).map(_unzip_map)
        case Block():
            return blocks(kind)
        case BlockList():
            return st.lists(blocks(kind.block), min_size=at_least, max_size=3).map(_unzip)
        case BlockMap():
            # At least one: without blocks there is nothing to write, not even an empty map.
            found = st.dictionaries(labels, blocks(kind.block), min_size=1, max_size=2)
            return found.map(_unzip_map)


def leaves(kind: Leaf) -> st.SearchStrategy[tuple[Any, Any]]:
    """A single value, and how it is written; numbers and booleans also as text."""
    match kind.scalar:
        case Scalar.STRING:
            values = st.sampled_from(kind.choices) if kind.choices else texts
            return values.map(lambda text: (text, text))
        case Scalar.BOOL:
            return st.sampled_from([(True, True), (False, "false"), (True, "1"), (False, False)])
        case Scalar.INTEGER:
            values = st.integers(1, 9) if kind.limits.ge == 1 else integers
            return values.flatmap(
                lambda number: st.sampled_from([(number, number), (number, str(number))])
            )
        case Scalar.FLOAT:
            return floats.flatmap(
                lambda number: st.sampled_from([(number, number), (number, repr(number))])
            )
        case Scalar.DURATION:
            return durations.map(lambda seconds: (seconds, format_duration(seconds)))


def _unzip(pairs: list[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    return [value for value, _ in pairs], [text for _, text in pairs]


def _unzip_map(pairs: dict[str, tuple[Any, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    return (
        {key: value for key, (value, _) in pairs.items()},
        {key: text for key, (_, text) in pairs.items()},
    )
