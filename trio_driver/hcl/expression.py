"""Values of attributes as HCL expressions: in the defaults of a schema, and for people."""

from __future__ import annotations

from typing import cast

from trio_driver.hcl.duration import format_duration
from trio_driver.hcl.errors import is_identifier, quoted
from trio_driver.hcl.kinds import Kind, Leaf, ListOf, MapOf, Scalar


def expression(kind: Kind, value: object) -> str:
    """The value of an attribute as an HCL expression."""
    match kind, value:
        case Leaf(scalar=Scalar.DURATION), int() | float():
            return quoted(format_duration(value))
        case ListOf(element=element), list():
            return f"[{', '.join(expression(element, e) for e in cast('list[object]', value))}]"
        case MapOf(element=element), dict():
            pairs = cast("dict[str, object]", value).items()
            items = (
                f"{key if is_identifier(key) else quoted(key)} = {expression(element, part)}"
                for key, part in pairs
            )
            return f"{{ {', '.join(items)} }}" if value else "{}"
        case _, bool():
            return "true" if value else "false"
        case _, str():
            return quoted(value).replace("${", "$${").replace("%{", "%%{")
        case _:
            return repr(value)
