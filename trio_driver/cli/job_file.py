"""A job file to a `Job`: every name is used, reported as ignored, or refused.

Must not know: the plugin, the protocol, directories.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping

from trio_driver.cli import hcl_file, job_options, values
from trio_driver.cli.errors import JobError
from trio_driver.cli.hcl_file import Attribute, Block
from trio_driver.cli.job import (
    DEFAULT_CPU_MHZ,
    DEFAULT_KILL_TIMEOUT_S,
    DEFAULT_MEMORY_MIB,
    Group,
    Job,
    Resources,
    Setting,
    Task,
)
from trio_driver.cli.job_options import Options
from trio_driver.cli.values import Plain, UnresolvedError, Value
from trio_driver.linux import UnknownSignalError, signum_of

MIN_MEMORY_MIB = 10
"""Less is refused by Nomad's servers."""

JOB_TYPES = ("batch", "service", "sysbatch", "system")

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|h|m|s))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def read_job(text: str, *, path: str, variables: Mapping[str, str]) -> Job:
    """The job in a job file.

    Args:
        text: the file's content.
        path: its name, for errors.
        variables: values for its `variable` blocks, as given on the command line.

    Raises:
        JobError: not HCL, or it says what cannot be run here.
    """
    return _Reader(path).file(hcl_file.parse(text, path=path), variables)


def read_config(text: str, *, path: str) -> dict[str, Plain]:
    """A file that is one `config` body of an agent's configuration.

    Agents evaluate these texts once, not twice as in a job: an escape stays for that.

    Raises:
        JobError: not HCL, or something in it is not supported.
    """
    return _Reader(path, literal=values.escape).config(hcl_file.parse(text, path=path))


def parse_duration_s(text: str) -> float:
    """Seconds of a duration in Nomad's notation, such as `90s` or `1m30s`.

    Raises:
        ValueError: not a duration.
    """
    if not _DURATION.fullmatch(text):
        raise ValueError(f'{text!r} is not a duration; accepted is "500ms", "5s", "1m30s", "2h"')
    return sum(float(number) * _UNIT_S[unit] for number, unit in _DURATION_PART.findall(text))


