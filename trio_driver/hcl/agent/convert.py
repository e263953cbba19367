"""Conversion of values between types, where `compatible` says that there is one.

Whether there is a conversion depends on the types alone; whether it succeeds, on the value: any
string might be a number.

Source: go-cty's cty/convert package.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

from trio_driver.hcl.agent import types
from trio_driver.hcl.agent.compatible import convertible, mismatch, unify
from trio_driver.hcl.agent.types import (
    Collection,
    Collects,
    ObjectType,
    Primitive,
    TupleType,
    Type,
    Value,
)

NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,4})?", flags=re.ASCII)
"""Strings that are numbers. Exponents have at most four digits here: float64 ends at 308."""

BOOLS = {"true": True, "1": True, "false": False, "0": False}


class ConversionError(ValueError):
    """A value has no form of the wanted type; the text is the agent's."""


def convert(value: Value, want: Type) -> Value:
    """`value` as one of type `want`.

    Raises:
        ConversionError: there is no conversion between the types, or not for this value.
    """
    if value.type == want:
        return value
    if not convertible(value.type, want):
        raise ConversionError(mismatch(value.type, want))
    return _convert(value, want)


def _convert(value: Value, want: Type) -> Value:
    """`convert` for types between which there is a conversion."""
    if want is Primitive.ANY or value.type == want:
        return value
    if value.is_null:
        return types.null(want)
    match want:
        case Primitive():
            return _convert_primitive(value, want)
        case ObjectType():
            have = types.attributes_of(value)
            return types.object_of({name: _convert(have[name], t) for name, t in want.attributes})
        case TupleType():
            pairs = zip(types.elements_of(value), want.elements, strict=True)
            return types.tuple_of([_convert(element, t) for element, t in pairs])
        case Collection():
            return _convert_collection(value, want)


def _convert_primitive(value: Value, want: Primitive) -> Value:
    match want, value.content:
        case Primitive.STRING, bool() as content:
            return types.text("true" if content else "false")
        case Primitive.STRING, Decimal() as content:
            return types.text(types.decimal_text(content))
        case Primitive.NUMBER, str() as content:
            if not NUMBER.fullmatch(content):
                raise ConversionError("a number is required")
            return types.number(Decimal(content))
        case Primitive.BOOL, str() as content:
            if content in BOOLS:
                return types.boolean(BOOLS[content])
            lower = content.lower()
            hint = f'; to convert from string, use lowercase "{lower}"'
            raise ConversionError(f"a bool is required{hint if lower in ('true', 'false') else ''}")
        case _:
            raise ConversionError(mismatch(value.type, want))


def _convert_collection(value: Value, want: Collection) -> Value:
    named = value.content if isinstance(value.content, dict) else None
    parts = list(named.values()) if named is not None else list(types.elements_of(value))
    element = want.element
    if element is Primitive.ANY:
        element = unify([part.type for part in parts]) or element
    parts = [_convert(part, element) for part in parts]
    if parts and types.has_any(element):
        # The element type left something open, which the elements may have filled differently.
        unified = unify([part.type for part in parts])
        if unified is None:
            raise ConversionError("cannot find a common base type for all elements")
        element, parts = unified, [convert(part, unified) for part in parts]
    if named is not None:
        return Value(Collection(Collects.MAP, element), dict(zip(named, parts, strict=True)))
    if want.kind is Collects.SET:
        return set_of(element, parts)
    return Value(Collection(want.kind, element), tuple(parts))


def set_of(element: Type, values: Sequence[Value]) -> Value:
    """A set of values of one type: without doubles, in order where the type has one.

    An agent promises no order for sets of anything but primitives.
    """
    unique: list[Value] = []
    for value in values:
        if value not in unique:
            unique.append(value)
    if isinstance(element, Primitive):
        unique.sort(key=lambda v: (v.is_null, v.content if not v.is_null else 0))  # pyright: ignore[reportArgumentType]
    return Value(Collection(Collects.SET, element), tuple(unique))
