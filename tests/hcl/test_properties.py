"""What holds for every configuration class and every input."""

from __future__ import annotations

import contextlib
from typing import Annotated, Literal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hcl.strategies import Case, cases, classes
from trio_driver import hcl
from trio_driver.hcl.agent.schema import read_schema


class Port(msgspec.Struct, frozen=True):
    label: str
    to: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 80


class Config(msgspec.Struct, frozen=True, kw_only=True):
    command: str
    args: list[str] = []
    ratio: float = 0.5
    mode: Literal["a", "b"] = "a"
    grace_s: hcl.Duration = msgspec.field(name="grace", default=5)
    env: dict[str, int] = {}
    port: list[Port] = []
    volume: dict[str, Port] = {}


@settings(deadline=None)
@given(cases())
def test_what_a_job_says_arrives_in_the_instance(case: Case) -> None:
    encoded = hcl.encode(hcl.spec_of(case.cls), case.written)
    assert hcl.decode(case.cls, encoded) == case.instance


@settings(deadline=None)
@given(classes())
def test_no_agent_would_refuse_the_schema_of_a_class(cls: type[msgspec.Struct]) -> None:
    read_schema(hcl.spec_of(cls))


@given(st.binary(max_size=64))
def test_decoding_arbitrary_bytes_raises_nothing_but_config_error(data: bytes) -> None:
    with contextlib.suppress(hcl.ConfigError):
        hcl.decode(Config, data)


wire_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text()
    | st.binary(max_size=4)
    | st.sampled_from(["0.1", "1e5", "9" * 5000, "90s", "-1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["command", "args", "ratio", "mode", "grace", "env", "port", "volume", "other"]
        ),
        wire_values,
    )
)
def test_decoding_arbitrary_values_raises_nothing_but_config_error(value: object) -> None:
    with contextlib.suppress(hcl.ConfigError):
        config = hcl.decode(Config, msgspec.msgpack.encode(value))
        # What is accepted has the declared types.
        msgspec.convert(msgspec.to_builtins(config), Config)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["command", "args", "ratio", "env", "port", "volume", "x"]), wire_values
    )
)
def test_encoding_arbitrary_values_raises_nothing_but_config_error(value: object) -> None:
    with contextlib.suppress(hcl.ConfigError):
        encoded = hcl.encode(hcl.spec_of(Config), value)
        assert isinstance(msgspec.msgpack.decode(encoded), dict)


@given(st.floats(0, 1e9))
def test_a_duration_survives_being_written_to_a_nanosecond(seconds: float) -> None:
    class OneDuration(msgspec.Struct):
        d: hcl.Duration = seconds

    written = hcl.decode(OneDuration, hcl.encode(hcl.spec_of(OneDuration), {})).d
    assert abs(written - seconds) <= 1e-9 + seconds * 1e-15
