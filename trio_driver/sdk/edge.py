"""Where an error of ours becomes a status of an RPC: the one place, at the plugin.

Rules (nomad-protocol §5):
- Retryability travels as a `RecoverableError` detail; the code is for people. UNAVAILABLE and
  CANCELLED are never used, for Nomad takes them as the plugin's death.
"""

from collections.abc import Generator
from contextlib import contextmanager

from trio_driver._proto import recoverable_error_pb2
from trio_driver.model import ConfigInvalidError, DriverError, TaskNotFoundError
from trio_driver.rpc import RpcError, StatusCode

RECOVERABLE_ERROR_URL = (
    "type.googleapis.com/hashicorp.nomad.plugins.shared.structs.RecoverableError"
)


def rpc_error_of(error: DriverError) -> RpcError:
    """The status that tells Nomad what went wrong and whether to try again."""
    match error:
        case TaskNotFoundError():
            code = StatusCode.NOT_FOUND
        case ConfigInvalidError():
            code = StatusCode.INVALID_ARGUMENT
        case _:
            code = StatusCode.FAILED_PRECONDITION
    detail = recoverable_error_pb2.RecoverableError(recoverable=error.recoverable)
    return RpcError(
        code, str(error), details=((RECOVERABLE_ERROR_URL, detail.SerializeToString()),)
    )


@contextmanager
def driver_errors_as_status() -> Generator[None]:
    """Around the body of an RPC handler."""
    try:
        yield
    except DriverError as error:
        raise rpc_error_of(error) from error
