"""The part of HCL's expressions that schemas are written in: constants and type expressions.

`"text"`, `5`, `-0.5`, `true`, `null`, `[...]`, `{ k = ... }`, `{ "k": ... }`, and for types
`list(map(string))`, `object({ a = string })`. No operators, functions, variables or heredocs.

Source: HCL's native syntax specification; Nomad's type expressions.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TypeAlias

import msgspec

from trio_driver.hcl.agent import types
from trio_driver.hcl.agent.types import (
    Collection,
    Collects,
    ObjectType,
    Primitive,
    TupleType,
    Type,
    Value,
)

TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      | (?P<name>[^\W\d][\w-]*)
      | (?P<mark>[\[\](){},=:-])
    )""",
    flags=re.VERBOSE | re.DOTALL,
)
ESCAPE = re.compile(r'\\(?:([nrt"\\])|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))')
TEMPLATE = re.compile(r"\$\$\{|%%\{|\$\{|%\{")
"""The beginnings of a template, and before them those that are doubled to stand for themselves."""

PLAIN_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
WORDS = {"true": types.boolean(True), "false": types.boolean(False), "null": types.null()}


class Name(msgspec.Struct, frozen=True):
    """An identifier that is no constant."""

    name: str


class Call(msgspec.Struct, frozen=True):
    """`name(argument, ...)`."""

    name: str
    arguments: tuple[Expression, ...]


class ListExpression(msgspec.Struct, frozen=True):
    """`[...]`."""

    elements: tuple[Expression, ...]


class ObjectExpression(msgspec.Struct, frozen=True):
    """`{ ... }`."""

    attributes: tuple[tuple[str, Expression], ...]


Expression: TypeAlias = Value | Name | Call | ListExpression | ObjectExpression


def evaluate_literal(source: str) -> Value:
    """The constant that `source` is.

    Raises:
        TypeError: it is not one, or not in the part of HCL that is understood here.
    """
    return _constant(_Parser(source).parse(), source)


def evaluate_type(source: str) -> Type:
    """The type that `source` describes.

    Raises:
        TypeError: it describes none.
    """
    return _type(_Parser(source).parse(), source)


def _constant(expression: Expression, source: str) -> Value:
    match expression:
        case Value():
            return expression
        case ListExpression(elements):
            return types.tuple_of([_constant(element, source) for element in elements])
        case ObjectExpression(attributes):
            return types.object_of({key: _constant(value, source) for key, value in attributes})
        case Name(name) | Call(name):
            raise TypeError(f"{name!r} in {source!r}: only constants are understood here")


def _type(expression: Expression, source: str) -> Type:
    match expression:
        case Name("string" | "number" | "bool" | "any" as name):
            return Primitive(name)
        case Call("list" | "set" | "map" as name, (element,)):
            return Collection(Collects(name), _type(element, source))
        case Call("object", (ObjectExpression(attributes),)):
            named = {key: _type(value, source) for key, value in attributes}
            return ObjectType(tuple((key, named[key]) for key in sorted(named)))
        case Call("tuple", (ListExpression(elements),)):
            return TupleType(tuple(_type(element, source) for element in elements))
        case _:
            raise TypeError(f"{source!r} is not a type expression")


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = self._tokenize()
        self._position = 0

    def _tokenize(self) -> list[tuple[str, str]]:
        tokens: list[tuple[str, str]] = []
        position, source = 0, self._source.rstrip()
        while position < len(source):
            match = TOKEN.match(source, position)
            if match is None:
                raise self._error()
            tokens.append((str(match.lastgroup), match[str(match.lastgroup)]))
            position = match.end()
        return [*tokens, ("end", "")]

    def _error(self) -> TypeError:
        return TypeError(f"{self._source!r} is not an HCL expression that is understood here")

    def parse(self) -> Expression:
        """The whole source as one expression."""
        expression = self._expression()
        if self._next()[0] != "end":
            raise self._error()
        return expression

    def _next(self) -> tuple[str, str]:
        token = self._tokens[self._position]
        self._position = min(self._position + 1, len(self._tokens) - 1)
        return token

    def _accept(self, mark: str) -> bool:
        if self._tokens[self._position] != ("mark", mark):
            return False
        self._next()
        return True

    def _expression(self) -> Expression:
        match self._next():
            case "string", token:
                return types.text(unescape(token))
            case "number", token:
                return types.number(Decimal(token))
            case "mark", "-":
                kind, token = self._next()
                if kind != "number":
                    raise self._error()
                return types.number(-Decimal(token))
            case "mark", "[":
                return ListExpression(self._sequence("]"))
            case "mark", "{":
                return ObjectExpression(self._attributes())
            case "name", name if self._accept("("):
                return Call(name, self._sequence(")"))
            case "name", name:
                return WORDS.get(name, Name(name))
            case _:
                raise self._error()

    def _sequence(self, end: str) -> tuple[Expression, ...]:
        elements: list[Expression] = []
        while not self._accept(end):
            elements.append(self._expression())
            if not self._accept(",") and self._tokens[self._position] != ("mark", end):
                raise self._error()
        return tuple(elements)

    def _attributes(self) -> tuple[tuple[str, Expression], ...]:
        attributes: list[tuple[str, Expression]] = []
        while not self._accept("}"):
            kind, token = self._next()
            if kind not in {"name", "string"} or not (self._accept("=") or self._accept(":")):
                raise self._error()
            key = unescape(token) if kind == "string" else token
            attributes.append((key, self._expression()))
            # A line end separates attributes as well; it is white space here.
            self._accept(",")
        return tuple(attributes)


def unescape(token: str) -> str:
    """The text of a string literal, quotes included.

    Raises:
        TypeError: it is a template, which needs variables.
    """

    def replace(match: re.Match[str]) -> str:
        plain, short, long = match.groups()
        return PLAIN_ESCAPES[plain] if plain else chr(int(short or long, 16))

    def literally(match: re.Match[str]) -> str:
        if len(match[0]) == len("${"):
            raise TypeError(f"{token} is a template: only constants are understood here")
        return match[0][1:]

    return TEMPLATE.sub(literally, ESCAPE.sub(replace, token[1:-1]))
