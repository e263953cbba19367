"""What people read of a configuration class: a table of its options, and an example in HCL."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from trio_driver.hcl.declare import block_of
from trio_driver.hcl.errors import key_path
from trio_driver.hcl.expression import expression
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

INDENT = "  "


def reference(cls: type[msgspec.Struct]) -> str:
    """A Markdown table of all options of `cls`, those of nested blocks included.

    Raises:
        TypeError: `cls` is not a class that can be a configuration.
    """
    rows = [["option", "accepted", "default", "meaning"], ["---"] * 4]
    rows += _rows(block_of(cls), "")
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _rows(block: Block, path: str) -> Iterator[list[str]]:
    for option in block.options:
        here = key_path(path, option.name).removeprefix(".")
        # A bar would end the cell.
        accepted, text = (
            part.replace("|", "\\|") for part in (accepted_words(option.kind), option.doc)
        )
        default = "required" if option.make_default is None else _default_text(option)
        yield [f"`{here}`", accepted, default, text]
        match option.kind:
            case Block() as nested:
                yield from _rows(nested, here)
            case BlockList(block=nested):
                yield from _rows(nested, f"{here}[]")
            case BlockMap(block=nested):
                yield from _rows(nested, f'{here}["..."]')
            case _:
                pass


def _default_text(option: Option) -> str:
    value = option.make_default() if option.make_default else None
    if value is None or isinstance(option.kind, Block | BlockList | BlockMap):
        return ""
    return f"`{expression(option.kind, value)}`".replace("|", "\\|")


def example(cls: type[msgspec.Struct]) -> str:
    """The content of a block in HCL: every option with its default, or with a value to replace.

    What is not set unless it is written stands there as a comment.

    Raises:
        TypeError: `cls` is not a class that can be a configuration.
    """
    return "".join(f"{line}\n" for line in _lines(block_of(cls)))


def _lines(block: Block) -> Iterator[str]:
    for option in block.options:
        if option.doc:
            yield f"# {option.doc}"
        value = option.make_default() if option.make_default else None
        unset = not option.required and (value is None or value == [] or value == {})
        for line in _option_lines(option, value):
            yield f"# {line}" if unset else line


def _option_lines(option: Option, value: object) -> Iterator[str]:
    match option.kind:
        case Block() as nested:
            yield from _block_lines(option.name, nested)
        case BlockList(block=nested):
            yield from _block_lines(option.name, nested)
        case BlockMap(block=nested):
            yield from _block_lines(f'{option.name} "label"', nested)
        case kind:
            chosen = placeholder(kind) if value is None or value in ([], {}) else value
            yield f"{option.name} = {expression(kind, chosen)}"


def _block_lines(head: str, block: Block) -> Iterator[str]:
    yield f"{head} {{"
    for line in _lines(block):
        yield f"{INDENT}{line}"
    yield "}"


def placeholder(kind: Kind) -> object:
    """A value that shows the form of an attribute; it may break limits, all but bounds."""
    match kind:
        case Leaf(choices=(first, *_)):
            return first
        case Leaf(scalar=Scalar.STRING):
            return "..."
        case Leaf(scalar=Scalar.BOOL):
            return True
        case Leaf(limits=limits):
            above = None if limits.gt is None else limits.gt + 1
            bounds = (limits.ge, above, limits.le)
            return next((bound for bound in bounds if bound is not None), 1)
        case ListOf(element=element):
            return [placeholder(element)]
        case MapOf(element=element):
            return {"name": placeholder(element)}
        case _:
            return None
