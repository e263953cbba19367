"""Starting a task: from Nomad's StartTask to a running workload that Nomad owns.

Read `TaskStarter.start_task` top down. What may fail without anything having been made comes first;
then everything that exists is inside one block, and the block is left alive in one way only.

Rules:
- The answer is written to Nomad's connection before the run is committed. If it cannot be written,
  or the call is cancelled, or anything else fails, nothing of the run is left (nomad-protocol.md
  §6.2: nobody else would clean up).
- At most one executor of a (allocation, task) lives: whoever holds its fence is evicted first.
"""

import logging

import msgspec
import trio

from trio_driver import hcl
from trio_driver._proto import driver_pb2, executor_pb2
from trio_driver._proto.interfaces import Call
from trio_driver.executor import credentials_of, open_executor, parse_ladder
from trio_driver.model import (
    ConfigInvalidError,
    FenceHeldError,
    TaskOptions,
    TaskSpec,
    allowed_env,
    not_applied_line,
    started_line,
    task_spec,
)
from trio_driver.sdk.base_service import Configured
from trio_driver.sdk.driver import config_types
from trio_driver.sdk.support import check_supported, not_applied
from trio_driver.sdk.tasks import KnownTask, Tasks
from trio_driver.spawner import ProcessLimits, Spawner, SpawnRequest
from trio_driver.state import (
    KILL_LIMIT_S,
    Run,
    StateDirectory,
    destroy_run,
    fence_name,
    fence_owner,
    kill_fence_owner,
    read_executor_or_none,
)

LOGGER = logging.getLogger("trio_driver.sdk")

HANDLE_VERSION = 1
"""Version of `DriverState`; 0 means Nomad's legacy format (nomad-protocol §4.6)."""

FENCE_PAUSE_S = 0.002
"""Between two looks whether a killed holder has let go of the fence."""


class DriverState(msgspec.Struct, frozen=True):
    """What Nomad keeps for us in the handle. Records are found by task id; this tells people and
    later versions where."""

    state_dir: str
    run: str
    executor_pid: int


