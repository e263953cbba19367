"""What an author declares, and what the plugin makes of it."""

from collections.abc import AsyncGenerator
from typing import Annotated, Any, cast

import msgspec
import pytest

from tests.support.plugins.scripted import Scripted, ScriptedConfig
from trio_driver import Driver, DriverError, PluginConfig, Task, TaskExit, hcl
from trio_driver._proto import base_pb2, recoverable_error_pb2
from trio_driver.drivers import TrioDriver
from trio_driver.model import (
    ConfigInvalidError,
    ExecutorLostError,
    Fingerprint,
    Health,
    LaunchError,
    TaskNotFoundError,
)
from trio_driver.rpc import RpcError, StatusCode
from trio_driver.sdk.base_service import compute_of
from trio_driver.sdk.driver import config_types
from trio_driver.sdk.edge import driver_errors_as_status, rpc_error_of
from trio_driver.sdk.fingerprint import fingerprints


class MoreOptions(PluginConfig, frozen=True, kw_only=True):
    """With one option of its own."""

    volume: Annotated[int, hcl.doc("How loud.")] = 3


class Inherits(Scripted):
    """Declared through its base."""


class WithOptions(Driver[MoreOptions, ScriptedConfig]):
    """Declared with configurations of its own."""

    name = "with-options"


class Undeclared(Driver):  # pyright: ignore[reportMissingTypeArgument]
    """Says nothing of its configurations."""

    name = "undeclared"


def test_configurations_are_found_where_they_were_declared() -> None:
    assert config_types(Scripted) == (PluginConfig, ScriptedConfig)
    assert config_types(Inherits) == (PluginConfig, ScriptedConfig)
    assert config_types(WithOptions) == (MoreOptions, ScriptedConfig)


def test_a_driver_that_declares_no_configurations_is_told_how() -> None:
    with pytest.raises(TypeError, match=r"class Undeclared\(Driver\[PluginConfig, TaskConfig\]\)"):
        config_types(Undeclared)


def test_options_of_the_framework_stand_beside_an_authors_own() -> None:
    config = hcl.decode(MoreOptions, b"\x80")
    assert (config.enabled, config.orphan_grace, config.volume) == (True, 600.0, 3)


async def test_a_driver_without_a_run_says_what_is_missing() -> None:
    driver = WithOptions(MoreOptions())
    with pytest.raises(NotImplementedError, match="WithOptions must define `async def run"):
        await driver.run(None)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"command": ""}, 'command "" is not accepted'),
        ({"command": "x", "work_dir": "local"}, '"local" is relative'),
    ],
)
def test_the_built_in_driver_refuses_what_cannot_run(config: dict[str, str], text: str) -> None:
    driver = cast("Driver[Any, Any]", TrioDriver(PluginConfig()))
    task_config = msgspec.convert(config, config_types(TrioDriver)[1])
    with pytest.raises(ConfigInvalidError) as raised:
        driver.validate(task_config)
    assert text in str(raised.value)


@pytest.mark.parametrize(
    ("error", "code", "recoverable"),
    [
        (TaskNotFoundError("id"), StatusCode.NOT_FOUND, False),
        (ConfigInvalidError("x"), StatusCode.INVALID_ARGUMENT, False),
        (LaunchError("work_dir", "/x", "No"), StatusCode.FAILED_PRECONDITION, False),
        (ExecutorLostError("x"), StatusCode.FAILED_PRECONDITION, True),
        (DriverError("x"), StatusCode.FAILED_PRECONDITION, False),
    ],
)
def test_an_error_travels_with_its_text_and_whether_to_try_again(
    error: DriverError, code: StatusCode, recoverable: bool
) -> None:
    status = rpc_error_of(error)
    assert (status.code, status.message) == (code, str(error))
    ((url, data),) = status.details
    assert url == ("type.googleapis.com/hashicorp.nomad.plugins.shared.structs.RecoverableError")
    assert recoverable_error_pb2.RecoverableError.FromString(data).recoverable is recoverable


def test_only_errors_for_users_become_a_status() -> None:
    with pytest.raises(RpcError), driver_errors_as_status():
        raise DriverError("x")
    with pytest.raises(ZeroDivisionError), driver_errors_as_status():
        raise ZeroDivisionError


async def test_a_disabled_driver_is_undetected_without_attributes() -> None:
    driver = TrioDriver(PluginConfig(enabled=False))
    responses = [response async for response in fingerprints(driver)]
    assert [each.health_description for each in responses] == ["disabled"]
    assert not responses[0].attributes


class Moody(Driver[PluginConfig, ScriptedConfig]):
    """Tells more than once."""

    name = "moody"

    async def fingerprint(self) -> AsyncGenerator[Fingerprint]:
        for health in (Health.HEALTHY, Health.UNHEALTHY, Health.UNDETECTED):
            attributes: dict[str, str | int | float | bool] = {
                "s": "x",
                "i": 1,
                "f": 1.5,
                "b": True,
            }
            yield Fingerprint(health=health, description=health.name, attributes=attributes)

    async def run(self, task: Task[ScriptedConfig]) -> TaskExit:
        raise NotImplementedError


async def test_attributes_keep_their_types_and_go_with_an_undetected_driver() -> None:
    responses = [response async for response in fingerprints(Moody(PluginConfig()))]
    assert [response.health for response in responses] == [2, 1, 0]
    first = responses[0].attributes
    assert first["driver.moody"].bool_val is True
    assert (first["s"].string_val, first["i"].int_val) == ("x", 1)
    assert (first["f"].float_val, first["b"].bool_val) == (1.5, True)
    assert not responses[2].attributes


@pytest.mark.parametrize(
    ("speeds", "override", "total_mhz", "cores"),
    [
        ([], 0, 0, 0),
        ([(2000, 3000, 0), (0, 3000, 0), (0, 0, 1000)], 0, 6000, 3),
        ([(2000, 0, 0)], 500, 500, 1),
    ],
)
def test_the_nodes_compute_is_counted_as_nomad_counts_it(
    speeds: list[tuple[int, int, int]], override: int, total_mhz: int, cores: int
) -> None:
    topology = base_pb2.ClientTopology(override_total_compute=override)
    for base, top, guess in speeds:
        topology.cores.add(base_speed=base, max_speed=top, guess_speed=guess)
    compute = compute_of(topology)
    assert (compute.total_mhz, compute.cores) == (total_mhz, cores)
