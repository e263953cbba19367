"""The values of a job file, before and after its references are known.

Nomad evaluates a job file twice. When it is read, `var.x` is replaced, and what only the client
knows (`${NOMAD_META_y}`, `${env["HOME"]}`) stays as text; so does `$${`, as `${`. When the task
starts, the client evaluates these texts again (nomad-protocol §3.4). This module does the first
step for all values and the second for plain texts; for `config` that is `trio_driver.hcl`'s.

Rules:
- A reference without a value is an error that names it, never an empty string.
- An expression that is not supported becomes `Unsupported` and raises only when its value is
  needed: what is ignored anyway may say anything.

Must not know: files, blocks, Nomad's options.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass


class UnresolvedError(Exception):
    """A value cannot be known: the text says which part of it and what would be accepted."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A name that stands for a value, as in `var.greeting` or `env["HOME"]`."""

    path: tuple[str, ...]

    def __str__(self) -> str:
        match self.path:
            case ("env", name):
                return f'env["{name}"]'
            case _:
                return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class Template:
    """Text with references in it; a single reference may stand for a value of any type."""

    parts: "tuple[str | Reference, ...]"


@dataclass(frozen=True, slots=True)
class Unsupported:
    """An expression that only Nomad itself can evaluate."""

    text: str


Value = (
    str | int | float | bool | None | Template | Unsupported | list["Value"] | dict[str, "Value"]
)

Plain = str | int | float | bool | None | list["Plain"] | dict[str, "Plain"]
"""A value as JSON has it; texts may hold `${…}` for the client."""

_CLIENT_NAME = re.compile(r"\$\{([a-zA-Z0-9_.-]+)\}")
"""What a client replaces outside of `config`. Source: Nomad helper/args ReplaceEnv."""


def resolve(value: Value, variables: Mapping[str, Value]) -> Value:
    """`value` with every `var.name` replaced.

    Raises:
        UnresolvedError: a variable is not declared; a list or object stands inside text.
    """
    match value:
        case Template(parts):
            return _join([_variable(part, variables) for part in parts])
        case list():
            return [resolve(item, variables) for item in value]
        case dict():
            return {key: resolve(item, variables) for key, item in value.items()}
        case _:
            return value


def to_plain(value: Value, *, literal: Callable[[str], str] = str) -> Plain:
    """`value` as JSON has it, references as the text `${name}`.

    Args:
        value: without variables.
        literal: applied to all text but references.

    Raises:
        UnresolvedError: an expression is not supported.
    """
    match value:
        case Template(parts):
            return "".join(
                f"${{{part}}}" if isinstance(part, Reference) else literal(part) for part in parts
            )
        case Unsupported(text):
            raise UnresolvedError(
                f"the expression `{text}` is not supported here; accepted are literals, lists, "
                'objects, heredocs and references such as ${var.name}, ${env["NAME"]}'
            )
        case str():
            return literal(value)
        case list():
            return [to_plain(item, literal=literal) for item in value]
        case dict():
            return {key: to_plain(item, literal=literal) for key, item in value.items()}
        case _:
            return value


def escape(text: str) -> str:
    """`text` as a client has to read it in `config`, so that it comes out unchanged."""
    return text.replace("${", "$${").replace("%{", "%%{")


def substitute(text: str, variables: Mapping[str, str]) -> str:
    """`text` with every `${name}` replaced, as a client does it outside of `config`.

    Raises:
        UnresolvedError: there is no such name.
    """

    def value_of(found: re.Match[str]) -> str:
        if found[1] not in variables:
            raise UnresolvedError(f'no variable named "{found[1]}"')
        return variables[found[1]]

    return _CLIENT_NAME.sub(value_of, text)


def text_of(scalar: object) -> str:
    """A scalar as it reads inside text: `true`, `3`, `0.5`; null is empty.

    Raises:
        UnresolvedError: a list or object.
    """
    match scalar:
        case None:
            return ""
        case bool():
            return "true" if scalar else "false"
        case str():
            return scalar
        case float() if scalar.is_integer():
            return str(int(scalar))
        case int() | float():
            return str(scalar)
        case _:
            raise UnresolvedError("a list or object cannot be part of a text")


def _variable(part: str | Reference, variables: Mapping[str, Value]) -> Value | Reference:
    match part:
        case Reference(("var", name)):
            if name not in variables:
                known = ", ".join(f"var.{known}" for known in sorted(variables)) or "none"
                raise UnresolvedError(f'no variable named "{part}"; declared: {known}')
            return variables[name]
        case _:
            return part


def _join(parts: "list[Value | Reference]") -> Value:
    """Merge neighbouring texts; a lone value keeps its type."""
    if len(parts) == 1 and not isinstance(parts[0], Reference):
        return parts[0]
    merged: list[str | Reference] = []
    for part in parts:
        for piece in part.parts if isinstance(part, Template) else (part,):
            if isinstance(piece, Reference):
                merged.append(piece)
            elif merged and isinstance(merged[-1], str):
                merged[-1] += text_of(piece)
            else:
                merged.append(text_of(piece))
    return (
        merged[0]
        if merged and isinstance(merged[0], str) and len(merged) == 1
        else Template(tuple(merged))
    )
