"""Handshake: what agent and plugin tell each other before the first connection.

Owns the environment variables that a go-plugin host sets, and the one line that the plugin
answers on stdout. Both directions are here, so that a test can hold one against the other.

Rules:
- Sans-IO: values in, values out. Nobody's environment, file or clock is touched.
- Everything that comes from the other side is checked; the only error is `HandshakeError`
  (`CookieError` for a plugin that no agent started).

Must not know: sockets, processes, Trio.

Source: nomad-protocol §1.1, §1.2, §1.5 (go-plugin server.go, client.go).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Network: TypeAlias = Literal["unix", "tcp"]
"""The kinds of address that go-plugin clients dial."""

NOMAD_COOKIE_NAME: Final = "NOMAD_PLUGIN_MAGIC_COOKIE"
NOMAD_COOKIE: Final = "e4327c2e01eabfd75a8a67adb114fb34a757d57eee7728d857a8cec6e91a7255"
"""Proves nothing but that a Nomad agent, and no person at a shell, started the plugin."""

CORE_VERSION: Final = 1
"""Version of the handshake line itself."""

APP_VERSIONS: Final = frozenset({2})
"""Plugin protocol versions spoken here: 2 is Nomad's since 0.9, 1 was net/rpc."""

SOCKET_PATH_LIMIT_BYTES: Final = 107
"""sockaddr_un.sun_path holds 108 bytes with the closing zero (unix(7))."""

DEFAULT_SOCKET_DIRECTORY: Final = PurePosixPath("/tmp")

_CERTIFICATE_MIN_LENGTH: Final = 50
"""Hosts take a shorter sixth field for something else and ignore it (nomad-protocol §1.5)."""

_COOKIE_HINT: Final = (
    "This program is a Nomad task driver plugin: a Nomad client agent starts it, people do not.\n"
    "Put it into the agent's plugin_dir; jobs then ask for it with `driver = ...`.\n"
)


class HandshakeError(Exception):
    """The other side did not keep to the handshake, or there was none.

    `diagnostics` is what helps a person to find out why, possibly several lines, possibly empty.
    """

    def __init__(self, message: str, *, diagnostics: str = "") -> None:
        super().__init__(message, diagnostics)
        self.message = message
        self.diagnostics = diagnostics

    def __str__(self) -> str:
        return f"{self.message}\n{self.diagnostics}" if self.diagnostics else self.message