class TaskStarter:
    """Starts tasks of one driver."""

    def __init__(
        self,
        configured: Configured,
        *,
        state: StateDirectory,
        spawner: Spawner,
        tasks: Tasks,
    ) -> None:
        self._driver = configured.driver
        self._task_config_type = config_types(type(configured.driver))[1]
        self._compute = configured.compute
        self._denied_ids = configured.denied_ids
        self._state = state
        self._spawner = spawner
        self._tasks = tasks

    async def start_task(self, config: driver_pb2.TaskConfig, call: Call) -> None:
        """Start the task of `config`, answer `call`, and leave the task to Nomad.

        Raises:
            ConfigInvalidError: an option of the job is not accepted.
            FenceHeldError: an earlier executor of the task does not end.
            ExecutorRefusedError: a step of the launch failed; it names the step and the value.

        If cancelled, nothing of the task is left.
        """
        spec = task_spec(config)
        task_config = self._decode(spec)
        check_supported(config)
        options = self._driver.options(task_config)
        parse_ladder(options.stop)
        await self._check_user(spec)
        async with self._tasks.turn(fence_name(spec.alloc_id, spec.name)):
            if (task := self._running(spec)) is not None:
                await call.reply(start_task_response(config, task.run, task.record.pid))
                return
            await self._evict(spec)
            async with open_executor(
                self._spawner, self._state, self._spawn_request(spec)
            ) as executor:
                await executor.start(self._start_request(config, task_config, options))
                with self._tasks.handing_over(spec.id):
                    await call.reply(
                        start_task_response(config, executor.run, executor.process.pid)
                    )
                    executor.commit()
                    self._tell_started(executor.run, not_applied(config))

    def _decode(self, spec: TaskSpec) -> msgspec.Struct:
        """The task's configuration, checked.

        Raises:
            ConfigInvalidError: the driver is disabled, or an option of the job is not accepted.
        """
        if not self._driver.config.enabled:
            raise ConfigInvalidError(
                f"{self._driver.name} is disabled: set enabled = true in its plugin block"
            )
        try:
            config = hcl.decode(self._task_config_type, spec.msgpack_driver_config)
        except hcl.ConfigError as error:
            raise ConfigInvalidError(str(error)) from error
        self._driver.validate(config)
        return config

    async def _check_user(self, spec: TaskSpec) -> None:
        """Refuse a user that the plugin's configuration denies before anything is made for it. The
        executor, which resolves the name for itself, checks again.

        Raises:
            ConfigInvalidError: its uid or one of its groups is denied.
            LaunchError: there is no such user.
        """
        if self._denied_ids:  # in a thread: the user database may be a network service
            await trio.to_thread.run_sync(
                credentials_of, spec.user, self._denied_ids, abandon_on_cancel=True
            )

    def _running(self, spec: TaskSpec) -> KnownTask | None:
        """The very task that is asked for, when it runs: the answer to an earlier request was lost,
        or asked twice."""
        task = self._tasks.find_nowait(spec.id)
        return task if task is not None and not task.ended.is_set() else None

    async def _evict(self, spec: TaskSpec) -> None:
        """End every earlier run of this (allocation, task), whoever started it, and remove it.

        Raises:
            FenceHeldError: the fence is still held after `KILL_LIMIT_S`.
            StuckError: processes of an earlier run outlive SIGKILL.
        """
        fence = fence_name(spec.alloc_id, spec.name)
        for run in self._state.runs_of_fence(fence):
            record = read_executor_or_none(run)
            LOGGER.info(
                "evicts an earlier run",
                extra={"kv": {"task_id": record.task_id if record else run.name}},
            )
            await destroy_run(self._state, run)
            if record is not None:
                self._tasks.forget(record.task_id)
        await self._free_fence(fence)

    async def _free_fence(self, fence: str) -> None:
        """Kill a holder of the fence that has no record yet: an executor that another plugin is
        just opening."""
        lock_path = self._state.lock_path(fence)
        with trio.move_on_after(KILL_LIMIT_S):
            while kill_fence_owner(lock_path):
                await trio.sleep(FENCE_PAUSE_S)
            return
        raise FenceHeldError(
            f"an earlier executor of this task does not end: pid {fence_owner(lock_path)}"
        )

    def _spawn_request(self, spec: TaskSpec) -> SpawnRequest:
        return SpawnRequest(
            task_id=spec.id,
            alloc_id=spec.alloc_id,
            task_name=spec.name,
            alloc_root=spec.alloc_root,
            driver=self._driver.name,
            limits=ProcessLimits.of_this_process(),
        )

    def _start_request(
        self, config: driver_pb2.TaskConfig, task_config: msgspec.Struct, options: TaskOptions
    ) -> executor_pb2.StartRequest:
        denied = (*self._driver.config.denied_envvars, *options.denied_envvars)
        request = executor_pb2.StartRequest(
            task=config,
            plugin_config=msgspec.msgpack.encode(self._driver.config),
            task_config=msgspec.msgpack.encode(task_config),
            compute=executor_pb2.Compute(
                total_mhz=self._compute.total_mhz, cores=self._compute.cores
            ),
        )
        for name in request.task.env.keys() - allowed_env(config.env, denied).keys():
            del request.task.env[name]
        return request

    def _tell_started(self, run: Run, not_applied_text: str) -> None:
        if (task := self._tasks.adopt(run)) is not None and task.commit is not None:
            tier = task.record.containment.tier.value if task.record.containment else "none"
            pid, executor_pid = task.commit.workload_pid, task.record.pid
            self._tasks.tell(task, started_line(pid=pid, tier=tier, executor_pid=executor_pid))
            if not_applied_text:
                self._tasks.tell(task, not_applied_line(not_applied_text))
            task.was_handed_over = True
            self._tasks.take_events(task)  # it may have ended already


def start_task_response(
    config: driver_pb2.TaskConfig, run: Run, executor_pid: int
) -> driver_pb2.StartTaskResponse:
    """The handle that Nomad stores; it must echo the configuration (H6)."""
    state = DriverState(str(run.path.parent.parent), run.name, executor_pid)
    return driver_pb2.StartTaskResponse(
        handle=driver_pb2.TaskHandle(
            version=HANDLE_VERSION,
            config=config,
            state=driver_pb2.RUNNING,
            driver_state=msgspec.msgpack.encode(state),
        )
    )
