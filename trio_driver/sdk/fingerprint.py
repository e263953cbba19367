"""What the node shows of the driver.

Rules:
- The first message is sent at once, for the agent's start waits for it.
- Texts and values are stable: each change is an update of the node on the servers.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from trio_driver._proto import attribute_pb2, driver_pb2
from trio_driver.executor import host_tier
from trio_driver.model import Fingerprint, Health
from trio_driver.sdk.driver import AnyDriver


async def fingerprints(
    driver: AnyDriver,
) -> AsyncGenerator[driver_pb2.FingerprintResponse]:
    """One now, one on each change; ends when the driver has no more to tell."""
    if not driver.config.enabled:
        disabled = Fingerprint(health=Health.UNDETECTED, description="disabled")
        yield _response(disabled, {})
        return
    async with aclosing(driver.fingerprint()) as changes:
        async for fingerprint in changes:
            yield _response(fingerprint, _own_attributes(driver))


def _own_attributes(driver: AnyDriver) -> dict[str, str | bool]:
    prefix = f"driver.{driver.name}"
    return {
        prefix: True,
        f"{prefix}.version": driver.version,
        f"{prefix}.containment": host_tier().value,
    }


def _response(
    fingerprint: Fingerprint, own_attributes: Mapping[str, str | bool]
) -> driver_pb2.FingerprintResponse:
    attributes = (
        {**own_attributes, **fingerprint.attributes}
        if fingerprint.health is not Health.UNDETECTED
        else {}
    )
    return driver_pb2.FingerprintResponse(
        attributes={name: _attribute(value) for name, value in attributes.items()},
        health=fingerprint.health.name,
        health_description=fingerprint.description,
    )


def _attribute(value: str | float | bool) -> attribute_pb2.Attribute:
    match value:
        case bool():
            return attribute_pb2.Attribute(bool_val=value)
        case int():
            return attribute_pb2.Attribute(int_val=value)
        case float():
            return attribute_pb2.Attribute(float_val=value)
        case str():
            return attribute_pb2.Attribute(string_val=value)
