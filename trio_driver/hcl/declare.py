"""Reads a configuration class: a `msgspec.Struct` becomes the tree of `kinds`, once.

A class that no agent could serve, or whose schema would make an agent panic, is refused here with a
`TypeError` that names the field. What can panic an agent (`any` inside labelled blocks, half a
default, a schema without end) therefore has no kind at all.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable
from typing import Annotated, Protocol, TypeAlias, cast

import msgspec
from msgspec import inspect

from trio_driver.hcl.errors import is_identifier
from trio_driver.hcl.kinds import (
    Block,
    BlockList,
    BlockMap,
    Kind,
    Leaf,
    ListOf,
    MapOf,
    Option,
    Scalar,
)
from trio_driver.hcl.limits import Limits

DURATION_MARK: dict[str, object] = {"trio_driver.hcl": "duration"}

Duration: TypeAlias = Annotated[float, msgspec.Meta(ge=0, extra=DURATION_MARK)]
"""Seconds; written in HCL as a string with units: `"90s"`, `"1h30m"`, `"250ms"`."""

SCALARS: dict[type[inspect.Type], Scalar] = {
    inspect.StrType: Scalar.STRING,
    inspect.BoolType: Scalar.BOOL,
    inspect.IntType: Scalar.INTEGER,
    inspect.FloatType: Scalar.FLOAT,
}

SERVED = "str, bool, int, float, Duration, Literal of str, list, dict[str, ...] and msgspec.Struct"


class Untyped(Protocol):
    """`inspect.Metadata` with complete types."""

    extra: dict[str, object] | None
    extra_json_schema: dict[str, object] | None


def doc(text: str) -> msgspec.Meta:
    """The documentation of an option: `command: Annotated[str, hcl.doc("Program to run.")]`."""
    return msgspec.Meta(description=text)


@functools.cache
def block_of(cls: type[msgspec.Struct]) -> Block:
    """The options that `cls` declares.

    Raises:
        TypeError: a field is one that HCL or an agent cannot serve; the text names it and says why.
    """
    try:
        declared = inspect.type_info(cls)
    except NameError as error:
        raise TypeError(f"{cls.__qualname__}: {error}") from error
    if not isinstance(declared, inspect.StructType):
        raise TypeError(f"{cls!r} is not a msgspec.Struct")
    return _block(declared, ())


def _block(declared: inspect.StructType, outer: tuple[type, ...]) -> Block:
    cls = declared.cls
    if cls in outer:
        raise TypeError(f"{cls.__qualname__} contains itself: its schema would have no end")
    if declared.array_like or declared.tag_field is not None:
        raise TypeError(f"{cls.__qualname__}: array_like and tagged classes have no form in HCL")
    hints = typing.get_type_hints(cls, include_extras=True)
    options = tuple(_option(field, hints[field.name], (*outer, cls)) for field in declared.fields)
    return Block(type=cls, options=options)


def _option(field: inspect.Field, hint: object, outer: tuple[type, ...]) -> Option:
    where = f"{outer[-1].__qualname__}.{field.name}"
    if not is_identifier(field.encode_name):
        raise TypeError(f"{where}: {field.encode_name!r} is not a name that HCL allows")
    declared, text = _without_metadata(field.type)
    nullable = False
    if isinstance(declared, inspect.UnionType):
        members = [t for t in declared.types if not isinstance(t, inspect.NoneType)]
        if len(members) != 1:
            raise TypeError(f"{where}: of unions only `X | None` has a form in HCL")
        nullable = True
        declared, inner_text = _without_metadata(members[0])
        text = text or inner_text
    return Option(
        name=field.encode_name,
        field=field.name,
        kind=_kind(declared, where, outer),
        nullable=nullable,
        make_default=_default(field, hint, where),
        doc=text,
    )


def _without_metadata(declared: inspect.Type) -> tuple[inspect.Type, str]:
    """The type below `Annotated`, except where that makes the type; and its documentation."""
    text = ""
    while isinstance(declared, inspect.Metadata):
        # msgspec leaves the contents of these dicts untyped.
        extra, schema = cast("Untyped", declared).extra, cast("Untyped", declared).extra_json_schema
        text = text or str((schema or {}).get("description", ""))
        if extra == DURATION_MARK:
            break
        declared = declared.type
    return declared, text


def _default(field: inspect.Field, hint: object, where: str) -> Callable[[], object] | None:
    """What makes a fresh default; checked here, since msgspec does not."""
    make_default: Callable[[], object] | None = None
    if field.default is not msgspec.NODEFAULT:
        make_default = functools.partial(_same, field.default)
    elif field.default_factory is not msgspec.NODEFAULT:
        make_default = cast("Callable[[], object]", field.default_factory)
    if make_default is not None:
        try:
            msgspec.convert(make_default(), hint)
        except msgspec.ValidationError as error:
            raise TypeError(f"{where}: its default is not acceptable: {error}") from error
    return make_default


def _same(value: object) -> object:
    return value


def _kind(declared: inspect.Type, where: str, outer: tuple[type, ...]) -> Kind:
    match declared:
        case inspect.StructType():
            return _block(declared, outer)
        case inspect.ListType(item_type=inspect.StructType() as item):
            return BlockList(block=_block(item, outer), limits=Limits.of(declared))
        case inspect.DictType(value_type=inspect.StructType() as value):
            _check_keys(declared, where)
            return BlockMap(block=_block(value, outer), limits=Limits.of(declared))
        case _:
            return _attribute(declared, where)


def _attribute(declared: inspect.Type, where: str) -> Leaf | ListOf | MapOf:
    declared, _ = _without_metadata(declared)
    match declared:
        case inspect.ListType():
            element = _attribute(declared.item_type, where)
            return ListOf(element=element, limits=Limits.of(declared))
        case inspect.DictType():
            _check_keys(declared, where)
            value = _attribute(declared.value_type, where)
            if isinstance(value, MapOf):
                raise TypeError(
                    f"{where}: HCL gives a map in a map in two forms, by how it is written; "
                    "declare the inner one as a Struct, or use dict[str, Struct]"
                )
            return MapOf(element=value, limits=Limits.of(declared))
        case _:
            return _leaf(declared, where)


def _check_keys(declared: inspect.DictType, where: str) -> None:
    if not isinstance(declared.key_type, inspect.StrType):
        raise TypeError(f"{where}: keys of maps are strings in HCL")


def _leaf(declared: inspect.Type, where: str) -> Leaf:
    match declared:
        case inspect.Metadata():
            # That none is negative needs no words: there is no way to write one.
            limits = Limits.of(declared.type)
            limits = msgspec.structs.replace(limits, ge=limits.ge or None)
            return Leaf(scalar=Scalar.DURATION, limits=limits)
        case inspect.LiteralType(values=values) if all(isinstance(v, str) for v in values):
            return Leaf(scalar=Scalar.STRING, choices=tuple(map(str, values)))
        case inspect.AnyType():
            raise TypeError(f"{where}: `Any` would make an agent panic inside labelled blocks")
        case _:
            scalar = SCALARS.get(type(declared))
            if scalar is None:
                name = type(declared).__name__.removesuffix("Type")
                raise TypeError(f"{where}: {name} has no form in HCL here; there are: {SERVED}")
            return Leaf(scalar=scalar, limits=Limits.of(declared))
