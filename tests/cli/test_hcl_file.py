"""HCL text to blocks and values."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_driver.cli.errors import JobError
from trio_driver.cli.hcl_file import Block, parse, parse_expression
from trio_driver.cli.values import Reference, Template, Unsupported, Value


def value_of(text: str) -> Value:
    return parse(f"x = {text}\n", path="f").attributes["x"].value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"text"', "text"),
        ('""', ""),
        ("3", 3),
        ("-3", -3),
        ("1.5", 1.5),
        ("-0.5", -0.5),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("true", True),
        ("null", None),
        ("[]", []),
        ('["a", 1, [true]]', ["a", 1, [True]]),
        ('[\n  "a", # why\n  "b",\n]', ["a", "b"]),
        ('{ a = 1, "b.c" : [2], d = { e = null } }', {"a": 1, "b.c": [2], "d": {"e": None}}),
        (r'"a\tb\n\"q\" \\ \u00e9 \U0001f600"', 'a\tb\n"q" \\ é 😀'),
        ('"$${not} %%{not} 100% $5"', "${not} %{not} 100% $5"),
        ('"${"inner"}"', "inner"),
        ('<<EOF\na "b" \\n\n  c\nEOF', 'a "b" \\n\n  c\n'),
        ("<<-EOF\n    a\n      b\n    EOF", "a\n  b\n"),
        ("<<EOF\n$${x} %%{y}\nEOF", "${x} %{y}\n"),
        ("<<E\nE", ""),
    ],
)
def test_a_literal_is_what_it_says(text: str, value: Value) -> None:
    assert value_of(text) == value


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("var.x", (Reference(("var", "x")),)),
        ('"${var.x}"', (Reference(("var", "x")),)),
        ("NOMAD_META_a", (Reference(("NOMAD_META_a",)),)),
        ('env["HOME"]', (Reference(("env", "HOME")),)),
        ("attr.a.b-c", (Reference(("attr", "a", "b-c")),)),
        ('"a ${env["X"]}-${y} b"', ("a ", Reference(("env", "X")), "-", Reference(("y",)), " b")),
        ('<<EOF\nsay ${env["X"]}\nEOF', ("say ", Reference(("env", "X")), "\n")),
    ],
)
def test_a_reference_is_kept_until_its_value_is_known(
    text: str, parts: tuple[str | Reference, ...]
) -> None:
    assert value_of(text) == Template(parts)


@pytest.mark.parametrize(
    "text",
    ["1 + 2", 'upper("x")', "[for x in y : x]", "x ? 1 : 2", '"%{if x}y%{endif}"', "a[0][*]"],
)
def test_an_expression_that_only_nomad_evaluates_is_marked(text: str) -> None:
    assert isinstance(value_of(text), Unsupported)


def test_blocks_know_labels_lines_and_order() -> None:
    body = parse('a "x" y {\n  b {\n    c = 1\n  }\n}\na "z" {}\n', path="f")
    first, second = body.blocks
    assert (first.labels, first.line, second.labels, second.line) == (("x", "y"), 1, ("z",), 6)
    assert first.title == 'a "x" "y"'
    assert first.blocks[0].attributes["c"].line == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('job "x" {\n  a = \n}', "f:2: not HCL"),
        ("a = ^", "f:1: not HCL at '^'"),
        ("a {", "f:1: not HCL: the line ends too early"),
        ("a = 1\na = 2", 'f:2: "a" is set twice'),
        (r'a = "\q"', r"f:1: \q is not an escape"),
        (r'a = "\ud800"', "f:1: "),
        ("\n\na = <<E\n${a b}\nE\n", "f:3: in the heredoc: 'a b' is not an HCL expression"),
        ('a "${b}" {}', "f:1: "),
        ("a = " + "[" * 3000 + "]" * 3000, "f:1: "),
    ],
)
def test_an_error_names_file_and_line(text: str, message: str) -> None:
    with pytest.raises(JobError) as caught:
        parse(text, path="f")
    assert str(caught.value).startswith(message)


def test_line_ends_of_other_systems_are_accepted() -> None:
    body = parse('a = <<EOF\r\nx\r\nEOF\r\nb = "y"\r\n', path="f")
    assert body.attributes["a"].value == "x\n"
    assert body.attributes["b"].value == "y"


@given(st.text(max_size=40))
def test_nothing_but_a_job_error_is_raised(text: str) -> None:
    with contextlib.suppress(JobError):
        assert isinstance(parse(text, path="f"), Block)


@given(st.text(alphabet='a1"${}[]<=-\\\n.,E', max_size=25))
def test_nothing_but_a_job_error_is_raised_for_text_that_looks_like_hcl(text: str) -> None:
    with contextlib.suppress(JobError):
        assert isinstance(parse(f"x = {text}", path="f"), Block)


def test_a_value_outside_of_a_file_is_read() -> None:
    assert parse_expression('["a", 1]') == ["a", 1]
    with pytest.raises(ValueError, match="is not an HCL expression"):
        parse_expression("[")
