"""Texts of a `config` block as the client evaluates them when the task starts.

The second of Nomad's two evaluations (see `values`); the first has left references as `${name}`.

Source: nomad-protocol §3.4. Must not know: where names come from.
"""

from collections.abc import Mapping

from trio_driver.cli.hcl_file import parse_template
from trio_driver.cli.values import Plain, Reference, Template, UnresolvedError, Unsupported


def render(value: Plain, variables: Mapping[str, str]) -> Plain:
    """`value` with all its texts evaluated.

    Raises:
        UnresolvedError: a name has no value, or an expression is not supported.
    """
    match value:
        case str():
            return _render_text(value, variables)
        case list():
            return [render(item, variables) for item in value]
        case dict():
            return {key: render(item, variables) for key, item in value.items()}
        case _:
            return value


def _render_text(text: str, variables: Mapping[str, str]) -> str:
    if "${" not in text and "%{" not in text:
        return text
    match parse_template(text):
        case Template(parts):
            return "".join(
                _value_of(part, variables) if isinstance(part, Reference) else part
                for part in parts
            )
        case Unsupported(expression):
            raise UnresolvedError(
                f"the expression `{expression}` is not supported here; accepted are names "
                'such as ${NOMAD_TASK_NAME}, ${env["NAME"]}'
            )
        case literal:
            return str(literal)


def _value_of(reference: Reference, variables: Mapping[str, str]) -> str:
    match reference.path:
        case ("env", name):
            pass
        case path:
            name = ".".join(path)
    if name in variables:
        return variables[name]
    raise UnresolvedError(f'no variable named "{reference}"; {_hint(reference)}')


def _hint(reference: Reference) -> str:
    match reference.path:
        case ("meta", *rest):
            name = ".".join(rest)
            return f"meta is the node's (--node-meta {name}=...), the job's is NOMAD_META_{name}"
        case _:
            return f"to pass the text ${{{reference}}} to the task write $$${{{reference}}}"
