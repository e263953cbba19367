"""Bytes worked out by hand from the field numbers: what a Nomad agent sends and expects."""

from __future__ import annotations

import base64

import pytest
from google.protobuf.message import Message

from trio_driver import hcl
from trio_driver._proto import (
    base_pb2,
    driver_pb2,
    hclspec_pb2,
    recoverable_error_pb2,
    status_pb2,
)
from trio_driver._proto.driver_pb2 import DriverCapabilities, FingerprintResponse
from trio_driver._proto.driver_pb2 import NetworkIsolationSpec as Isolation

PLUGIN_INFO = "0802120676302e312e301a05302e312e3022086d79647269766572"
CAPABILITIES = "0a0a08011001220200013001"
FINGERPRINT = "0a150a0f6472697665722e6d796472697665721202200110021a074865616c746879"
TASK_SCHEMA = (
    "0a690a670a200a07636f6d6d616e6412151a130a07636f6d6d616e641206737472696e6718010a1e0a04617267"
    "7312161a140a0461726773120c6c69737428737472696e67290a230a03747479121c4a1a0a0d1a0b0a03747479"
    "1204626f6f6c120952070a0566616c7365"
)
CONFIG = "83a46172677392a22d63a178a7636f6d6d616e64a72f62696e2f7368a3747479c2"
CONFIG_WITHOUT_ARGS = "83a461726773c0a7636f6d6d616e64a72f62696e2f7368a3747479c2"
FAILED_RECOVERABLE = (
    "CAkSEWltYWdlIHB1bGwgZmFpbGVkGlEKS3R5cGUuZ29vZ2xlYXBpcy5jb20vaGFzaGljb3JwLm5vbWFkLnBsdWdpbn"
    "Muc2hhcmVkLnN0cnVjdHMuUmVjb3ZlcmFibGVFcnJvchICCAE"
)
FAILED_FOR_GOOD = (
    "CAkSEWltYWdlIHB1bGwgZmFpbGVkGk0KS3R5cGUuZ29vZ2xlYXBpcy5jb20vaGFzaGljb3JwLm5vbWFkLnBsdWdpbn"
    "Muc2hhcmVkLnN0cnVjdHMuUmVjb3ZlcmFibGVFcnJvcg"
)


def task_schema() -> driver_pb2.TaskConfigSchemaResponse:
    response = driver_pb2.TaskConfigSchemaResponse()
    attributes = response.spec.object.attributes
    attributes["command"].Attr.MergeFrom(
        hclspec_pb2.Attr(name="command", type="string", required=True)
    )
    attributes["args"].Attr.MergeFrom(hclspec_pb2.Attr(name="args", type="list(string)"))
    default = attributes["tty"].default
    default.primary.Attr.MergeFrom(hclspec_pb2.Attr(name="tty", type="bool"))
    default.default.literal.value = "false"
    return response


def failure(*, recoverable: bool) -> status_pb2.Status:
    status = status_pb2.Status(code=9, message="image pull failed")
    status.details.add().Pack(recoverable_error_pb2.RecoverableError(recoverable=recoverable))
    return status


@pytest.mark.parametrize(
    ("message", "golden"),
    [
        pytest.param(
            base_pb2.PluginInfoResponse(
                type=base_pb2.DRIVER,
                plugin_api_versions=["v0.1.0"],
                plugin_version="0.1.0",
                name="mydriver",
            ),
            PLUGIN_INFO,
            id="PluginInfoResponse",
        ),
        pytest.param(
            driver_pb2.CapabilitiesResponse(
                capabilities=DriverCapabilities(
                    send_signals=True,
                    exec=True,
                    fs_isolation=DriverCapabilities.NONE,
                    network_isolation_modes=[Isolation.HOST, Isolation.GROUP],
                    mount_configs=DriverCapabilities.NO_MOUNTS,
                )
            ),
            CAPABILITIES,
            id="CapabilitiesResponse",
        ),
        pytest.param(
            FingerprintResponse(
                attributes={"driver.mydriver": {"bool_val": True}},  # pyright: ignore[reportArgumentType]
                health=FingerprintResponse.HEALTHY,
                health_description="Healthy",
            ),
            FINGERPRINT,
            id="FingerprintResponse",
        ),
    ],
)
def test_a_message_has_the_golden_bytes(message: Message, golden: str) -> None:
    assert message.SerializeToString(deterministic=True).hex() == golden
    assert type(message).FromString(bytes.fromhex(golden)) == message


def test_the_golden_schema_is_read_as_it_was_meant() -> None:
    # The order of map entries is free, so only its meaning and its length are compared.
    golden = bytes.fromhex(TASK_SCHEMA)
    assert driver_pb2.TaskConfigSchemaResponse.FromString(golden) == task_schema()
    assert len(task_schema().SerializeToString()) == len(golden) == 0x6B


@pytest.mark.parametrize(
    ("recoverable", "golden"), [(True, FAILED_RECOVERABLE), (False, FAILED_FOR_GOOD)]
)
def test_a_failure_says_whether_a_retry_may_help(recoverable: bool, golden: str) -> None:
    serialized = failure(recoverable=recoverable).SerializeToString()
    assert base64.b64encode(serialized).rstrip(b"=").decode() == golden


@pytest.mark.parametrize(
    ("value", "golden"),
    [
        ({"command": "/bin/sh", "args": ["-c", "x"]}, CONFIG),
        ({"command": "/bin/sh"}, CONFIG_WITHOUT_ARGS),
    ],
)
def test_a_config_is_encoded_as_the_agent_does_it(value: object, golden: str) -> None:
    assert hcl.encode(task_schema().spec, value).hex() == golden
