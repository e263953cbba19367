"""What people read of a configuration class."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, cast

import hcl2
import msgspec
from hypothesis import given, settings

from tests.hcl.strategies import classes
from trio_driver import hcl


class Port(msgspec.Struct, frozen=True):
    label: str
    to: Annotated[int, msgspec.Meta(ge=1, le=65535)]


class Logging(msgspec.Struct, frozen=True):
    driver: Literal["journald", "json"] = "json"


class Config(msgspec.Struct, kw_only=True):
    command: Annotated[str, hcl.doc("Program to run, a|b.")]
    args: list[str] = []
    grace_s: Annotated[hcl.Duration, hcl.doc("Between the signals.")] = msgspec.field(
        name="grace", default=5
    )
    user: str | None = None
    logging: Logging = Logging()
    port: list[Port] = []


TABLE = r"""
| option | accepted | default | meaning |
| --- | --- | --- | --- |
| `command` | a string | required | Program to run, a\|b. |
| `args` | a list, each element a string | `[]` |  |
| `grace` | a duration such as "90s" or "1h30m" | `"5s"` | Between the signals. |
| `user` | a string |  |  |
| `logging` | one block |  |  |
| `logging.driver` | one of "journald", "json" | `"json"` |  |
| `port` | a list of blocks |  |  |
| `port[].label` | a string | required |  |
| `port[].to` | a whole number, at least 1, at most 65535 | required |  |
"""

EXAMPLE = """
# Program to run, a|b.
command = "..."
# args = ["..."]
# Between the signals.
grace = "5s"
# user = "..."
logging {
  driver = "json"
}
# port {
#   label = "..."
#   to = 1
# }
"""


def test_the_reference_has_a_row_for_every_option() -> None:
    assert hcl.reference(Config) == TABLE.lstrip()


def test_the_example_shows_every_option() -> None:
    assert hcl.example(Config) == EXAMPLE.lstrip()


def plain(parsed: Any) -> Any:
    """What an agent makes of HCL, from what the hcl2 package makes of it."""
    if isinstance(parsed, str):
        if parsed.startswith("${"):
            # A number with an exponent: to the package an expression that it does not evaluate.
            return float(parsed[2:-1])
        return json.loads(parsed).replace("$${", "${").replace("%%{", "%{")
    if isinstance(parsed, list):
        return [plain(element) for element in cast("list[Any]", parsed)]
    if not isinstance(parsed, dict):
        return parsed
    found: dict[str, Any] = {}
    for key, value in cast("dict[str, Any]", parsed).items():
        if not key.startswith("__"):
            found[json.loads(key) if key[0] == '"' else key] = plain(value)
            if "__is_block__" in parsed and isinstance(value, dict):
                # What stands directly in a block is a list for an agent.
                found[key] = [found[key]]
    return found


@settings(deadline=None, max_examples=50)
@given(classes())
def test_the_example_is_a_configuration(cls: type[msgspec.Struct]) -> None:
    text = f"config {{\n{hcl.example(cls)}}}\n"
    (parsed,) = cast("Any", hcl2).loads(text)["config"]
    hcl.decode(cls, hcl.encode(hcl.spec_of(cls), plain(parsed)))
