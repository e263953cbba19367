"""Which classes can be configurations, and why others cannot."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest

from trio_driver import hcl
from trio_driver.hcl.declare import block_of


class Inner(msgspec.Struct, frozen=True):
    a: int = 1


class WithAny(msgspec.Struct):
    a: Any


class Endless(msgspec.Struct):
    inner: Endless | None = None


class Unresolved(msgspec.Struct):
    a: Nowhere  # pyright: ignore[reportUndefinedVariable, reportUnknownVariableType]  # noqa: F821


class AsArray(msgspec.Struct, array_like=True):
    a: int


class Tagged(msgspec.Struct, tag="kind"):
    a: int


class Renamed(msgspec.Struct):
    a: int = msgspec.field(name="not a name")


@pytest.mark.parametrize(
    ("cls", "why"),
    [
        (WithAny, r"WithAny\.a: `Any` would make an agent panic"),
        (Endless, "Endless contains itself"),
        (Unresolved, "Unresolved: name 'Nowhere'"),
        (AsArray, "AsArray: array_like"),
        (Tagged, "Tagged: array_like and tagged"),
        (Renamed, "Renamed.a: 'not a name' is not a name that HCL allows"),
        (int, "is not a msgspec.Struct"),
    ],
)
def test_a_class_that_cannot_be_a_configuration_is_refused(cls: Any, why: str) -> None:
    with pytest.raises(TypeError, match=why):
        hcl.spec_of(cls)


@pytest.mark.parametrize(
    ("annotation", "why"),
    [
        (bytes, "Bytes has no form in HCL"),
        (set[str], "Set has no form in HCL"),
        (tuple[str, int], "Tuple has no form in HCL"),
        (object, "Custom has no form in HCL"),
        (dict[str, WithAny], "WithAny.a: `Any`"),
        (dict[str, Any], "`Any`"),
        (list[Any], "`Any`"),
        (int | str, "of unions only `X | None`"),
        (list[str | None], "Union has no form in HCL"),
        (dict[int, str], "keys of maps are strings"),
        (dict[str, dict[str, str]], "a map in a map in two forms"),
        (dict[str, list[Inner]], "Struct has no form in HCL here"),
        (Literal[1, 2], "Literal has no form in HCL"),
    ],
)
def test_a_field_that_hcl_cannot_hold_is_refused_by_name(annotation: Any, why: str) -> None:
    cls = msgspec.defstruct("Config", [("field", annotation)])
    with pytest.raises(TypeError, match=rf"{why}") as caught:
        hcl.spec_of(cls)
    assert "Config.field" in str(caught.value) or "WithAny.a" in str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "default"),
    [
        (int, "x"),
        (Literal["a", "b"], "c"),
        (Annotated[int, msgspec.Meta(ge=1)], 0),
        (hcl.Duration, -1),
        (str, None),
        (Inner, None),
    ],
)
def test_a_default_that_would_not_be_accepted_is_refused(annotation: Any, default: object) -> None:
    cls = msgspec.defstruct("Config", [("field", annotation, default)])
    with pytest.raises(TypeError, match=r"Config\.field: its default is not acceptable"):
        hcl.spec_of(cls)


def test_the_documentation_of_an_option_is_found_wherever_it_stands() -> None:
    class Config(msgspec.Struct):
        a: Annotated[str, hcl.doc("about a")]
        b: Annotated[str | None, hcl.doc("about b")] = None
        c: Annotated[str, hcl.doc("about c")] | None = None
        d: Annotated[hcl.Duration, hcl.doc("about d")] = 1
        e: Annotated[list[Inner], hcl.doc("about e")] = []

    options = block_of(Config).options
    assert [option.doc for option in options] == [f"about {name}" for name in "abcde"]


def test_a_class_is_read_once() -> None:
    assert block_of(Inner) is block_of(Inner)
