"""The agent's half of configuration: what Nomad does with a plugin's schema before it calls it.

For tests, and for running any driver without an agent. A plugin needs none of it.
"""

from trio_driver.hcl.agent.encode import encode

__all__ = ["encode"]
