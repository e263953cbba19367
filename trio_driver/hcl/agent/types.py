"""Types and values as the agent's configuration language has them.

A value knows its type. Numbers are decimals of any size. Text is in Unicode's normal form C, as
everywhere in that language. Must not know: schemas, conversions.

Source: go-cty's cty and cty/msgpack packages.
"""

from __future__ import annotations

import enum
import math
import unicodedata
from decimal import Decimal
from typing import TypeAlias, cast

import msgspec

INT64 = range(-(2**63), 2**63)
"""Whole numbers that are integers on the wire; others are text."""

INT64_OR_UINT64 = range(-(2**63), 2**64)
FLOAT64_END = 2**1023
ALL_DIGITS_BELOW = 1e21
"""Where Go's JSON encoder begins to write whole floats with an exponent."""


class Primitive(enum.Enum):
    """A type without parts; ANY is every type, and that of a bare null."""

    STRING = "string"
    NUMBER = "number"
    BOOL = "bool"
    ANY = "any"


class Collects(enum.Enum):
    """The kinds of collection whose elements have one type."""

    LIST = "list"
    SET = "set"
    MAP = "map"


class Collection(msgspec.Struct, frozen=True):
    """`list(T)`, `set(T)` or `map(T)`."""

    kind: Collects
    element: Type


class ObjectType(msgspec.Struct, frozen=True):
    """A type for each of some names, sorted."""

    attributes: tuple[tuple[str, Type], ...]


class TupleType(msgspec.Struct, frozen=True):
    """A type for each of some positions."""

    elements: tuple[Type, ...]


Type: TypeAlias = Primitive | Collection | ObjectType | TupleType
Content: TypeAlias = "str | bool | Decimal | tuple[Value, ...] | dict[str, Value] | None"


class Value(msgspec.Struct, frozen=True):
    """A value; content None is null, which has a type as well."""

    type: Type
    content: Content

    @property
    def is_null(self) -> bool:
        """Whether this is a null of any type."""
        return self.content is None


def text(content: str) -> Value:
    """A string."""
    return Value(Primitive.STRING, unicodedata.normalize("NFC", content))


def number(content: int | float | Decimal) -> Value:
    """A number; whole numbers of more than 64 bits are floats on their way through an agent.

    Raises:
        ValueError: it is infinite or not a number.
    """
    if isinstance(content, int) and content not in INT64_OR_UINT64:
        content = float(content) if abs(content) < FLOAT64_END else math.inf
    if isinstance(content, float):
        content = _decimal(content)
    return Value(Primitive.NUMBER, Decimal(content))


def _decimal(content: float) -> Decimal:
    """A float as the agent's JSON has it: all its digits, or the shortest that give it."""
    if not math.isfinite(content):
        raise ValueError("only finite numbers can be written in HCL")
    if content.is_integer() and abs(content) < ALL_DIGITS_BELOW:
        return Decimal(int(content))
    return Decimal(repr(content))


def boolean(content: bool) -> Value:
    """A truth value."""
    return Value(Primitive.BOOL, content)


def null(type_: Type = Primitive.ANY) -> Value:
    """No value."""
    return Value(type_, None)


def tuple_of(elements: list[Value]) -> Value:
    """A tuple."""
    return Value(TupleType(tuple(value.type for value in elements)), tuple(elements))


def object_of(attributes: dict[str, Value]) -> Value:
    """An object."""
    normal = {unicodedata.normalize("NFC", name): value for name, value in attributes.items()}
    types = tuple((name, normal[name].type) for name in sorted(normal))
    return Value(ObjectType(types), normal)


def elements_of(value: Value) -> tuple[Value, ...]:
    """The elements of a value that is a list, set or tuple."""
    return cast("tuple[Value, ...]", value.content)


def attributes_of(value: Value) -> dict[str, Value]:
    """The attributes of a value that is a map or object."""
    return cast("dict[str, Value]", value.content)


def has_any(type_: Type) -> bool:
    """Whether a type leaves something open."""
    match type_:
        case Primitive():
            return type_ is Primitive.ANY
        case Collection():
            return has_any(type_.element)
        case ObjectType():
            return any(has_any(attribute) for _, attribute in type_.attributes)
        case TupleType():
            return any(has_any(element) for element in type_.elements)


def decimal_text(content: Decimal) -> str:
    """A number without exponent and without zeros at its end."""
    digits = format(content, "f")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def to_wire(value: Value) -> object:
    """What msgpack encodes: keys sorted, numbers in the smallest form that is exact."""
    match value.content:
        case Decimal() as content:
            return _number_to_wire(content)
        case tuple() as elements:
            return [to_wire(element) for element in elements]
        case dict() as attributes:
            return {name: to_wire(attributes[name]) for name in sorted(attributes)}
        case content:
            return content


def _number_to_wire(content: Decimal) -> int | float | str:
    if content == content.to_integral_value():
        whole = int(content)
        return whole if whole in INT64 else decimal_text(content)
    nearest = float(content)
    exact = math.isfinite(nearest) and Decimal(nearest) == content
    return nearest if exact else decimal_text(content)
