"""What driver authors use, and Nomad's services in front of it."""

from trio_driver.sdk.driver import Driver, PluginConfig, config_types
from trio_driver.sdk.main import PLUGIN_NAME, main
from trio_driver.sdk.task import Task

__all__ = ["PLUGIN_NAME", "Driver", "PluginConfig", "Task", "config_types", "main"]
