"""HCL text as blocks and values: the one module that knows the `hcl2` package.

Its syntax tree is walked here rather than taken as the package's dictionaries: those keep no line
numbers and do not tell a reference from text that looks like one.

Must not know: what the blocks mean.
"""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import hcl2
from lark import Token, Tree
from lark.exceptions import LarkError, UnexpectedInput

from trio_driver.cli.errors import JobError
from trio_driver.cli.values import Reference, Template, Unsupported, Value

Node = Tree[Token]

_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


class HclError(JobError):
    """A file is not HCL, or says what is not accepted; the text begins with file and line."""

    def __init__(self, path: str, line: int, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}")


class _SyntaxError(Exception):
    """A piece that the grammar lets through is wrong; the caller knows the line."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """`name = value` in a body."""

    line: int
    value: Value


@dataclass(frozen=True, slots=True)
class Block:
    """`kind "label" { … }`; the file itself is a block of kind "" without labels."""

    kind: str
    labels: tuple[str, ...]
    line: int
    attributes: dict[str, Attribute]
    blocks: tuple["Block", ...]

    @property
    def title(self) -> str:
        """The block as its author wrote it, without the body: `task "web"`."""
        return " ".join([self.kind, *(f'"{label}"' for label in self.labels)])

    def named(self, kind: str) -> "Iterator[Block]":
        """The blocks of this body that are of `kind`, in order."""
        return (block for block in self.blocks if block.kind == kind)


def parse(text: str, *, path: str) -> Block:
    """The blocks of an HCL file.

    Args:
        text: the file's content.
        path: its name, for errors.

    Raises:
        HclError: not HCL; an attribute is set twice.
    """
    try:
        return _Reader(path).block("", (), _child(_tree(text), "body"), line=1)
    except UnexpectedInput as error:
        raise HclError(path, max(error.line, 1), _syntax_message(text, error)) from None
    except LarkError as error:
        raise HclError(path, 1, f"not HCL: {error}") from None
    except RecursionError:
        raise HclError(path, 1, "not readable: nested too deeply") from None


def parse_expression(text: str) -> Value:
    """One value, such as `["a", 1]`, that does not stand in a file.

    Raises:
        ValueError: not an HCL expression.
    """
    try:
        body = _child(_tree(f"x = {text}"), "body")
        return _value(_trees(_child(body, "attribute"))[-1])
    except (LarkError, _SyntaxError) as error:
        raise ValueError(f"{text!r} is not an HCL expression") from error


def parse_template(text: str) -> Value:
    """Text with `${…}` in it, in which nothing else is special: not a quote, not a backslash.

    What cannot be understood becomes `Unsupported`.
    """
    try:
        return _template(_heredoc_parts(text))
    except _SyntaxError:
        return Unsupported(text)


def _syntax_message(text: str, error: UnexpectedInput) -> str:
    """What stands where the grammar expected something else."""
    lines = text.splitlines()
    if not 0 < error.line <= len(lines) or not lines[error.line - 1][error.column - 1 :].strip():
        return "not HCL: the line ends too early; is a value, quote or brace missing?"
    return f"not HCL at {lines[error.line - 1][error.column - 1 :].strip()!r}"


class _Reader:
    """Bodies to blocks, with the file's name for errors."""

    def __init__(self, path: str) -> None:
        self._path = path

    def block(self, kind: str, labels: tuple[str, ...], body: Node, *, line: int) -> Block:
        attributes: dict[str, Attribute] = {}
        blocks: list[Block] = []
        for node in _trees(body):
            match node.data:
                case "attribute":
                    name, attribute = self._attribute(node)
                    if name in attributes:
                        raise self._error(node, f'"{name}" is set twice in one block')
                    attributes[name] = attribute
                case "block":
                    blocks.append(self._nested(node))
                case _:
                    pass  # comments and line ends
        return Block(kind, labels, line, attributes, tuple(blocks))

    def _attribute(self, node: Node) -> tuple[str, Attribute]:
        name, expression = _trees(node)
        try:
            return _source(name), Attribute(node.meta.line, _value(expression))
        except _SyntaxError as error:
            raise self._error(node, str(error)) from None

    def _nested(self, node: Node) -> Block:
        parts = _trees(node)
        kind, *labels = [part for part in parts if part.data not in ("body", "new_line_or_comment")]
        try:
            names = tuple(_plain_text(label) for label in labels)
        except _SyntaxError as error:
            raise self._error(node, str(error)) from None
        return self.block(_source(kind), names, _child(node, "body"), line=node.meta.line)

    def _error(self, node: Node, message: str) -> HclError:
        return HclError(self._path, node.meta.line, message)


def _value(node: Node) -> Value:
    """The value of an expression; what is not supported becomes `Unsupported`."""
    inner = _trees(node)
    match node.data:
        case "expr_term" if len(inner) == 1:
            return _value(inner[0])
        case "int_lit":
            return int(_source(node))
        case "float_lit":
            return float(_source(node))
        case "literal_value":
            return {"true": True, "false": False, "null": None}[_source(node)]
        case "unary_op":
            return _negative(node)
        case "string":
            return _template(_string_parts(node))
        case "heredoc_template" | "heredoc_template_trim":
            return _heredoc(_source(node))
        case "tuple":
            return [_value(item) for item in inner if item.data != "new_line_or_comment"]
        case "object":
            return dict(_element(item) for item in inner if item.data == "object_elem")
        case "identifier" | "get_attr_expr_term" | "index_expr_term":
            path = _path(node)
            return Unsupported(_source(node)) if path is None else Template((Reference(path),))
        case _:
            return Unsupported(_source(node))


