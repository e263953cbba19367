"""A driver plugin, launched and made ready for tasks as an agent does it.

Owns the order of the first calls (nomad-protocol §2.3) and the two streams that an agent keeps
open as long as it uses a driver: to the plugin they mean "my agent is there".

Rules:
- Every call that a healthy plugin answers at once has a deadline, unlike an agent's: a person
  waits.
- What the plugin says about itself is checked as an agent checks it.

Must not know: jobs, allocation directories.
"""

import contextlib
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import trio

from trio_driver._proto import (
    attribute_pb2,
    base_grpc,
    base_pb2,
    driver_grpc,
    driver_pb2,
    hclspec_pb2,
)
from trio_driver.cli.errors import JobError, RunError
from trio_driver.cli.guardian import Guardian
from trio_driver.cli.node import Node
from trio_driver.cli.report import Report, Tone, join_fields
from trio_driver.cli.templates import render
from trio_driver.cli.values import Plain, UnresolvedError, text_of
from trio_driver.goplugin import (
    HandshakeError,
    Level,
    LogRecord,
    PluginClient,
    ReattachConfig,
    open_plugin,
)
from trio_driver.hcl import ConfigError, encode
from trio_driver.rpc import RpcError, StatusCode

API_VERSION = "v0.1.0"
"""The only version of the driver API there is."""

ANSWER_LIMIT_S = 30.0
"""For calls that are answered at once; generous, for the machine may be busy."""

FINGERPRINT_LIMIT_S = 50.0
"""An agent's patience for the first fingerprint."""

SHUTDOWN_LIMIT_S = 2.0
"""The deadline that an agent gives a driver's Shutdown."""

LOST_LIMIT_S = 3.0
"""How long an agent waits, after a connection broke, for the process to turn out dead."""

_LEVEL_TONES = {Level.WARN: Tone.WARN, Level.ERROR: Tone.BAD}

