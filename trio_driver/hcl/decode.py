"""The agent's msgpack → an instance of a configuration class.

What an agent sends is not what the class declares: unset options are nil, numbers that a float
cannot hold are decimal strings, a map is a list of maps, durations are text. Each is handled here
and nowhere else. Only `ConfigError` leaves this module, whatever the bytes.

Source: go-cty's msgpack encoding; Nomad's MapStrStr for the merging of maps.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import TypeVar, assert_never, cast

import msgspec

from trio_driver.hcl.declare import block_of
from trio_driver.hcl.duration import parse_duration
from trio_driver.hcl.errors import (
    ConfigError,
    Problem,
    index_path,
    key_path,
    quoted,
    rejected,
    shown,
    suggestion,
)
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
    accepted_words,
)

DECIMAL = re.compile(r"-?\d+(\.\d+)?", flags=re.ASCII)
"""The text of a number that fits neither int64 nor float64."""

MAX_DIGITS = 1000
"""Digits of a decimal; more are refused before they cost time. float64 ends at 309."""

MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError, ValueError)
"""What msgspec raises for bytes that are not msgpack, or not of any use."""

Struct = TypeVar("Struct", bound=msgspec.Struct)
Value = TypeVar("Value")


def decode(cls: type[Struct], data: bytes, *, path: str = "config") -> Struct:
    """Decode what an agent made of the HCL of a block with the schema of `cls`.

    Args:
        cls: the configuration class.
        data: `msgpack_config` or `msgpack_driver_config`; empty is an empty block.
        path: how errors call the block.

    Raises:
        ConfigError: the configuration is not acceptable; names all that is wrong.
        TypeError: `cls` is not a class that can be a configuration.
    """
    block = block_of(cls)
    try:
        raw: object = msgspec.msgpack.decode(data) if data else {}
    except MALFORMED as error:
        raise ConfigError([Problem(path, f"not msgpack: {error}")]) from error
    return cast("Struct", _block(block, {} if raw is None else raw, path))


def _read(kind: Kind, value: object, path: str) -> object:
    match kind:
        case Leaf():
            return _leaf(kind, value, path)
        case ListOf():
            return _list(kind, lambda v, p: _read(kind.element, v, p), value, path)
        case MapOf():
            return _map(kind, lambda v, p: _read(kind.element, v, p), value, path)
        case Block():
            return _block(kind, value, path)
        case BlockList():
            return _list(kind, lambda v, p: _block(kind.block, v, p), value, path)
        case BlockMap():
            return _map(kind, lambda v, p: _block(kind.block, v, p), value, path)
        case _:
            assert_never(kind)


def _block(block: Block, value: object, path: str) -> object:
    if not isinstance(value, dict):
        raise rejected(path, value, accepted_words(block))
    given = cast("dict[object, object]", value)
    known = {option.name: option for option in block.options}
    problems = [_unknown(key, list(known), path) for key in given if key not in known]
    fields: dict[str, object] = {}
    for option in block.options:
        try:
            found = _option(option, given.get(option.name), key_path(path, option.name))
        except ConfigError as error:
            problems += error.problems
        else:
            fields[option.field] = found
    if problems:
        raise ConfigError(problems)
    try:
        return block.type(**fields)
    except (TypeError, ValueError) as error:
        # The class's own __post_init__ refused the combination.
        raise ConfigError([Problem(path, str(error))]) from error


def _option(option: Option, value: object, path: str) -> object:
    # Absent blocks are an empty list or map, and there is no other way to write an empty one.
    absent = value is None or (isinstance(option.kind, BlockList | BlockMap) and not value)
    if not absent and isinstance(option.kind, MapOf):
        return _merged(option.kind, value, path)
    if not absent:
        return _read(option.kind, value, path)
    if option.make_default is not None:
        return option.make_default()
    if option.nullable:
        return None
    text = f"required, but not set; expected {accepted_words(option.kind)}"
    raise ConfigError([Problem(path, text)])


def _unknown(key: object, known: list[str], path: str) -> Problem:
    if not isinstance(key, str):
        return Problem(path, f"{shown(key)} is not the name of an option")
    near = suggestion(key, known)
    hint = f" Did you mean {quoted(near)}?" if near else ""
    names = ", ".join(sorted(known)) or "none"
    return Problem(key_path(path, key), f"there is no such option.{hint} There are: {names}")


def _list(
    kind: ListOf | BlockList, read: Callable[[object, str], Value], value: object, path: str
) -> list[Value]:
    if not isinstance(value, list):
        raise rejected(path, value, accepted_words(kind))
    elements = enumerate(cast("list[object]", value))
    found = _each(read, ((index_path(path, index), element) for index, element in elements))
    if not kind.limits.kept_by(found):
        raise rejected(path, found, accepted_words(kind))
    return found


def _map(
    kind: MapOf | BlockMap, read: Callable[[object, str], Value], value: object, path: str
) -> dict[str, Value]:
    if not isinstance(value, dict):
        raise rejected(path, value, accepted_words(kind))
    for key in cast("dict[object, object]", value):
        if not isinstance(key, str):
            raise rejected(path, key, "a string as key")
    pairs = cast("dict[str, object]", value)
    values = _each(read, ((key_path(path, key), element) for key, element in pairs.items()))
    found = dict(zip(pairs, values, strict=True))
    if not kind.limits.kept_by(found):
        raise rejected(path, found, accepted_words(kind))
    return found


def _merged(kind: MapOf, value: object, path: str) -> dict[str, object]:
    """A list of maps as one map; of a key that occurs again the last value counts."""
    if not isinstance(value, list):
        raise rejected(path, value, accepted_words(kind))
    merged: dict[object, object] = {}
    for index, element in enumerate(cast("list[object]", value)):
        if not isinstance(element, dict):
            raise rejected(index_path(path, index), element, accepted_words(kind))
        merged |= cast("dict[object, object]", element)
    return _map(kind, lambda v, p: _read(kind.element, v, p), merged, path)


def _each(
    read: Callable[[object, str], Value], elements: Iterable[tuple[str, object]]
) -> list[Value]:
    """Read every element; the problems of all are raised together."""
    found: list[Value] = []
    problems: list[Problem] = []
    for path, element in elements:
        try:
            found.append(read(element, path))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return found


def _leaf(kind: Leaf, value: object, path: str) -> object:
    found = _scalar(kind.scalar, value)
    if found is None or (kind.choices and found not in kind.choices):
        raise rejected(path, value, accepted_words(kind))
    if not kind.limits.kept_by(found):
        raise rejected(path, value, accepted_words(kind))
    return found


def _scalar(scalar: Scalar, value: object) -> str | bool | int | float | None:
    """`value` as a `scalar`; None where it is not one."""
    match scalar, value:
        case (Scalar.STRING, str()) | (Scalar.BOOL, bool()):
            return value
        case Scalar.DURATION, str():
            try:
                return parse_duration(value)
            except ValueError:
                return None
        case ((Scalar.INTEGER | Scalar.FLOAT), bool()):
            return None
        case ((Scalar.INTEGER | Scalar.FLOAT), int() | float() | str()):
            return _number(scalar, value)
        case _:
            return None


def _number(scalar: Scalar, value: int | float | str) -> int | float | None:
    if isinstance(value, str):
        if len(value) > MAX_DIGITS or not DECIMAL.fullmatch(value):
            return None
        value = float(value) if "." in value else int(value)
    try:
        if scalar is Scalar.FLOAT:
            return float(value) if math.isfinite(value) else None
        return int(value) if value == int(value) else None
    except (OverflowError, ValueError):
        return None
