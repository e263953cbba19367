"""The life of one run inside its executor: started, ended, recorded.

Owns: the containment, the output, the scope that the driver's `run` lives in, and the exit record.

Rules:
- Whatever ends the run cancels one scope; what follows is always the same: empty the containment,
  write the record.
- The record is durable before anyone can see that the run has ended.
- A `run` that does not unwind within `UNWIND_LIMIT_S` of its cancellation is left where it hangs:
  its processes are killed, the record is written, and the executor leaves.

Must not know: RPCs, drivers.
"""

import logging
import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

import msgspec
import trio

from trio_driver.executor.children import Children
from trio_driver.executor.command import find_command
from trio_driver.executor.containment import Containment, host_plan
from trio_driver.executor.credentials import credentials_of
from trio_driver.executor.events import tell, tell_oom, watch_log_pipe, watch_oom
from trio_driver.executor.evidence import evidence_of
from trio_driver.executor.exec_text import check_texts, exec_environ
from trio_driver.executor.launch import LaunchPlan, check_network
from trio_driver.executor.output import Output, open_output
from trio_driver.executor.plan import ContainmentPlan
from trio_driver.executor.workload import Workload, open_workload
from trio_driver.linux import Credentials, boot_id
from trio_driver.model import (
    Compute,
    DriverError,
    LaunchError,
    Line,
    Lost,
    TaskExit,
    TaskOptions,
    TaskSpec,
    parse_ulimits,
)
from trio_driver.spawner import ProcessLimits
from trio_driver.state import ExecutorRecord, ExitRecord, Run, Tier

LOGGER = logging.getLogger("trio_driver.executor")

UNWIND_LIMIT_S = 10.0
"""How long a cancelled `run` may clean up; a task's own grace time is over by then."""

EMPTY_LIMIT_S = 10.0
"""How long the containment may take to become empty before the rest is called stuck."""


PlanContainment = Callable[[str, TaskSpec, TaskOptions], ContainmentPlan]
"""Chooses the cgroups of a run by its name."""


class TaskBody(Protocol):
    """The driver's part of a task. Injected, for drivers are above us."""

    def warm_up(self) -> None:
        """Do once, in the spawner, what each task would otherwise do first. Has no other effect."""
        ...

    def prepare(self, task_run: "TaskRun") -> TaskOptions:
        """What the task asks of the framework. Called once, before anything is made for it."""
        ...

    async def run(self, task_run: "TaskRun") -> TaskExit:
        """What the task does between its start and its end. Cancelled when the task must end."""
        ...

    async def stop(self, task_run: "TaskRun", signum: int) -> None:
        """Ask the task to end. Cancelled, and everything killed, when the grace time is over."""
        ...

    def signal(self, task_run: "TaskRun", signum: int) -> None:
        """Deliver a signal that a user sent."""
        ...


