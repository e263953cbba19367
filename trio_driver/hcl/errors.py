"""What is wrong with a configuration, in words for the person who wrote it.

Every problem names where (the HCL path), what (the value) and what would be accepted. All problems
of a configuration are reported together. Must not know: schemas, msgpack.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import cast

import msgspec

SHOWN_LENGTH = 60
"""Characters of a value that an error shows: enough to recognise it in a job file."""

ESCAPE = re.compile(r"\\.")
JSON_ONLY = {"\\b": "\\u0008", "\\f": "\\u000c"}
"""Escapes of JSON that HCL does not know."""

SUGGESTION_DISTANCE = 3
"""A name that takes fewer edits than this is taken for a typing error (the agent's own limit)."""


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong, and where."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


class ConfigError(ValueError):
    """A configuration is not acceptable; `problems` says all that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


def rejected(path: str, value: object, accepted: str) -> ConfigError:
    """The error for a `value` that is not one of those `accepted`."""
    return ConfigError([Problem(path, f"{shown(value)} is not accepted; expected {accepted}")])


def shown(value: object) -> str:
    """`value` as HCL has it, shortened; collections only by their kind."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float():
            return repr(value)
        case int():
            # An int of thousands of digits has no repr.
            return repr(value) if abs(value) < 10**SHOWN_LENGTH else "a huge number"
        case str():
            text = value if len(value) <= SHOWN_LENGTH else f"{value[: SHOWN_LENGTH - 3]}..."
            return quoted(text)
        case list():
            return f"a list of {len(cast('list[object]', value))}"
        case dict():
            return "a map"
        case _:
            return f"a value of type {type(value).__name__}"


def quoted(text: str) -> str:
    """`text` between double quotes, with escapes that HCL and JSON share."""
    encoded = json.dumps(text, ensure_ascii=False)
    return ESCAPE.sub(lambda match: JSON_ONLY.get(match[0], match[0]), encoded)


def key_path(path: str, key: str) -> str:
    """The path of what is below `path` under `key`."""
    return f"{path}.{key}" if is_identifier(key) else f"{path}[{quoted(key)}]"


def index_path(path: str, index: int) -> str:
    """The path of the element of `path` at `index`."""
    return f"{path}[{index}]"


def is_identifier(name: str) -> bool:
    """Whether `name` can stand before `=` in HCL: an identifier, in which `-` may follow."""
    return not name.startswith("-") and name.replace("-", "_").isidentifier()


def suggestion(name: str, known: Iterable[str]) -> str | None:
    """The one of the `known` names that `name` is most likely a typing error of."""
    near = [(edit_distance(name, candidate), candidate) for candidate in known]
    distance, candidate = min(near, default=(SUGGESTION_DISTANCE, ""))
    return candidate if distance < min(SUGGESTION_DISTANCE, len(name)) else None


def edit_distance(left: str, right: str) -> int:
    """How many insertions, deletions and replacements of one character lie between two names."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]
