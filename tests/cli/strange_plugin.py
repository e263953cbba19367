"""A plugin that does one thing differently from what it should, named by the variable STRANGE."""

import os
from collections.abc import AsyncIterator

import trio

from trio_driver._proto import base_grpc, base_pb2, driver_grpc, driver_pb2, hclspec_pb2
from trio_driver._proto.interfaces import Call
from trio_driver.goplugin import prepare_process_once, serve_plugin
from trio_driver.rpc import RpcError, StatusCode

STRANGE = os.environ.get("STRANGE", "")


class Base(base_grpc.BasePluginServicer):
    """Says what it is."""

    async def PluginInfo(
        self, input_message: base_pb2.PluginInfoRequest, request: Call
    ) -> base_pb2.PluginInfoResponse:
        return base_pb2.PluginInfoResponse(
            type=base_pb2.DEVICE if STRANGE == "device" else base_pb2.DRIVER,
            plugin_api_versions=["v0.2.0"] if STRANGE == "api" else ["v0.1.0"],
            plugin_version="1.0.0",
            name="strange",
        )

    async def ConfigSchema(
        self, input_message: base_pb2.ConfigSchemaRequest, request: Call
    ) -> base_pb2.ConfigSchemaResponse:
        return base_pb2.ConfigSchemaResponse()

    async def SetConfig(
        self, input_message: base_pb2.SetConfigRequest, request: Call
    ) -> base_pb2.SetConfigResponse:
        if STRANGE == "config":
            raise RpcError(StatusCode.UNKNOWN, "I do not like it")
        cores = len(input_message.nomad_config.driver.Topology.cores)
        if STRANGE == "topology":
            raise RpcError(StatusCode.UNKNOWN, f"{cores} cores, {input_message.plugin_api_version}")
        return base_pb2.SetConfigResponse()


class Driver(driver_grpc.DriverServicer):
    """Every task ends at once; there is no Init, and no TaskEvents."""

    async def Fingerprint(
        self, input_message: driver_pb2.FingerprintRequest, request: Call
    ) -> AsyncIterator[driver_pb2.FingerprintResponse]:
        if STRANGE == "fingerprint":
            return
        health = driver_pb2.FingerprintResponse.HEALTHY
        if STRANGE == "health":
            health = driver_pb2.FingerprintResponse.UNHEALTHY
        yield driver_pb2.FingerprintResponse(health=health, health_description="so so")
        await trio.sleep_forever()

    async def TaskConfigSchema(
        self, input_message: driver_pb2.TaskConfigSchemaRequest, request: Call
    ) -> driver_pb2.TaskConfigSchemaResponse:
        command = hclspec_pb2.Spec(Attr=hclspec_pb2.Attr(name="command", type="string"))
        fields = hclspec_pb2.Object(attributes={"command": command})
        return driver_pb2.TaskConfigSchemaResponse(spec=hclspec_pb2.Spec(object=fields))

    async def Capabilities(
        self, input_message: driver_pb2.CapabilitiesRequest, request: Call
    ) -> driver_pb2.CapabilitiesResponse:
        capabilities = driver_pb2.DriverCapabilities(disable_log_collection=True)
        if STRANGE == "chroot":
            capabilities.fs_isolation = driver_pb2.DriverCapabilities.CHROOT
        return driver_pb2.CapabilitiesResponse(capabilities=capabilities)

    async def StartTask(
        self, input_message: driver_pb2.StartTaskRequest, request: Call
    ) -> driver_pb2.StartTaskResponse:
        if STRANGE == "start":
            raise RpcError(StatusCode.UNKNOWN, "no task today")
        if STRANGE == "hang":
            await trio.sleep_forever()
        if STRANGE == "handle":
            return driver_pb2.StartTaskResponse()
        handle = driver_pb2.TaskHandle(version=1, config=input_message.task)
        return driver_pb2.StartTaskResponse(handle=handle)

    async def WaitTask(
        self, input_message: driver_pb2.WaitTaskRequest, request: Call
    ) -> driver_pb2.WaitTaskResponse:
        if STRANGE == "die":
            os._exit(3)
        if STRANGE == "wait":
            await trio.sleep_forever()
        result = driver_pb2.ExitResult(exit_code=-1 if STRANGE == "lost" else 0)
        return driver_pb2.WaitTaskResponse(result=result, err="gone" if STRANGE == "lost" else "")

    async def RecoverTask(
        self, input_message: driver_pb2.RecoverTaskRequest, request: Call
    ) -> driver_pb2.RecoverTaskResponse:
        return driver_pb2.RecoverTaskResponse()


async def _serve() -> None:
    await serve_plugin([Base(), Driver()], process=prepare_process_once())


def main() -> None:
    """Be the plugin."""
    trio.run(_serve)
