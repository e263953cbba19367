"""Configuration in HCL: one typed class gives its schema, decoding, defaults, checks and reference.

    class TaskConfig(msgspec.Struct, frozen=True, kw_only=True):
        command: Annotated[str, hcl.doc("Program to run.")]
        args: list[str] = []
        grace_s: hcl.Duration = msgspec.field(name="grace", default=5)

    hcl.spec_of(TaskConfig)                   # what the plugin tells the agent
    hcl.decode(TaskConfig, msgpack_bytes)     # what it makes of the agent's answer
    hcl.reference(TaskConfig)                 # a table for people; hcl.example(TaskConfig): HCL
    hcl.encode(spec, {"command": "/bin/sh"})  # the agent's half: schema + parsed HCL → msgpack

`kinds` says which annotations there are. Usable alone: imports only `_proto` and msgspec.
"""

from msgspec import Struct

from trio_driver.hcl.agent import encode
from trio_driver.hcl.declare import Duration, doc
from trio_driver.hcl.decode import decode
from trio_driver.hcl.duration import parse_duration
from trio_driver.hcl.errors import ConfigError, Problem
from trio_driver.hcl.reference import example, reference
from trio_driver.hcl.schema import spec_of

__all__ = [
    "ConfigError",
    "Duration",
    "Problem",
    "Struct",
    "decode",
    "doc",
    "encode",
    "example",
    "parse_duration",
    "reference",
    "spec_of",
]