def _negative(node: Node) -> Value:
    match (_source(node)[:1], _value(_trees(node)[-1])):
        case ("-", int() | float() as number) if not isinstance(number, bool):
            return -number
        case _:
            return Unsupported(_source(node))


def _element(node: Node) -> tuple[str, Value]:
    """A key, `name`, `"name"` or a number, and its value."""
    key, value = _trees(node)
    return _plain_text(key), _value(value)


def _path(node: Node) -> tuple[str, ...] | None:
    """`a.b["c"]` as ("a", "b", "c"); None for anything that is more than a name."""
    match node.data:
        case "expr_term":
            inner = _trees(node)
            return _path(inner[0]) if len(inner) == 1 and len(node.children) == 1 else None
        case "identifier":
            return (_source(node),)
        case "get_attr_expr_term" | "index_expr_term":
            owner, member = _trees(node)
            owner_path, last = _path(owner), _trees(member)
            if owner_path is None or len(last) != 1:
                return None
            name = _plain_text(last[0]) if last[0].data == "expr_term" else _source(last[0])
            return (*owner_path, name)
        case _:
            return None


def _string_parts(node: Node) -> Iterator[str | Reference | Unsupported]:
    for part in _trees(node):
        [content] = part.children
        if isinstance(content, Token):
            yield _literal(content)
        elif content.data == "interpolation":
            yield from _interpolated(_value(_trees(content)[0]), _source(content))
        else:
            yield Unsupported(_source(content))


def _literal(token: Token) -> str:
    match token.type:
        case "ESCAPED_INTERPOLATION" | "ESCAPED_DIRECTIVE":
            return str(token)[1:]
        case _:
            return _ESCAPE.sub(_unescape, str(token))


def _unescape(found: re.Match[str]) -> str:
    code = found[1]
    if len(code) > 1 and _is_character(int(code[1:], 16)):
        return chr(int(code[1:], 16))
    if code not in _ESCAPES:
        raise _SyntaxError(rf"\{code} is not an escape; accepted are \n \r \t \" \\ \uNNNN")
    return _ESCAPES[code]


def _is_character(number: int) -> bool:
    """Surrogates have code points, but are no text."""
    return number < 0xD800 or 0xDFFF < number <= 0x10FFFF


def _interpolated(value: Value, text: str) -> Iterator[str | Reference | Unsupported]:
    """What stands between `${` and `}`."""
    match value:
        case Template(parts):
            yield from parts
        case str():
            yield value
        case _:
            yield Unsupported(text)


def _template(parts: Iterator[str | Reference | Unsupported]) -> Value:
    """Texts and references as one value."""
    merged: list[str | Reference] = []
    for part in parts:
        if isinstance(part, Unsupported):
            return part
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        else:
            merged.append(part)
    if all(isinstance(part, str) for part in merged):
        return "".join(str(part) for part in merged)
    return Template(tuple(merged))


_HEREDOC_PART = re.compile(r"\$\$\{|%%\{|%\{|\$\{((?:[^{}\"]|\"(?:[^\"\\]|\\.)*\")*)\}", re.DOTALL)
"""An escape, a directive, or an interpolation without braces inside, in a heredoc's raw text."""


def _heredoc(source: str) -> Value:
    """The text between the markers; `<<-` takes the common indentation away.

    Backslashes are plain characters in a heredoc.
    """
    lines = source.rstrip().splitlines()
    body = "".join(f"{line}\n" for line in lines[1:-1])
    return _template(_heredoc_parts(textwrap.dedent(body) if source.startswith("<<-") else body))


def _heredoc_parts(body: str) -> Iterator[str | Reference | Unsupported]:
    end = 0
    for found in _HEREDOC_PART.finditer(body):
        yield body[end : found.start()]
        end = found.end()
        match found[0]:
            case "$${" | "%%{":
                yield found[0][1:]
            case "%{":
                yield Unsupported("%{…}")
            case text:
                yield from _interpolated(_heredoc_expression(found[1]), text)
    yield body[end:]


def _heredoc_expression(text: str) -> Value:
    try:
        return parse_expression(text)
    except ValueError as error:
        raise _SyntaxError(f"in the heredoc: {error}") from None


def _plain_text(node: Node) -> str:
    """A label or key."""
    if node.data == "object_elem_key":
        return _plain_text(_trees(node)[0])
    if node.data in ("identifier", "keyword"):
        return _source(node)
    match _value(node):
        case str() as text:
            return text
        case Template((Reference((name,)),)) if not _source(node).startswith(("(", '"')):
            return name
        case int() | float() as number:
            return str(number)
        case _:
            raise _SyntaxError(f"{_source(node)} is not accepted as a name")


def _tree(text: str) -> Node:
    tree = hcl2.parses_to_tree(text)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return cast("Node", tree)


def _trees(node: Node) -> list[Node]:
    return [child for child in node.children if isinstance(child, Tree)]


def _child(node: Node, data: str) -> Node:
    return next(child for child in _trees(node) if child.data == data)


def _source(node: Node) -> str:
    """The node's own words, close to how they were written."""
    return "".join(str(token) for token in node.scan_values(lambda _: True)).strip()
