"""The lifetime of a task as a model: small enough to be explored completely.

    python -m trio_driver.testing.lifecycle                  # every state, with all mechanisms
    python -m trio_driver.testing.lifecycle --without fence  # what goes wrong without one

One (allocation, task) on one host: an agent, its plugin, the spawner, and up to `RUNS` runs of the
task, each with an executor and a workload of a main process and a stray that has left its session.
Every interleaving of their steps is tried with every choice of up to `FAULTS` faults: SIGKILL of any
of our processes, SIGSTOP of an executor, a crash of the agent that forgets the handle.

Rules:
- A step is one thing that others can see: a file that is there, a process that is, a message that was
  written. What happens between two steps is nobody's to see.
- A mechanism is a switch. That each is needed is shown by what the model finds without it.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace

from trio_driver.testing.explore import Exploration, explore
from trio_driver.testing.lifecycle_state import ALL, RUNS, Executor, Mechanism, Run, Start, State

FAULTS = 3
"""As many as the longest row of who survives whom: plugin, spawner and executor at once."""

Moves = Iterator[tuple[str, State]]


def moves(state: State) -> Moves:
    """All that can happen next."""
    yield from steps(state)
    if state.faults < FAULTS:
        yield from _faults(replace(state, faults=state.faults + 1))


def steps(state: State) -> Moves:
    """What happens without a fault."""
    if not state.plugin_lives:
        yield "the agent starts a plugin", replace(state, plugin_lives=True)
    else:
        yield from _plugin(state)
        yield from _start_task(state)
    if state.spawner_lives:
        yield from _spawner(state)
    for index, run in enumerate(state.runs):
        if run.executor_lives and not run.is_stopped:
            yield from _executor(state, index, run)


def _plugin(state: State) -> Moves:
    is_needed = state.start is Start.ASKED or (
        state.has(Mechanism.SPARE_SPAWNER) and any(run.executor_lives for run in state.runs)
    )
    if is_needed and not state.spawner_lives:
        yield "the plugin starts a spawner", replace(state, spawner_lives=True)
    for index, run in enumerate(state.runs):
        if run.needs_settling and (state.plugin_watches(index) or state.is_swept(index)):
            yield f"the plugin settles run {index}", _settle(state, index)
        if run.is_abandoned and state.is_swept(index):
            yield f"the plugin ends abandoned run {index}", state.with_run(index, run.ended())
        if state.handle == index and run.is_settled and state.has(Mechanism.PLUGIN_WATCH):
            yield f"the agent is told of the end of run {index}", replace(state, handle=None)


def _settle(state: State, index: int) -> State:
    run = state.runs[index]
    found = state.can_find_workload(index)
    return state.with_run(index, run.ended() if found else replace(run, is_settled=True))


def _start_task(state: State) -> Moves:
    index = state.starting
    run = state.runs[index]
    match state.start:
        case Start.IDLE:
            index = next((i for i, each in enumerate(state.runs) if each == Run()), RUNS)
            if state.handle is None and index < RUNS:
                asked = replace(_evict(state), start=Start.ASKED, starting=index)
                yield f"the agent asks for run {index}; recorded ones are evicted", asked
        case Start.ASKED if state.spawner_lives:
            forked = state.with_run(index, Run(executor=Executor.FORKED))
            yield f"the spawner forks executor {index}", replace(forked, start=Start.SPAWNED)
        case Start.SPAWNED if run.executor is Executor.DEAD:
            yield f"the start of run {index} fails", replace(state, start=Start.IDLE)
        case Start.SPAWNED if run.executor is Executor.RUNNING and run.has_record:
            yield _commit(state) if _commits_next(state, run) else _reply(state)
        case Start.REPLIED if not run.is_committed:
            yield _commit(replace(state, start=Start.IDLE))
        case Start.REPLIED:
            yield f"the start of run {index} is over", replace(state, start=Start.IDLE)
        case _:
            pass


def _commits_next(state: State, run: Run) -> bool:
    return not state.has(Mechanism.COMMIT_AFTER_REPLY) and not run.is_committed


def _commit(state: State) -> tuple[str, State]:
    run = replace(state.runs[state.starting], is_committed=True)
    return f"run {state.starting} is committed", state.with_run(state.starting, run)


def _reply(state: State) -> tuple[str, State]:
    index = state.starting
    told = state.with_run(index, replace(state.runs[index], was_told=True))
    told = replace(told, start=Start.REPLIED, handle=index)
    return f"the handle of run {index} is written to the agent", told


def _evict(state: State) -> State:
    """End what has a record and is not over; what has none yet is not seen."""
    for index, run in enumerate(state.runs):
        if run.has_record and run.executor_lives:
            state = state.with_run(index, run.ended())
        elif run.has_record and run.needs_settling:
            state = _settle(state, index)
    return state


def _spawner(state: State) -> Moves:
    if not state.plugin_lives and not any(
        run.executor_lives or run.needs_settling for run in state.runs
    ):
        yield "the spawner, which nobody needs, ends", _without_spawner(state)
    for index, run in enumerate(state.runs):
        if not state.spawner_watches(index):
            continue
        if run.needs_settling:
            yield f"the spawner settles run {index}", _settle(state, index)
        elif run.is_abandoned:
            killed = run.killed(state.mechanisms)
            yield f"the spawner kills abandoned executor {index}", state.with_run(index, killed)


def _executor(state: State, index: int, run: Run) -> Moves:
    if run.is_abandoned and state.has(Mechanism.LEASE):
        yield (
            f"executor {index} sees that its plugin is gone, and ends its run",
            state.with_run(index, run.ended()),
        )
    match run.executor:
        case Executor.FORKED:
            yield _take_fence(state, index, run)
        case Executor.FENCED if state.has(Mechanism.RECORD_FIRST):
            recorded = replace(run, executor=Executor.RECORDED, has_record=True)
            yield f"executor {index} writes its record", state.with_run(index, recorded)
        case Executor.FENCED | Executor.RECORDED:
            running = replace(run, executor=Executor.RUNNING, main=True)
            yield f"executor {index} starts its workload", state.with_run(index, running)
        case Executor.RUNNING:
            yield from _running(state, index, run)
        case _:
            pass


def _running(state: State, index: int, run: Run) -> Moves:
    if not run.has_record:
        recorded = replace(run, has_record=True)
        yield f"executor {index} writes its record", state.with_run(index, recorded)
    if not run.stray:
        stray = replace(run, stray=True)
        yield f"a child of workload {index} leaves its session", state.with_run(index, stray)
    yield f"workload {index} ends, and so its executor", state.with_run(index, run.ended())


def _take_fence(state: State, index: int, run: Run) -> tuple[str, State]:
    is_held = any(
        Executor.FENCED <= other.executor < Executor.DEAD
        for number, other in enumerate(state.runs)
        if number != index
    )
    if is_held and state.has(Mechanism.FENCE):
        refused = replace(run, executor=Executor.DEAD, is_settled=True)
        return f"executor {index} finds the fence held, and ends", state.with_run(index, refused)
    fenced = replace(run, executor=Executor.FENCED)
    return f"executor {index} takes the fence", state.with_run(index, fenced)


def _faults(state: State) -> Moves:
    if state.plugin_lives:
        yield "SIGKILL: the plugin", _without_plugin(state)
        if state.handle is not None:
            forgotten = replace(_without_plugin(state), handle=None)
            yield "the agent crashes with its plugin, and forgets the handle", forgotten
    if state.spawner_lives:
        yield "SIGKILL: the spawner", _without_spawner(state)
    for index, run in enumerate(state.runs):
        if not run.executor_lives:
            continue
        yield f"SIGKILL: executor {index}", state.with_run(index, run.killed(state.mechanisms))
        if not run.is_stopped:
            stopped = state.with_run(index, replace(run, is_stopped=True))
            yield f"SIGSTOP: executor {index}", stopped


def _without_plugin(state: State) -> State:
    runs = tuple(run if run == Run() else replace(run, starter_lives=False) for run in state.runs)
    return replace(state, plugin_lives=False, start=Start.IDLE, runs=runs)


def _without_spawner(state: State) -> State:
    runs = tuple(run if run == Run() else replace(run, adopter_lives=False) for run in state.runs)
    return replace(state, spawner_lives=False, runs=runs)


def workload_has_an_owner(state: State) -> str | None:
    """A workload lives: its owner lives, or its killer is armed."""
    for index, run in enumerate(state.runs):
        # A stray that no spawner adopts can be found by its cgroup alone: the one stated limit.
        stray = run.stray and (state.has_cgroups or run.adopter_lives)
        if (run.main or stray) and not run.executor_lives and not _killer_is_armed(state, index):
            return "a workload lives, its executor is dead, and nobody will end it"
    return None


def _killer_is_armed(state: State, index: int) -> bool:
    if not state.can_find_workload(index):
        return False
    if state.plugin_lives or state.spawner_lives:
        return state.plugin_watches(index) or state.spawner_watches(index) or state.is_swept(index)
    # All that watched was killed: whoever starts next looks at the state directory.
    return state.has(Mechanism.SWEEP) and state.runs[index].has_record


def task_runs_once(state: State) -> str | None:
    """At most one run of the task has a living workload."""
    living = sum(run.main for run in state.runs)
    return "two runs of the task live" if living > 1 else None


def provisional_run_ends(state: State) -> str | None:
    """A run that nobody was told of, and whose plugin is gone, is ended by somebody."""
    for index, run in enumerate(state.runs):
        is_seen = run.has_record or not run.is_stopped
        if not run.is_abandoned or not is_seen:
            continue
        notices = state.has(Mechanism.LEASE) and not run.is_stopped
        is_ended = notices or state.spawner_watches(index) or state.is_swept(index)
        will_be = not state.plugin_lives and state.has(Mechanism.SWEEP) and run.is_stopped
        if not is_ended and not will_be:
            return "a provisional run outlives its plugin, and nobody will end it"
    return None


def committed_run_is_known(state: State) -> str | None:
    """Nobody owns a run that nobody was told of, nor ever will be."""
    for run in state.runs:
        is_secret = run.is_committed and not run.was_told and not run.starter_lives
        if is_secret and run.executor_lives:
            return "a run is committed, and Nomad was never given its handle"
    return None


def agent_is_told(state: State) -> str | None:
    """The agent asks how a task ended: somebody looks."""
    for index, run in enumerate(state.runs):
        is_asked = state.handle == index and state.plugin_lives and run.executor is Executor.DEAD
        if is_asked and not state.plugin_watches(index):
            return "a task ended, and the plugin does not see it"
    return None


def two_watch(state: State) -> str | None:
    """While a plugin lives, a running task has a second watchman, or is about to have one."""
    if not state.plugin_lives or state.spawner_lives:
        return None
    runs = any(run.executor_lives and run.is_committed for run in state.runs)
    comes = any(following.spawner_lives for _, following in steps(state))
    return None if comes or not runs else "a task runs, and nobody watches it but the plugin"


INVARIANTS = (
    workload_has_an_owner,
    task_runs_once,
    provisional_run_ends,
    committed_run_is_known,
    agent_is_told,
    two_watch,
)


def check(
    mechanisms: frozenset[Mechanism] = ALL, *, has_cgroups: bool = True
) -> Exploration[State]:
    """Explore the model with these mechanisms, on a host with or without cgroups."""
    return explore(State(has_cgroups, mechanisms), moves, INVARIANTS)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m trio_driver.testing.lifecycle")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=[mechanism.value for mechanism in Mechanism],
        help="leave this mechanism out; may be given several times",
    )
    without = {Mechanism(name) for name in parser.parse_args().without}
    is_sound = True
    for has_cgroups in (True, False):
        found = check(ALL - without, has_cgroups=has_cgroups)
        host = "with cgroups" if has_cgroups else "without cgroups"
        print(f"{host}: {found.states} states, {found.moves} moves")
        for violation in found.violations:
            print(f"{violation}\n")
        is_sound = is_sound and not found.violations
    return 0 if is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
