"""What tells an executor that somebody looks after its task: a connection, held while an agent is
connected to this plugin.

Only for tasks whose job says `stop_after_driver_loss`; nobody else's executor is touched.

Rules:
- Opened in the background: no call of Nomad's waits for an executor (H18).
- A connection that breaks while the task lives is opened again.
"""

import logging

import trio
from trio_util import AsyncValue, wait_any

from trio_driver.executor import attach_to_executor
from trio_driver.model import DriverError
from trio_driver.state import Run

LOGGER = logging.getLogger("trio_driver.sdk")

RETRY_S = 0.5
"""Between two attempts to connect; well below the least that `stop_after_driver_loss` may be."""


async def keep_attached(run: Run, ended: trio.Event, agents: AsyncValue[int]) -> None:
    """Hold a connection to the run's executor while `agents` is not 0, until the task has
    `ended`."""

    async def no_agent() -> None:
        await agents.wait_value(0)

    async def keep() -> None:
        while True:
            await agents.wait_value(lambda count: count > 0)
            try:
                async with attach_to_executor(run) as lost:
                    await wait_any(no_agent, lost)
            except DriverError as error:
                LOGGER.debug("run %s: %s", run.name, error)
            await trio.sleep(RETRY_S)

    await wait_any(keep, ended.wait)