class _Reader:
    """Blocks to the types of `job`, with the file's name for errors and a list of warnings."""

    def __init__(self, path: str, *, literal: Callable[[str], str] = str) -> None:
        self._path = path
        self._literal = literal
        self._warnings: list[str] = []

    def file(self, body: Block, given: Mapping[str, str]) -> Job:
        self._check(body, job_options.FILE)
        body = self._bind(body, self._variables(body, given))
        match list(body.named("job")):
            case [block]:
                return self._job(block)
            case blocks:
                raise self._error(body, f"{len(blocks)} job blocks; a job file has one")

    def _variables(self, body: Block, given: Mapping[str, str]) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for block in body.named("variable"):
            self._check(block, job_options.VARIABLE)
            name = self._label(block)
            default = block.attributes.get("default")
            if name in given:
                found[name] = self._given(given[name], default)
            elif default is not None:
                self._plain(block, "default")
                found[name] = default.value
            else:
                raise self._error(
                    block, f"has no default; give it one, or run with --var {name}=VALUE"
                )
        if unknown := sorted(set(given) - set(found)):
            raise self._error(body, f'no variable "{unknown[0]}" is declared in this file')
        return found

    def _given(self, text: str, default: Attribute | None) -> Value:
        """A value from the command line: text, unless the default is something else."""
        if default is None or isinstance(default.value, str):
            return text
        try:
            return hcl_file.parse_expression(text)
        except ValueError as error:
            raise JobError(f"--var: {error}") from None

    def _bind(self, block: Block, variables: Mapping[str, Value]) -> Block:
        """The block with `var.` references replaced."""
        attributes: dict[str, Attribute] = {}
        for name, attribute in block.attributes.items():
            try:
                bound = values.resolve(attribute.value, variables)
            except UnresolvedError as error:
                raise JobError(f"{self._place(block, name)}: {error}") from None
            attributes[name] = Attribute(attribute.line, bound)
        blocks = tuple(self._bind(inner, variables) for inner in block.blocks)
        return Block(block.kind, block.labels, block.line, attributes, blocks)

    def _job(self, block: Block) -> Job:
        self._check(block, job_options.JOB)
        job_id = self._text(block, "id", self._label(block))
        job_type = self._text(block, "type", "service")
        if job_type not in JOB_TYPES:
            raise self._error(block, f'type "{job_type}"; accepted: {", ".join(JOB_TYPES)}', "type")
        meta = self._settings(block, "meta")
        groups = tuple(self._group(group, meta) for group in block.named("group"))
        if not groups:
            raise self._error(block, "has no group block")
        return Job(
            id=job_id,
            name=self._text(block, "name", job_id),
            type=job_type,
            namespace=self._text(block, "namespace", "default"),
            region=self._text(block, "region", "global"),
            datacenter=self._datacenter(block),
            groups=groups,
            warnings=tuple(self._warnings),
        )

    def _datacenter(self, block: Block) -> str:
        """The node's: the first that the job names and that is no pattern."""
        match self._plain(block, "datacenters"):
            case None:
                return "dc1"
            case [str(), *_] as names:
                return next((str(name) for name in names if "*" not in str(name)), "dc1")
            case other:
                raise self._error(block, f"{other!r}; accepted is a list of names", "datacenters")

    def _group(self, block: Block, job_meta: Mapping[str, Setting]) -> Group:
        self._check(block, job_options.GROUP)
        name = self._label(block)
        if self._whole(block, "count", 1, minimum=0) != 1:
            self._warn(block, "one instance runs", "count")
        tasks = tuple(self._task(task) for task in block.named("task"))
        if not tasks:
            raise self._error(block, "has no task block")
        if len({task.name for task in tasks}) < len(tasks):
            raise self._error(block, "two of its tasks have the same name")
        return Group(name=name, tasks=tasks, meta={**job_meta, **self._settings(block, "meta")})

    def _task(self, block: Block) -> Task:
        self._check(block, job_options.TASK)
        name = self._label(block)
        if not name or "/" in name or "\\" in name or "\0" in name or name in (".", ".."):
            raise self._error(block, "a task's name is the name of its directory")
        driver = self._text(block, "driver", "")
        if not driver:
            raise self._error(block, 'has no driver; accepted is driver = "trio"')
        user = block.attributes.get("user")
        return Task(
            name=name,
            place=self._place(block),
            driver=driver,
            config=self._task_config(block),
            env=self._settings(block, "env"),
            meta=self._settings(block, "meta"),
            user=self._setting(block, "user", user) if user else None,
            resources=self._resources(block),
            kill_signal=self._signal(block),
            kill_timeout_s=self._duration_s(block, "kill_timeout", DEFAULT_KILL_TIMEOUT_S),
            logs=self._logs(block),
        )

    def _task_config(self, block: Block) -> dict[str, Plain]:
        inner = self._only(block, "config")
        return {} if inner is None else self.config(inner)

    def config(self, block: Block) -> dict[str, Plain]:
        """A driver's `config` body in the form in which Nomad's parser hands it on.

        Objects and blocks both become lists of objects; labels become nested objects
        (nomad-protocol §3.4).
        """
        found: dict[str, Plain] = {}
        for name in block.attributes:
            value = self._plain(block, name)
            found[name] = list[Plain]([value]) if isinstance(value, dict) else value
        for inner in block.blocks:
            earlier = found.setdefault(inner.kind, list[Plain]())
            if not isinstance(earlier, list):
                raise self._error(inner, "is set as a block and as a value")
            body: Plain = self.config(inner)
            for label in reversed(inner.labels):
                body = {label: list[Plain]([body])}
            earlier.append(body)
        return found

    def _resources(self, block: Block) -> Resources:
        inner = self._only(block, "resources")
        if inner is None:
            return Resources()
        self._check(inner, job_options.RESOURCES)
        memory = self._whole(inner, "memory", DEFAULT_MEMORY_MIB, minimum=MIN_MEMORY_MIB)
        memory_max = self._whole(inner, "memory_max", 0, minimum=-1)
        if 0 < memory_max < memory:
            raise self._error(inner, f"{memory_max} is less than memory ({memory})", "memory_max")
        return Resources(
            cpu_mhz=self._whole(inner, "cpu", DEFAULT_CPU_MHZ, minimum=1),
            memory_mib=memory,
            memory_max_mib=memory_max,
        )

    def _signal(self, block: Block) -> str:
        name = self._text(block, "kill_signal", "")
        try:
            if name:
                signum_of(name)
        except UnknownSignalError as error:
            raise self._error(block, str(error), "kill_signal") from None
        return name

    def _logs(self, block: Block) -> bool:
        inner = self._only(block, "logs")
        if inner is None:
            return True
        self._check(inner, job_options.LOGS)
        return self._flag(inner, "enabled", True) and not self._flag(inner, "disabled", False)

    def _settings(self, block: Block, kind: str) -> dict[str, Setting]:
        """The free keys of `kind`, written as a block or as an object."""
        if (written := block.attributes.get(kind)) is not None:
            if not isinstance(written.value, dict):
                raise self._error(block, f"{written.value!r}; accepted is an object", kind)
            return {
                name: self._setting(block, f"{kind}.{name}", Attribute(written.line, value))
                for name, value in written.value.items()
            }
        found: dict[str, Setting] = {}
        for inner in block.named(kind):
            for name, attribute in inner.attributes.items():
                found[name] = self._setting(block, f"{kind}.{name}", attribute)
            for nested in inner.blocks:
                raise self._error(nested, f"no block is accepted in {kind}")
        return found

    def _setting(self, block: Block, name: str, attribute: Attribute) -> Setting:
        """A text that the client will evaluate."""
        place = self._place(block, name, line=attribute.line)
        try:
            return Setting(place, values.text_of(values.to_plain(attribute.value)))
        except UnresolvedError as error:
            raise JobError(f"{place}: {error}") from None

    def _only(self, block: Block, kind: str) -> Block | None:
        match list(block.named(kind)):
            case []:
                if kind in block.attributes:
                    raise self._error(block, f"accepted is a block: {kind} {{ … }}", kind)
                return None
            case [inner]:
                return inner
            case blocks:
                raise self._error(blocks[1], f"a second {kind} block; one is accepted")

    def _check(self, block: Block, options: Options) -> None:
        """Refuse what cannot be had; note what has no effect."""
        names = [*block.attributes, *(inner.kind for inner in block.blocks)]
        for name in dict.fromkeys(names):
            if name in options.refused:
                accepted = ", ".join(sorted(options.used))
                reason = options.refused[name]
                raise self._error(block, f"not supported: {reason}; accepted: {accepted}", name)
            if name in options.ignored:
                if options.ignored[name]:
                    self._warn(block, f"ignored, {options.ignored[name]}", name)
            elif name not in options.used:
                raise self._error(block, _unknown(name, options), name)

    def _label(self, block: Block) -> str:
        match block.labels:
            case (label,):
                return label
            case _:
                raise self._error(block, f'accepted is one label: {block.kind} "name" {{ … }}')

    def _plain(self, block: Block, name: str) -> Plain:
        attribute = block.attributes.get(name)
        if attribute is None:
            return None
        try:
            return values.to_plain(attribute.value, literal=self._literal)
        except UnresolvedError as error:
            raise JobError(f"{self._place(block, name)}: {error}") from None

    def _text(self, block: Block, name: str, default: str) -> str:
        match self._plain(block, name):
            case None:
                return default
            case str() as text:
                return text
            case other:
                raise self._error(block, f"{other!r}; accepted is text", name)

    def _whole(self, block: Block, name: str, default: int, *, minimum: int) -> int:
        match self._plain(block, name):
            case None:
                return default
            case int() as number if not isinstance(number, bool) and number >= minimum:
                return number
            case other:
                message = f"{other!r}; accepted is a whole number, {minimum} or more"
                raise self._error(block, message, name)

    def _flag(self, block: Block, name: str, default: bool) -> bool:
        match self._plain(block, name):
            case None:
                return default
            case bool() as flag:
                return flag
            case other:
                raise self._error(block, f"{other!r}; accepted: true, false", name)

    def _duration_s(self, block: Block, name: str, default_s: float) -> float:
        text = self._text(block, name, "")
        try:
            return parse_duration_s(text) if text else default_s
        except ValueError as error:
            raise self._error(block, str(error), name) from None

    def _place(self, block: Block, name: str = "", *, line: int = 0) -> str:
        """Where something stands: `hello.nomad.hcl:12: task "hello", kill_timeout`."""
        attribute = block.attributes.get(name)
        nested = next(block.named(name), None) if name else None
        number = line or (attribute or nested or block).line
        return f"{self._path}:{number}: {', '.join(part for part in (block.title, name) if part)}"

    def _error(self, block: Block, message: str, name: str = "") -> JobError:
        return JobError(f"{self._place(block, name).removesuffix(': ')}: {message}")

    def _warn(self, block: Block, message: str, name: str) -> None:
        self._warnings.append(f"{self._place(block, name)}: {message}")


def _unknown(name: str, options: Options) -> str:
    known: Iterator[str] = iter(sorted({*options.used, *options.ignored}))
    close = difflib.get_close_matches(name, [*known], n=1)
    hint = f'; did you mean "{close[0]}"?' if close else ""
    return f"not known here{hint}; accepted: {', '.join(sorted(options.used))}"
