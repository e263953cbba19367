"""The options of `trio-driver run` as a job and a launch.

Must not know: click's objects, the plugin's protocol.
"""

import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import trio
from rich.console import Console

from trio_driver.cli.driver import Launch
from trio_driver.cli.errors import JobError
from trio_driver.cli.guardian import open_guardian
from trio_driver.cli.hcl_file import parse_expression
from trio_driver.cli.job import Group, Job, Setting, command_job
from trio_driver.cli.job_file import read_config, read_job
from trio_driver.cli.node import this_node
from trio_driver.cli.report import Report, Tone
from trio_driver.cli.run import STOP_SIGNALS, report_event, run_allocation
from trio_driver.cli.values import Plain, UnresolvedError, to_plain


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What the user asked for, as written; `command` stands after `--`."""

    job_file: str | None
    command: Sequence[str]
    plugin: str | None
    config: str | None
    plugin_config: Sequence[str]
    group: str | None
    var: Sequence[str]
    env: Sequence[str]
    node_meta: Sequence[str]
    user: str | None
    verbose: bool


def run_from_options(options: RunOptions) -> int:
    """Run what was asked for; returns the exit code.

    Raises:
        JobError, RunError: possibly in an ExceptionGroup.
    """
    report = Report(Console(stderr=True), details=options.verbose)
    job = read_options_job(options)
    group = choose_group(job, options.group)
    for warning in job.warnings:
        report.say("job", warning, tone=Tone.WARN)
    for signum in STOP_SIGNALS:
        # A signal is a wish to the run, see there. In the moments before and after it must not be
        # an exception, which would cut a cleanup short.
        signal.signal(signum, lambda _signum, _frame: None)
    with open_guardian() as guardian:
        launch = Launch(
            command=plugin_command(options.plugin),
            config=read_plugin_config(options.config, options.plugin_config),
            node=this_node(meta=pairs(options.node_meta, "--node-meta")),
            environ=dict(os.environ),
            report=report,
            guardian=guardian,
            on_event=partial(report_event, report),
        )
        code = trio.run(partial(run_allocation, job, group, launch, report=report))
    for signum in STOP_SIGNALS:
        # Nothing is left to stop, and the interpreter's end would bring back the default: death.
        signal.signal(signum, signal.SIG_IGN)
    return code


def read_options_job(options: RunOptions) -> Job:
    """The job that the options name, with their changes.

    Raises:
        JobError: there is none, or there are two; it cannot be run.
    """
    match (options.job_file, [*options.command]):
        case (None, [command, *arguments]):
            job = command_job(command, arguments)
        case (str() as path, []):
            text = read_text(path, "a command stands after --")
            job = read_job(text, path=path, variables=pairs(options.var, "--var"))
        case _:
            raise JobError("run: accepted is either JOB.nomad.hcl or -- COMMAND ARGS...")
    return replace(job, groups=tuple(_changed(group, options) for group in job.groups))


def _changed(group: Group, options: RunOptions) -> Group:
    """The group with the user and the environment that were given as options."""
    env = pairs(options.env, "--env")
    tasks = tuple(replace(task, fixed_env=env) for task in group.tasks)
    if options.user is not None:
        user = Setting("--user", options.user)
        tasks = tuple(replace(task, user=user) for task in tasks)
    return replace(group, tasks=tasks)


def choose_group(job: Job, name: str | None) -> Group:
    """The group of that name, or the only one.

    Raises:
        JobError: there is no such group, or several and no name.
    """
    names = ", ".join(group.name for group in job.groups)
    match [group for group in job.groups if name in (None, group.name)]:
        case [group]:
            return group
        case []:
            raise JobError(f'--group {name}: job "{job.id}" has {names}')
        case _:
            raise JobError(f'job "{job.id}" has several groups; choose with --group: {names}')


def plugin_command(path: str | None) -> tuple[str, ...]:
    """How to start the plugin: `path`, looked for like a command, or this program itself.

    Raises:
        JobError: there is no such program.
    """
    if path is None:
        return own_command(sys.argv[0])
    if (found := shutil.which(path)) is None:
        raise JobError(f"--plugin {path}: no such program, or it may not be executed")
    return (os.path.abspath(found),)


def own_command(program: str) -> tuple[str, ...]:
    """How to start this program again, which was started as `program`.

    An installed script is its own command. As a module it is started as one; -P keeps modules of
    the directory that the user happens to be in from being imported.
    """
    if os.access(program, os.X_OK) and not program.endswith(".py"):
        return (os.path.abspath(program),)
    return (sys.executable, "-P", "-m", "trio_driver.cli.main")


def read_plugin_config(file: str | None, options: Sequence[str]) -> dict[str, Plain] | None:
    """The plugin's configuration; None when nothing was said.

    Raises:
        JobError: a file cannot be read, a value is missing.
    """
    if file is None and not options:
        return None
    config = read_config(read_text(file, "--config"), path=file) if file is not None else {}
    return {
        **config,
        **{name: _value(text) for name, text in pairs(options, "--plugin-config").items()},
    }


def _value(text: str) -> Plain:
    """HCL where it is any, else text: `true`, `["a"]`, `/some/path`."""
    try:
        return to_plain(parse_expression(text))
    except (ValueError, UnresolvedError):
        return text


def pairs(items: Sequence[str], option: str) -> Mapping[str, str]:
    """NAME=VALUE options as a mapping; the last of a name counts.

    Raises:
        JobError: one has no `=`.
    """
    found: dict[str, str] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise JobError(f"{option} {item}: accepted is {option} NAME=VALUE")
        found[name] = value
    return found


def read_text(path: str, hint: str) -> str:
    """A file of the user's.

    Raises:
        JobError: it cannot be read; `hint` says what else may have been meant.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise JobError(f"{path}: {error.strerror} ({hint})") from None
    except UnicodeDecodeError:
        raise JobError(f"{path}: is not UTF-8 text") from None