class TaskRun:
    """One run; made when StartTask's request has arrived at the executor."""

    options = TaskOptions()
    """What the task asks of the framework; known before anything is made for it."""
    _credentials: Credentials | None = None

    def __init__(
        self,
        run: Run,
        record: ExecutorRecord,
        spec: TaskSpec,
        *,
        plugin_config: bytes,
        task_config: bytes,
        compute: Compute,
        limits: ProcessLimits,
        children: Children,
        write_exit: Callable[[ExitRecord], bool],
        plan_containment: PlanContainment = host_plan,
    ) -> None:
        self.run = run
        self.spec = spec
        self.plugin_config = plugin_config
        self.task_config = task_config
        self.compute = compute
        self.started = trio.Event()
        """Set when a workload runs, or the driver said that the task does."""
        self.ended = trio.Event()
        """Set when nothing of the run lives and its exit record is written."""
        self.started_at_s: float | None = None
        """Seconds since the epoch; None before the start."""
        self.start_error: DriverError | None = None
        self.workloads: list[Workload] = []
        self.output: Output | None = None
        self._record = record
        self.limits = limits
        self.children = children
        self._write_exit_record = write_exit
        self._plan_containment = plan_containment
        self._containment: Containment | None = None
        self._scope = trio.CancelScope()
        self._ending = False
        self._watches: trio.Nursery | None = None
        self._end_reason = ""
        self._is_lost = False

    @property
    def main(self) -> Workload | None:
        """The first workload: the one that signals go to, and whose end is the task's when `run`
        does not say."""
        return self.workloads[0] if self.workloads else None

    def end(self, reason: str) -> None:
        """End the run now, by cancelling `run`. `reason` is told if nothing better is known of how
        it ended."""
        if not self._ending and not self.ended.is_set():
            self._end_reason = reason
            self._ending = True
            self._scope.cancel()
            if self._watches is not None:
                self._watches.start_soon(self._limit_unwinding)

    def lose(self, reason: str) -> None:
        """End the run now, without anybody having asked for it: whatever its processes say, it is
        lost for `reason`."""
        if not self._ending and not self.ended.is_set():
            self._is_lost = True
            self.end(reason)
            self.kill_nowait()

    def tell(self, message: str, annotations: Mapping[str, str]) -> None:
        """Tell the operator something: a line in `nomad alloc status`."""
        tell(self.run, message, annotations)

    def tell_line(self, line: Line) -> None:
        """As `tell`, for a line of ours."""
        tell(self.run, line.message, line.annotations)

    @property
    def is_running(self) -> bool:
        """Whether more may be started beside what runs already."""
        return self.started.is_set() and not self._ending

    @property
    def kill_path(self) -> Path | None:
        """The run's own cgroup, if it has one."""
        return self._containment.plan.kill_path if self._containment is not None else None

    @property
    def memory_path(self) -> Path | None:
        """The cgroup that the run's memory is counted in, if there is one."""
        return self._containment.plan.memory_path if self._containment is not None else None

    def kill_nowait(self) -> None:
        """Kill every process of the run, whatever `run` does meanwhile."""
        if self._containment is not None:
            self._containment.kill_nowait()

    def mark_started(self) -> None:
        """The task runs: let StartTask answer. Once; later calls do nothing."""
        if not self.started.is_set():
            self.started_at_s = time.time()
            self.started.set()

    async def live(self, body: TaskBody) -> None:
        """Run `body` until it returns, fails or is ended; then leave nothing but the exit record.

        Must not be cancelled: `end()` is the way.
        """
        async with trio.open_nursery() as nursery:
            self._watches = nursery
            if self._ending:
                nursery.start_soon(self._limit_unwinding)
            with ExitStack() as stack:
                task_exit = await self._run_body(body, stack, nursery)
                self._ending = True  # nothing may be started beside what is being killed
                is_empty = await self._empty_containment()
                nursery.cancel_scope.cancel()
            self._write_exit(task_exit, is_empty=is_empty)
            self.ended.set()

    async def _run_body(self, body: TaskBody, stack: ExitStack, watches: trio.Nursery) -> TaskExit:
        task_exit: TaskExit | None = None
        with self._scope:
            try:
                self.options = body.prepare(self)
                self._credentials = credentials_of(self.spec.user, self.options.denied_ids)
                self._open_containment()
                self.output = await open_output(self.spec, stack)
                for pipe in (self.output.stdout, self.output.stderr):
                    if pipe.spare >= 0:
                        watches.start_soon(watch_log_pipe, pipe, self.run)
                if (memory_path := self.memory_path) is not None:
                    watches.start_soon(watch_oom, memory_path, self._tell_oom)
                task_exit = await body.run(self)
                self.mark_started()  # what has returned did run
            except DriverError as error:
                task_exit = self._fail(error)
            except Exception as error:
                LOGGER.exception("run() of task %s failed", self.spec.id)
                task_exit = self._fail(DriverError(f"the driver's run() failed: {error!r}"))
        return self._exit_of_main() if task_exit is None or self._is_lost else task_exit

    def _fail(self, error: DriverError) -> TaskExit:
        if not self.started.is_set():
            self.start_error = error
        return Lost(str(error))

    def _exit_of_main(self) -> TaskExit:
        """The end of a task whose `run` was cancelled before it could tell."""
        if not self._is_lost and self.main is not None and self.main.task_exit is not None:
            return self.main.task_exit
        return Lost(self._end_reason)

    def _open_containment(self) -> None:
        plan = self._plan_containment(self.run.name, self.spec, self.options)
        # The record first: whoever finds it must be able to remove what is made next.
        record = msgspec.structs.replace(
            self._record,
            containment=plan.record(),
            stop=self.options.stop,
            stop_after_driver_loss_s=self.options.stop_after_driver_loss_s,
        )
        self.run.write_executor(record)
        owner = str(self.run.state_path)
        self._containment = Containment(plan, self.children, owner=owner)
        self._containment.make()

    async def _empty_containment(self) -> bool:
        if self._containment is None:
            return True
        return await self._containment.close(limit_s=EMPTY_LIMIT_S)

    async def _limit_unwinding(self) -> None:
        await trio.sleep(UNWIND_LIMIT_S)
        LOGGER.error("run() of task %s does not unwind: leaves without it", self.spec.id)
        is_empty = await self._empty_containment()
        self._write_exit(self._exit_of_main(), is_empty=is_empty)
        os._exit(1)

    def _tell_oom(self) -> None:
        if self._containment is not None:
            tell_oom(self.run, self._containment.oom, [each.pid for each in self.workloads])

    def _write_exit(self, task_exit: TaskExit, *, is_empty: bool) -> None:
        if not is_empty:
            LOGGER.error("stuck: processes of task %s outlived SIGKILL", self.spec.id)
        self._tell_oom()
        oom = self._containment.oom if self._containment is not None else None
        record = ExitRecord(
            exit=task_exit,
            oom_killed=oom is not None and oom.kills > 0,
            evidence=evidence_of(task_exit, self.main, oom, end_reason=self._end_reason),
            started_at_s=self.started_at_s,
            ended_at_s=time.time(),
            boot_id=boot_id(),
        )
        try:
            # Whoever writes the record tells how the task ended: once, however many watch.
            if self._write_exit_record(record) and self.started.is_set():
                self.run.tell_ended(record)
        except FileNotFoundError:
            LOGGER.info("run %s was destroyed before it ended", self.run.name)

    async def write_stdout(self, data: bytes) -> None:
        """Write to the task's stdout log; waits while the log reader is behind."""
        assert self.output is not None, "a run has its output before its body"
        await self.output.stdout.write(data)

    @asynccontextmanager
    async def open_workload(
        self,
        command: str,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        work_dir: str = "",
        oom_score_adj: int = 0,
    ) -> AsyncGenerator[Workload]:
        """Run a command in the task's containment, as the task's user, writing to the task's logs.

        Args:
            env: instead of the task's environment.
            work_dir: absolute; empty for the task's directory.

        Raises:
            LaunchError: a step failed; it names the step and the value.

        If cancelled, or left in any other way, the command is killed and reaped.
        """
        with open(os.devnull, "rb") as stdin:
            path = find_command(command, task_dir=self.spec.task_dir, path=self.limits.path)
            plan = self.launch_plan(
                path,
                [path, *args],
                env=self.spec.env if env is None else env,
                work_dir=work_dir,
                oom_score_adj=oom_score_adj,
                stdin=stdin.fileno(),
            )
            async with open_workload(plan, self.children) as workload:
                self.workloads.append(workload)
                self.mark_started()
                yield workload

    def launch_plan(
        self,
        path: str,
        argv: list[str],
        *,
        env: Mapping[str, str],
        work_dir: str,
        oom_score_adj: int,
        stdin: int,
    ) -> LaunchPlan:
        """How something is run in the task: its containment, user, limits and logs.

        Raises:
            LaunchError: `work_dir` is relative, there is no such user, or execve(2) cannot take a text.
        """
        assert self._containment is not None, "a run has its containment before its body"
        assert self.output is not None, "a run has its output before its body"
        if work_dir and not os.path.isabs(work_dir):
            raise LaunchError("work_dir", work_dir, "must be an absolute path")
        if self.spec.network_path:
            check_network(self.spec.network_path)
        check_texts(command=path, args=argv, work_dir=work_dir)
        return LaunchPlan(
            path=path,
            argv=argv,
            env=exec_environ(env),
            work_dir=work_dir or self.spec.task_dir,
            stdin=stdin,
            stdout=self.output.stdout.writer,
            stderr=self.output.stderr.writer,
            born_in=self._containment.plan.born_in,
            joined=self._containment.joined_paths,
            credentials=self._credentials,
            limits=self.limits,
            ulimits=parse_ulimits(self.options.ulimits),
            oom_score_adj=oom_score_adj,
            no_new_privs=self._containment.plan.tier is Tier.NONE,
            network_path=self.spec.network_path,
            private_pids=self.options.private_pids,
            own_uid=os.geteuid(),
            own_gid=os.getegid(),
        )