OnEvent = Callable[[driver_pb2.DriverTaskEvent], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Which plugin to run, and what to tell it."""

    command: tuple[str, ...]
    config: Mapping[str, Plain] | None = None
    node: Node
    environ: Mapping[str, str]
    report: Report
    guardian: Guardian
    on_event: OnEvent = field(default=lambda _event: None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """A driver that can be given tasks."""

    client: PluginClient
    stub: driver_grpc.DriverStub
    name: str
    version: str
    task_spec: hclspec_pb2.Spec
    capabilities: driver_pb2.DriverCapabilities
    attributes: Mapping[str, str]

    async def wait_lost(self) -> int | None:
        """Wait until the process has ended; its status as `subprocess` gives it."""
        return await self.client.wait_exited()

    async def is_lost(self, error: RpcError) -> bool:
        """Whether `error` means that the plugin has died, which may take a moment to show."""
        if error.code not in (StatusCode.UNAVAILABLE, StatusCode.CANCELLED):
            return False
        with trio.move_on_after(LOST_LIMIT_S):
            await self.wait_lost()
            return True
        return False


@asynccontextmanager
async def open_driver(launch: Launch) -> AsyncGenerator[Driver]:
    """Launch a plugin and bring it to the point where it takes tasks.

    Leaving the block asks the driver, then the plugin, to shut down, and waits until the process is
    gone; it is killed when it does not go. Tasks are not its business.

    Raises:
        RunError: it does not start, is no driver, is not healthy.
        JobError: it refused its configuration.
    """
    report = launch.report
    async with _open_client(launch) as client:
        launch.guardian.plugin(client.reattach_config)
        name, version, api_version = await identify_plugin(client)
        report.say("plugin", f"{name} {version} runs as pid {client.process.pid}")
        await _configure(client, launch, api_version)
        stub = driver_grpc.DriverStub(client.channel)
        await _init(stub)
        async with trio.open_nursery() as nursery:
            first = await nursery.start(_watch_fingerprint, stub, report)
            nursery.start_soon(_watch_events, stub, launch.on_event)
            yield Driver(
                client=client,
                stub=stub,
                name=name,
                version=version,
                task_spec=await _task_spec(stub),
                capabilities=await _capabilities(stub),
                attributes={key: _text(value) for key, value in first.attributes.items()},
            )
            await _shut_down(stub)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def _open_client(launch: Launch) -> AsyncGenerator[PluginClient]:
    def log(record: LogRecord) -> None:
        tone = _LEVEL_TONES.get(record.level, Tone.DETAIL)
        launch.report.say("plugin", f"{record.message}{join_fields(record.fields)}", tone=tone)

    address: ReattachConfig | None = None
    try:
        async with open_plugin(launch.command, env=launch.environ, on_log=log) as client:
            address = client.reattach_config
            yield client
    except (HandshakeError, OSError) as error:
        # Of starting alone: what the block raises comes in an ExceptionGroup.
        raise RunError(f"plugin {launch.command[0]}: {error}") from None
    finally:
        if address is not None:
            _remove_socket(address)


def _remove_socket(address: ReattachConfig) -> None:
    """Remove what a plugin that was killed could not remove itself."""
    with contextlib.suppress(OSError):
        if address.network == "unix" and stat.S_ISSOCK(os.lstat(address.addr).st_mode):
            os.unlink(address.addr)


async def identify_plugin(client: PluginClient) -> tuple[str, str, str]:
    """Name, version and API version of the plugin, checked as an agent checks them.

    Raises:
        RunError: it does not answer, or is nothing that an agent uses.
    """
    stub = base_grpc.BasePluginStub(client.channel)
    with _called("PluginInfo"):
        info = await stub.PluginInfo(base_pb2.PluginInfoRequest(), deadline_s=ANSWER_LIMIT_S)
    if info.type != base_pb2.DRIVER:
        raise RunError(f"plugin {info.name}: is no task driver")
    if API_VERSION not in info.plugin_api_versions:
        spoken = ", ".join(info.plugin_api_versions)
        raise RunError(f"plugin {info.name}: speaks API {spoken or 'nothing'}, not {API_VERSION}")
    return info.name, info.plugin_version, API_VERSION


async def _configure(client: PluginClient, launch: Launch, api_version: str) -> None:
    """ConfigSchema and SetConfig."""
    stub = base_grpc.BasePluginStub(client.channel)
    with _called("ConfigSchema"):
        schema = await stub.ConfigSchema(base_pb2.ConfigSchemaRequest(), deadline_s=ANSWER_LIMIT_S)
    packed = b""
    if schema.spec.WhichOneof("block") is not None:
        try:
            config = {name: render(value, {}) for name, value in (launch.config or {}).items()}
            packed = encode(schema.spec, config, path="config")
        except (ConfigError, UnresolvedError) as error:
            raise JobError(f"plugin config: {error}") from None
    elif launch.config is not None:
        raise JobError("plugin config: this plugin takes none")
    request = base_pb2.SetConfigRequest(
        msgpack_config=packed,
        nomad_config=launch.node.nomad_config(),
        plugin_api_version=api_version,
    )
    with _called("SetConfig"):
        await stub.SetConfig(request, deadline_s=ANSWER_LIMIT_S)


async def _init(stub: driver_grpc.DriverStub) -> None:
    with _called("Init", optional=True):
        await stub.Init(driver_pb2.InitRequest(), deadline_s=ANSWER_LIMIT_S)


async def _task_spec(stub: driver_grpc.DriverStub) -> hclspec_pb2.Spec:
    request = driver_pb2.TaskConfigSchemaRequest()
    with _called("TaskConfigSchema"):
        return (await stub.TaskConfigSchema(request, deadline_s=ANSWER_LIMIT_S)).spec


async def _capabilities(stub: driver_grpc.DriverStub) -> driver_pb2.DriverCapabilities:
    request = driver_pb2.CapabilitiesRequest()
    with _called("Capabilities"):
        return (await stub.Capabilities(request, deadline_s=ANSWER_LIMIT_S)).capabilities


async def _shut_down(stub: driver_grpc.DriverStub) -> None:
    """Tell the driver that its agent goes; the process is ended afterwards, answer or not."""
    with contextlib.suppress(RpcError):
        await stub.Shutdown(driver_pb2.ShutdownRequest(), deadline_s=SHUTDOWN_LIMIT_S)


async def _watch_fingerprint(
    stub: driver_grpc.DriverStub,
    report: Report,
    *,
    task_status: trio.TaskStatus[driver_pb2.FingerprintResponse],
) -> None:
    """Keep the stream open; started with the first fingerprint, once it is healthy."""
    async with stub.Fingerprint(driver_pb2.FingerprintRequest()) as stream:
        with _called("Fingerprint"):
            first = await _first_fingerprint(stream)
        _check_health(first)
        attributes = {key: _text(value) for key, value in first.attributes.items()}
        report.say("plugin", f"is healthy{join_fields(attributes)}", tone=Tone.GOOD)
        task_status.started(first)
        with contextlib.suppress(RpcError):  # the plugin has ended: somebody else waits for that
            async for change in stream:
                name = driver_pb2.FingerprintResponse.HealthState.Name(change.health).lower()
                report.say("plugin", f"is {name}: {change.health_description}", tone=Tone.WARN)


async def _first_fingerprint(
    stream: AsyncIterator[driver_pb2.FingerprintResponse],
) -> driver_pb2.FingerprintResponse:
    with trio.move_on_after(FINGERPRINT_LIMIT_S):
        if (first := await anext(stream, None)) is not None:
            return first
        raise RunError("plugin: ended its Fingerprint stream; an agent would loop on that")
    raise RunError(f"plugin: no fingerprint within {FINGERPRINT_LIMIT_S:.0f} s")


def _check_health(fingerprint: driver_pb2.FingerprintResponse) -> None:
    if fingerprint.err:
        raise RunError(f"plugin: Fingerprint: {fingerprint.err}")
    if fingerprint.health != driver_pb2.FingerprintResponse.HEALTHY:
        name = driver_pb2.FingerprintResponse.HealthState.Name(fingerprint.health).lower()
        raise RunError(f"plugin: is {name}: {fingerprint.health_description or 'no reason given'}")


async def _watch_events(stub: driver_grpc.DriverStub, on_event: OnEvent) -> None:
    """Keep the stream open; a plugin that does not know it, or dies, ends it."""
    with contextlib.suppress(RpcError):
        async with stub.TaskEvents(driver_pb2.TaskEventsRequest()) as events:
            async for event in events:
                on_event(event)


@contextmanager
def _called(method: str, *, optional: bool = False) -> Generator[None]:
    """Turn the failure of a call into words; `optional` calls may be unknown to the plugin."""
    try:
        yield
    except RpcError as error:
        if not (optional and error.code is StatusCode.UNIMPLEMENTED):
            raise RunError(f"plugin: {method}: {error.message or error.code.name}") from None


def _text(attribute: attribute_pb2.Attribute) -> str:
    """A node attribute as text, with its unit."""
    kind = attribute.WhichOneof("value")
    value = "" if kind is None else text_of(getattr(attribute, kind))
    return f"{value} {attribute.unit}".strip()