class CookieError(HandshakeError):
    """No Nomad agent started this process; the text is a hint for the person who did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """What the host needs to reach the plugin."""

    app_version: int
    network: Network
    address: str
    multiplexing: bool | None = None
    """Whether the broker may share the connection.

    None leaves the field away: to hosts before go-plugin 1.6 a seventh is part of the sixth.
    """

    def encode(self) -> str:
        """The line for stdout, with its newline.

        Raises:
            HandshakeError: the address cannot be put into a line of this form.
        """
        if not self.address or any(sign in self.address for sign in "|\r\n"):
            raise HandshakeError(f"an address of a handshake cannot be {self.address!r}")
        fields = [str(CORE_VERSION), str(self.app_version), self.network, self.address, "grpc", ""]
        if self.multiplexing is not None:
            fields.append("true" if self.multiplexing else "false")
        return "|".join(fields) + "\n"

    @classmethod
    def parse(cls, line: str) -> Handshake:
        """Read a plugin's first line of stdout, as strictly as an agent does.

        Raises:
            HandshakeError: not a handshake line, or one of a plugin that Nomad would refuse.
        """
        fields = line.strip().split("|")
        if len(fields) < 4 or not _is_number(fields[0]):
            raise HandshakeError(f"the first line on stdout is no handshake: {line.strip()!r}")
        core, version, network, address, *rest = fields
        protocol, certificate, mux = (*rest, "", "", "")[:3]
        if int(core) != CORE_VERSION:
            raise HandshakeError(f"core protocol version {core}; accepted: {CORE_VERSION}")
        if not _is_number(version) or int(version) not in APP_VERSIONS:
            raise HandshakeError(f"plugin protocol version {version!r}; accepted: {_accepted()}")
        if network not in ("unix", "tcp"):
            raise HandshakeError(f"network {network!r}; accepted: unix, tcp")
        if not address:
            raise HandshakeError("the address is empty")
        if protocol != "grpc":
            raise HandshakeError(f"protocol {protocol or 'netrpc'!r}; accepted: grpc")
        if len(certificate) > _CERTIFICATE_MIN_LENGTH:
            raise HandshakeError("the plugin insists on TLS, which Nomad's agent does not speak")
        return cls(
            app_version=int(version),
            network=network,
            address=address,
            multiplexing=_GO_BOOLEANS.get(mux),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginEnvironment:
    """What the agent asks for through environment variables."""

    app_version: int
    """The version to speak: the highest that both sides know, or our lowest when there is none."""
    socket_directories: tuple[PurePosixPath, ...]
    """Where the socket may be made, best first."""
    socket_group: str | None
    """Name or number of a group that may connect too."""
    offers_multiplexing: bool
    """The host knows the seventh field of the handshake."""
    wants_tls: bool
    """The host asks for mutual TLS, which Nomad never does; it is not spoken here."""
    ignored_versions: tuple[str, ...]
    """Items of the version list that are no numbers."""

    @classmethod
    def parse(cls, environ: Mapping[str, str]) -> PluginEnvironment:
        """Read what the agent set.

        Raises:
            CookieError: the cookie is missing or another's.
        """
        if environ.get(NOMAD_COOKIE_NAME) != NOMAD_COOKIE:
            raise CookieError(_COOKIE_HINT)
        items = [item.strip() for item in environ.get("PLUGIN_PROTOCOL_VERSIONS", "").split(",")]
        common = APP_VERSIONS & {int(item) for item in items if _is_number(item)}
        return cls(
            app_version=max(common, default=min(APP_VERSIONS)),
            socket_directories=_socket_directories(environ),
            socket_group=environ.get("PLUGIN_UNIX_SOCKET_GROUP") or None,
            offers_multiplexing=bool(environ.get("PLUGIN_MULTIPLEX_GRPC")),
            wants_tls=bool(environ.get("PLUGIN_CLIENT_CERT")),
            ignored_versions=tuple(item for item in items if item and not _is_number(item)),
        )

    def socket_paths(self, name: str) -> list[PurePosixPath]:
        """Where a socket called `name` may be bound, best first; never empty.

        Raises:
            HandshakeError: no directory leaves room for the name in a socket's address.
        """
        paths = [directory / name for directory in self.socket_directories]
        short = [path for path in paths if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT_BYTES]
        if not short:
            raise HandshakeError(
                f"the socket path {str(paths[0])!r} is longer than {SOCKET_PATH_LIMIT_BYTES} bytes;"
                " it needs a shorter directory"
            )
        return short

    def handshake(self, socket_path: PurePosixPath) -> Handshake:
        """The answer to this host for a server on `socket_path`."""
        return Handshake(
            app_version=self.app_version,
            network="unix",
            address=str(socket_path),
            multiplexing=False if self.offers_multiplexing else None,
        )


def host_environment() -> dict[str, str]:
    """The variables that an agent adds to its own environment for a plugin."""
    return {
        NOMAD_COOKIE_NAME: NOMAD_COOKIE,
        "PLUGIN_MIN_PORT": "10000",
        "PLUGIN_MAX_PORT": "25000",
        "PLUGIN_PROTOCOL_VERSIONS": _accepted(),
    }


def _socket_directories(environ: Mapping[str, str]) -> tuple[PurePosixPath, ...]:
    """A host with a runner of its own names the only place that it can reach."""
    if named := environ.get("PLUGIN_UNIX_SOCKET_DIR"):
        return (PurePosixPath(named),)
    temporary = environ.get("TMPDIR", "")
    # A relative TMPDIR is skipped: the agent would dial it from another working directory.
    first = (PurePosixPath(temporary),) if temporary.startswith("/") else ()
    return (*first, DEFAULT_SOCKET_DIRECTORY)


def _accepted() -> str:
    return ",".join(str(version) for version in sorted(APP_VERSIONS))


def _is_number(text: str) -> bool:
    """Short decimal digits: what the protocol's versions are made of."""
    return text.isascii() and text.isdecimal() and len(text) <= 9


_GO_BOOLEANS: Final = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
"""The spellings that Go's strconv.ParseBool accepts."""
