"""Nomad's BasePlugin service: what the plugin is, and its configuration.

Rules:
- It is also called in short-lived probes (H12): nothing here has a side effect, and everything may
  be called twice.
"""

import trio

from trio_driver import hcl
from trio_driver._proto import base_pb2
from trio_driver._proto.base_grpc import BasePluginServicer
from trio_driver._proto.interfaces import Call
from trio_driver.model import Compute, ConfigInvalidError, DeniedIds
from trio_driver.sdk.driver import AnyDriver, config_types
from trio_driver.sdk.edge import driver_errors_as_status

API_VERSION = "v0.1.0"
"""The only one there is (nomad-protocol §2.2)."""


class Configured:
    """What SetConfig brought.

    Raises:
        ConfigInvalidError: an option that the schema cannot check is not accepted.
    """

    def __init__(
        self,
        driver: AnyDriver,
        compute: Compute,
    ) -> None:
        self.driver = driver
        self.compute = compute
        config = driver.config
        if config.state_dir and not config.state_dir.startswith("/"):
            raise ConfigInvalidError(
                f'state_dir "{config.state_dir}" is not accepted; expected an absolute path'
            )
        self.denied_ids = DeniedIds.parse(config.denied_host_uids, config.denied_host_gids)


class BaseService(BasePluginServicer):
    """Serves one driver class."""

    def __init__(self, driver_class: type[AnyDriver]) -> None:
        self._driver_class = driver_class
        self._config_type = config_types(driver_class)[0]
        self._configured: Configured | None = None
        self.is_configured = trio.Event()

    @property
    def configured(self) -> Configured:
        """The configuration; defaults where SetConfig never came, as after no `plugin` block."""
        if self._configured is None:
            self._configured = Configured(self._driver_class(self._config_type()), Compute())
        return self._configured

    async def PluginInfo(
        self, input_message: base_pb2.PluginInfoRequest, request: Call
    ) -> base_pb2.PluginInfoResponse:
        return base_pb2.PluginInfoResponse(
            type=base_pb2.DRIVER,
            plugin_api_versions=[API_VERSION],
            plugin_version=self._driver_class.version,
            name=self._driver_class.name,
        )

    async def ConfigSchema(
        self, input_message: base_pb2.ConfigSchemaRequest, request: Call
    ) -> base_pb2.ConfigSchemaResponse:
        return base_pb2.ConfigSchemaResponse(spec=hcl.spec_of(self._config_type))

    async def SetConfig(
        self, input_message: base_pb2.SetConfigRequest, request: Call
    ) -> base_pb2.SetConfigResponse:
        with driver_errors_as_status():
            try:
                config = hcl.decode(self._config_type, input_message.msgpack_config)
            except hcl.ConfigError as error:
                raise ConfigInvalidError(str(error)) from error
            driver = self._driver_class(config)
            topology = input_message.nomad_config.driver.Topology
            self._configured = Configured(driver, compute_of(topology))
        return base_pb2.SetConfigResponse()


def compute_of(topology: base_pb2.ClientTopology) -> Compute:
    """The node's CPU capacity as Nomad counts it (nomad-protocol §2.4)."""
    speeds = [core.base_speed or core.max_speed or core.guess_speed for core in topology.cores]
    return Compute(total_mhz=topology.override_total_compute or sum(speeds), cores=len(speeds))
