"""The command line for people: options to calls, failures to one line.

Rules:
- Exit codes: the task's own; 1 when plugin or task could not be started; 2 when a job or an option
  is wrong.
- A failure that is meant for its user is printed without a traceback; any other is a bug.

Must not know: what a command does.
"""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import click

from trio_driver.cli.errors import CommandError
from trio_driver.goplugin import PipeHeldError


class RunCommand(click.Command):
    """A command whose arguments after `--` are a command line of their own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep what follows the first `--` from click."""
        ctx.params["command"] = ()
        if "--" in args:
            at = args.index("--")
            ctx.params["command"] = tuple(args[at + 1 :])
            args = args[:at]
        return super().parse_args(ctx, args)


JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
STATE_DIR = click.option(
    "--state-dir", metavar="PATH", help="State directory, as in the plugin's config."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """A Nomad task driver on Trio.

    Put this program into an agent's plugin_dir and write `driver = "trio"` in a job; or try it
    without an agent, with the commands below.
    """


@cli.command(cls=RunCommand, short_help="Run a job file, or one command, now.")
@click.argument("job_file", required=False, metavar="[JOB.nomad.hcl | -- COMMAND ARGS...]")
@click.option("--plugin", metavar="PATH", help="Driver plugin to run instead of this program.")
@click.option(
    "--config", metavar="FILE", help="The plugin's configuration, as in its config block."
)
@click.option("--plugin-config", metavar="NAME=VALUE", multiple=True, help="One option of it.")
@click.option("--group", metavar="NAME", help="Group to run, when the job has several.")
@click.option("--var", metavar="NAME=VALUE", multiple=True, help="A variable of the job.")
@click.option("--env", metavar="NAME=VALUE", multiple=True, help="Added to the tasks' environment.")
@click.option("--node-meta", metavar="NAME=VALUE", multiple=True, help="What ${meta.NAME} is.")
@click.option("--user", metavar="NAME", help="User of the tasks, instead of the job's.")
@click.option("-v", "--verbose", is_flag=True, help="Show every step and the plugin's log.")
@click.pass_context
def run(ctx: click.Context, **options: Any) -> None:
    """Run a job file, or one command, as an agent would, without an agent.

    Starts the plugin, runs the tasks of one group, shows their output, and leaves nothing behind.
    Ctrl-C asks the tasks to stop, a second one kills them. Exits with the code of the first task
    that failed, or 0.
    """
    from trio_driver.cli.run_options import RunOptions, run_from_options

    ctx.exit(run_from_options(RunOptions(**options)))


@cli.command(short_help="Link this program into an agent's plugin_dir.")
@click.option("--plugin-dir", metavar="DIR", required=True, help="The agent's plugin_dir.")
@click.option(
    "--name", metavar="FILE", default="trio-driver", show_default=True, help="Name of the link."
)
@click.option("--dry-run", "is_dry_run", is_flag=True, help="Check everything, change nothing.")
@click.pass_context
def install(ctx: click.Context, plugin_dir: str, name: str, is_dry_run: bool) -> None:
    """Put this program where an agent looks for plugins, and print the block for its configuration.

    Makes one link, after having checked that the program answers an agent, and that nobody but root
    could change what the agent would execute. Done twice, it changes nothing.
    """
    from trio_driver.cli.install import install_program

    ctx.exit(install_program(plugin_dir, name=name, is_dry_run=is_dry_run))


@cli.command(short_help="Show what lives, as one tree.")
@JSON
@STATE_DIR
@click.pass_context
def ps(ctx: click.Context, as_json: bool, state_dir: str | None) -> None:
    """Show plugin, spawner, executors and workloads of this host as one tree.

    A run is provisional until Nomad has been given its handle, then committed; ended when nothing
    of it lives any more; lost when its executor died without a word; stuck when the workload of a
    dead executor does not die.
    """
    from trio_driver.cli.ps import show_processes

    ctx.exit(show_processes(state_dir, as_json=as_json))


@cli.command(short_help="End tasks and all there is of them.")
@click.argument("tasks", nargs=-1, metavar="[TASK...]")
@click.option("--all", "every", is_flag=True, help="All tasks of the state directory.")
@click.option("--yes", "is_sure", is_flag=True, help="With --all: do not ask.")
@JSON
@STATE_DIR
@click.pass_context
def destroy(
    ctx: click.Context, tasks: tuple[str, ...], state_dir: str | None, **flags: bool
) -> None:
    """End tasks and remove all that there is of them, without a plugin.

    TASK is a task's name or id, the beginning of an id (an allocation's, too), or ALLOCATION/TASK.
    Executor and processes are killed, whatever they do; cgroups and records are removed. Exits with
    1 when a process outlives SIGKILL, with 2 when a name names no task or several: nothing was
    ended then.
    """
    from trio_driver.cli.destroy import destroy_tasks

    if bool(tasks) == flags["every"]:
        raise click.UsageError("name tasks, or give --all")
    ctx.exit(destroy_tasks(tasks, state_dir, **flags))


@cli.command(short_help="Show what a task wrote.")
@click.argument("task")
@click.option("--stdout", "streams", flag_value="stdout", help="Only what it wrote to stdout.")
@click.option("--stderr", "streams", flag_value="stderr", help="Only what it wrote to stderr.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the task has ended.")
@click.option(
    "-n", "--lines", metavar="N", type=click.IntRange(min=0), help="Only the last N lines."
)
@STATE_DIR
@click.pass_context
def logs(
    ctx: click.Context, task: str, streams: str | None, state_dir: str | None, **options: Any
) -> None:
    """Show what a task wrote, from its log files, without an agent.

    TASK is named as for destroy. Both streams are shown, each on our own one of the same name. The
    files are there until the agent removes the allocation.
    """
    from trio_driver.cli.task_logs import STREAMS, show_logs

    wanted = STREAMS if streams is None else (streams,)
    ctx.exit(show_logs(task, state_dir, streams=wanted, **options))


@cli.command(
    "exec",
    context_settings={"allow_interspersed_args": False},
    short_help="Run a command in a running task.",
)
@click.argument("task")
@click.argument("command", nargs=-1, required=True, metavar="[--] COMMAND [ARGS...]")
@click.option("-i", "--stdin", "has_stdin", is_flag=True, help="Pass our stdin to the command.")
@click.option("-t", "--tty", "has_terminal", is_flag=True, help="Give the command a terminal.")
@STATE_DIR
@click.pass_context
def exec_(
    ctx: click.Context, task: str, command: tuple[str, ...], state_dir: str | None, **flags: bool
) -> None:
    """Run a command in a running task, without an agent.

    TASK is named as for destroy. The command runs as the task's user, in its directory, environment
    and cgroup; all that it leaves is killed when it ends, and when we do. Exits with the command's
    code, and with 125 when it could not be started. A shell: exec -it TASK -- /bin/sh
    """
    from trio_driver.cli.exec import exec_in_task

    words = command[1:] if command[0] == "--" else command
    if not words:
        raise click.UsageError("name a command after --")
    ctx.exit(exec_in_task(task, words, state_dir, **flags))


@cli.command(short_help="Find, and remove, what belongs to nobody.")
@click.option("--repair", "repairs", is_flag=True, help="Do what is told beside each finding.")
@JSON
@STATE_DIR
@click.pass_context
def fsck(ctx: click.Context, repairs: bool, as_json: bool, state_dir: str | None) -> None:
    """Find what is left of what no longer lives, and say what to do about it.

    Compares the state directory with cgroups, sockets, locks and processes. What a living executor,
    spawner or plugin owns is left alone, and so are cgroups of other state directories. Changes
    nothing without --repair; safe while plugins and tasks run. Exits with 1 when anything is left
    to be done.
    """
    from trio_driver.cli.fsck import check

    ctx.exit(check(state_dir, repairs=repairs, as_json=as_json))


@cli.command(short_help="Try what this host can guarantee.")
@JSON
@STATE_DIR
@click.pass_context
def doctor(ctx: click.Context, as_json: bool, state_dir: str | None) -> None:
    """Try what this host can guarantee, and say what to change for more.

    Forks, contains and kills processes as executors do, and leaves nothing. Run it as the user that
    the agent runs as. Exits with 1 when no task can run on this host.
    """
    from trio_driver.cli.doctor import diagnose

    ctx.exit(diagnose(state_dir, as_json=as_json))


def run_command_line(arguments: Sequence[str]) -> int:
    """Run the command that `arguments` name; returns the exit code."""
    try:
        result = cli.main(list(arguments), prog_name="trio-driver", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    except (CommandError, PipeHeldError) as error:
        return _fail([error])
    except BaseExceptionGroup as group:
        failures = [*_leaves(group)]
        if any(isinstance(failure, KeyboardInterrupt) for failure in failures):
            return 130
        if all(isinstance(failure, CommandError | PipeHeldError) for failure in failures):
            return _fail(failures)
        raise
    return result if isinstance(result, int) else 0


def _fail(failures: Sequence[BaseException]) -> int:
    """Print failures that are meant for the user."""
    for text in dict.fromkeys(str(failure) for failure in failures):
        click.echo(f"trio-driver: {text}", err=True)
    return max(getattr(failure, "exit_code", 1) for failure in failures)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(inner)
    else:
        yield error
