"""The handshake line and the environment that asks for it."""

from __future__ import annotations

import contextlib
from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_driver.goplugin import (
    CookieError,
    Handshake,
    HandshakeError,
    PluginEnvironment,
    host_environment,
)

addresses = st.text(st.characters(codec="utf-8", exclude_characters="|\r\n"), min_size=1).filter(
    lambda text: text == text.strip() and len(text.splitlines()) == 1
)
handshakes = st.builds(
    Handshake,
    app_version=st.just(2),
    network=st.sampled_from(("unix", "tcp")),
    address=addresses,
    multiplexing=st.sampled_from((None, True, False)),
)


def test_the_line_is_the_one_that_agents_expect() -> None:
    handshake = Handshake(app_version=2, network="unix", address="/tmp/plugin123456789")
    assert handshake.encode() == "1|2|unix|/tmp/plugin123456789|grpc|\n"


@given(handshakes)
def test_what_is_encoded_is_parsed_again(handshake: Handshake) -> None:
    line = handshake.encode()
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert Handshake.parse(line) == handshake


@given(st.text())
@example("1|2|unix|/tmp/x|grpc|")
@example("²|2|unix|/tmp/x|grpc")
def test_parsing_any_text_raises_nothing_but_its_own_error(line: str) -> None:
    with contextlib.suppress(HandshakeError):
        assert Handshake.parse(line).network in ("unix", "tcp")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "no handshake"),
        ("pygame 2.1 says hello", "no handshake"),
        ("1|2|unix", "no handshake"),
        ("x|2|unix|/tmp/s|grpc", "no handshake"),
        ("2|2|unix|/tmp/s|grpc", "core protocol version 2; accepted: 1"),
        ("1|1|unix|/tmp/s|grpc", "plugin protocol version '1'; accepted: 2"),
        ("1|2|udp|/tmp/s|grpc", "network 'udp'; accepted: unix, tcp"),
        ("1|2|unix||grpc", "address is empty"),
        ("1|2|unix|/tmp/s", "'netrpc'; accepted: grpc"),
        ("1|2|unix|/tmp/s|netrpc", "'netrpc'; accepted: grpc"),
        ("1|2|unix|/tmp/s|grpc|" + "A" * 51, "TLS"),
    ],
)
def test_a_line_that_an_agent_refuses_is_refused(line: str, reason: str) -> None:
    with pytest.raises(HandshakeError, match=reason.replace("|", r"\|")):
        Handshake.parse(line)


@pytest.mark.parametrize("rest", ["", "|", "|short text of old versions", "||false", "||1"])
def test_a_line_that_an_agent_accepts_is_accepted(rest: str) -> None:
    assert Handshake.parse(f"1|2|tcp|127.0.0.1:10000|grpc{rest}\n").address == "127.0.0.1:10000"


@pytest.mark.parametrize("address", ["", "/tmp/a|b", "/tmp/a\nb"])
def test_an_address_that_would_break_the_line_is_refused(address: str) -> None:
    with pytest.raises(HandshakeError):
        Handshake(app_version=2, network="unix", address=address).encode()


@pytest.mark.parametrize("cookie", [None, "", "wrong"])
def test_no_cookie_means_that_no_agent_started_us(cookie: str | None) -> None:
    environ = host_environment()
    del environ["NOMAD_PLUGIN_MAGIC_COOKIE"]
    if cookie is not None:
        environ["NOMAD_PLUGIN_MAGIC_COOKIE"] = cookie
    with pytest.raises(CookieError, match="plugin_dir"):
        PluginEnvironment.parse(environ)


@pytest.mark.parametrize(
    ("versions", "ignored"),
    [("2", ()), ("1,2", ()), ("2, 9,1", ()), ("7", ()), ("", ()), ("two,2,-1", ("two", "-1"))],
)
def test_the_version_is_ours_whatever_the_host_lists(
    versions: str, ignored: tuple[str, ...]
) -> None:
    environment = PluginEnvironment.parse(
        host_environment() | {"PLUGIN_PROTOCOL_VERSIONS": versions}
    )
    assert environment.app_version == 2
    assert environment.ignored_versions == ignored


@pytest.mark.parametrize(
    ("variables", "directories"),
    [
        ({}, ["/tmp"]),
        ({"TMPDIR": "/var/tmp"}, ["/var/tmp", "/tmp"]),
        ({"TMPDIR": "relative"}, ["/tmp"]),
        ({"TMPDIR": "/var/tmp", "PLUGIN_UNIX_SOCKET_DIR": "/run/host"}, ["/run/host"]),
    ],
)
def test_the_socket_goes_where_the_host_looks(
    variables: dict[str, str], directories: list[str]
) -> None:
    environment = PluginEnvironment.parse(host_environment() | variables)
    assert environment.socket_paths("s") == [PurePosixPath(name) / "s" for name in directories]


def test_a_temporary_directory_that_is_too_long_for_a_socket_is_skipped() -> None:
    long = "/" + "d" * 107
    environment = PluginEnvironment.parse(host_environment() | {"TMPDIR": long})
    assert environment.socket_paths("s") == [PurePosixPath("/tmp/s")]
    environment = PluginEnvironment.parse(host_environment() | {"PLUGIN_UNIX_SOCKET_DIR": long})
    with pytest.raises(HandshakeError, match="107 bytes"):
        environment.socket_paths("s")


@pytest.mark.parametrize(
    ("offer", "end"), [({}, "grpc|\n"), ({"PLUGIN_MULTIPLEX_GRPC": "true"}, "grpc||false\n")]
)
def test_the_seventh_field_is_only_for_hosts_that_know_it(offer: dict[str, str], end: str) -> None:
    environment = PluginEnvironment.parse(host_environment() | offer)
    assert environment.handshake(PurePosixPath("/tmp/s")).encode().endswith(end)
