"""What a configuration can hold: options, and of each the kind, default, limits and documentation.

One tree of frozen values says all there is to know of a configuration class; schema, decoding and
reference are derived from it. `declare` makes it. Must not know: msgspec's classes, the wire.

| annotation | kind | in HCL |
|---|---|---|
| `str`, `bool`, `int`, `float`, `Duration`, `Literal["a", "b"]` | `Leaf` | `x = ...` |
| `list[T]` of those, of lists, of `dict[str, T]` | `ListOf` | `x = [...]` |
| `dict[str, T]` of those or of lists | `MapOf` | `x { key = ... }` |
| a `Struct` | `Block` | `x { ... }`, once |
| `list[Struct]` | `BlockList` | `x { ... }`, any number |
| `dict[str, Struct]` | `BlockMap` | `x "label" { ... }`, any number |

What else a schema of Nomad's can say has no annotation, because one of these says it better:
`block_attrs` is `dict[str, T]` (which both ways of writing a map reach), `block_set` is
`list[Struct]` (which keeps the order, and drops nothing), `array` is a `Struct` (whose values have
names), a bare `literal` is a constant of the class. `any` has none: in labelled blocks it makes an
agent panic. The agent's half (`agent`) knows them all, for drivers of others.

Each may be `X | None`, where None is "not set". A field without default is required: of blocks at
least one. Limits are those of `msgspec.Meta` (`ge=1`, `pattern=...`).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from trio_driver.hcl.errors import quoted
from trio_driver.hcl.limits import Limits

NO_LIMITS = Limits()


class Scalar(enum.Enum):
    """What a single value can be; the value is the words for it."""

    STRING = "a string"
    BOOL = "true or false"
    INTEGER = "a whole number"
    FLOAT = "a number"
    DURATION = 'a duration such as "90s" or "1h30m"'


class Leaf(msgspec.Struct, frozen=True, kw_only=True):
    """A single value; `choices`, where there are any, are all that is accepted."""

    scalar: Scalar
    limits: Limits = NO_LIMITS
    choices: tuple[str, ...] = ()


class ListOf(msgspec.Struct, frozen=True, kw_only=True):
    """`x = [...]`."""

    element: Leaf | ListOf | MapOf
    limits: Limits = NO_LIMITS


class MapOf(msgspec.Struct, frozen=True, kw_only=True):
    """Free keys.

    As an option of its own it is a list of maps for the agent, since a job file makes one of both
    `x { ... }` and `x = { ... }`; a later map wins over an earlier one. Inside a list it is a map.
    """

    element: Leaf | ListOf
    limits: Limits = NO_LIMITS


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """`x { ... }`: an instance of `type`, a `msgspec.Struct`."""

    type: type[Any]
    options: tuple[Option, ...]


class BlockList(msgspec.Struct, frozen=True, kw_only=True):
    """`x { ... }`, repeated."""

    block: Block
    limits: Limits = NO_LIMITS


class BlockMap(msgspec.Struct, frozen=True, kw_only=True):
    """`x "label" { ... }`, repeated; labels differ."""

    block: Block
    limits: Limits = NO_LIMITS


Kind: TypeAlias = Leaf | ListOf | MapOf | Block | BlockList | BlockMap


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One option of a block: `name` is HCL's, `field` the class's."""

    name: str
    field: str
    kind: Kind
    nullable: bool
    make_default: Callable[[], object] | None
    """Gives a fresh default; None: the option is required."""
    doc: str

    @property
    def required(self) -> bool:
        """Whether a configuration without this option is refused."""
        return self.make_default is None


def accepted_words(kind: Kind) -> str:
    """What is accepted, as it ends a sentence: `a whole number, at least 1`."""
    match kind:
        case Leaf(choices=()):
            words, limits = kind.scalar.value, kind.limits
        case Leaf():
            return f"one of {', '.join(quoted(choice) for choice in kind.choices)}"
        case ListOf():
            words, limits = f"a list, each element {accepted_words(kind.element)}", kind.limits
        case MapOf():
            words, limits = f"a map, each value {accepted_words(kind.element)}", kind.limits
        case Block():
            return "one block"
        case BlockList():
            words, limits = "a list of blocks", kind.limits
        case BlockMap():
            words, limits = "blocks with different labels", kind.limits
    if not limits.words():
        return words
    seconds = isinstance(kind, Leaf) and kind.scalar is Scalar.DURATION
    return f"{words}, {limits.words()}{' (seconds)' if seconds else ''}"
