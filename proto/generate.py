"""Write `trio_driver/_proto` from the .proto files beside this script.

    python proto/generate.py [ROOT]

ROOT is where `trio_driver/_proto` is written; the repository itself unless given. Needs
grpcio-tools and purerpc.

* `x_pb2.py`, `x_pb2.pyi`: protoc's. The stubs are corrected where a strict type checker could not
  use them.
* `x_grpc.py`: what protoc-gen-purerpc says of the services, written again with types and with the
  comments of the .proto file. The generator's own output is untyped, cannot pass the call to a
  handler, and its stubs are for a transport that is not ours.

The .proto files are given to protoc below the path `trio_driver/_proto`, so that the generated
imports are right as they are and no other package's files can have the same names in protobuf's
process-wide pool.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

SOURCES = Path(__file__).resolve().parent
PACKAGE = "trio_driver/_proto"
HEADER = "# Written by proto/generate.py from proto/{name}.proto. Do not edit."

WIRE_NAMES = {"trio_driver.health.Health": "grpc.health.v1.Health"}
"""Services whose name on the wire is not that of their file; health.proto says why."""

SERVICE_FIELD, METHOD_FIELD = 6, 2
"""Where comments are found: FileDescriptorProto.service and ServiceDescriptorProto.method."""

CARDINALITIES = {
    "UNARY_UNARY": "unary_unary",
    "UNARY_STREAM": "unary_stream",
    "STREAM_UNARY": "stream_unary",
    "STREAM_STREAM": "stream_stream",
}

ANNOTATIONS = {
    "collections.abc": ("AsyncIterable", "AsyncIterator"),
    "contextlib": ("AbstractAsyncContextManager",),
    "trio_driver._proto.interfaces": ("Call", "Channel", "ClientCall"),
}
"""Names that generated signatures may use, by module."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One RPC of a service."""

    name: str
    cardinality: str
    request: str
    response: str
    doc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service of a file; `modules` are those of its messages."""

    name: str
    wire_name: str
    methods: list[Method]
    modules: set[str]


def main() -> None:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCES.parent
    generate(root)


def generate(root: Path) -> None:
    """Write all generated files below `root`/trio_driver/_proto.

    Raises:
        subprocess.CalledProcessError: protoc refused a file; its message is on stderr.
    """
    target = root / PACKAGE
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        descriptors = run_protoc(Path(scratch))
        made = Path(scratch) / PACKAGE
        for file in descriptors.file:
            name = Path(file.name).stem
            if not (SOURCES / f"{name}.proto").exists():
                continue
            shutil.copyfile(made / f"{name}_pb2.py", target / f"{name}_pb2.py")
            stub = (made / f"{name}_pb2.pyi").read_text()
            (target / f"{name}_pb2.pyi").write_text(correct_stub(stub))
            if file.service:
                services = read_services((made / f"{name}_grpc.py").read_text(), file)
                (target / f"{name}_grpc.py").write_text(render(name, services))


def run_protoc(scratch: Path) -> FileDescriptorSet:
    """Run protoc and purerpc's plugin into `scratch`; give the descriptors with their comments."""
    descriptors = scratch / "descriptors.bin"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PACKAGE}={SOURCES}"]
    command += ["--python_out=.", "--pyi_out=.", "--purerpc_out=."]
    command += [f"--descriptor_set_out={descriptors}", "--include_source_info"]
    command += [f"{PACKAGE}/{path.name}" for path in sorted(SOURCES.glob("*.proto"))]
    # protoc finds protoc-gen-purerpc on PATH: beside the Python that runs this.
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    subprocess.run(command, cwd=scratch, env={**os.environ, "PATH": path}, check=True)
    return FileDescriptorSet.FromString(descriptors.read_bytes())


def correct_stub(text: str) -> str:
    """Complete the types of a .pyi file from protoc.

    protoc writes `_Mapping` without its arguments, and a field that is called like its own type
    (`Attr: Attr`) hides that type from the rest of the class.
    """
    text = re.sub(r"\b_Mapping(?=\])", "_Mapping[str, _Any]", text)
    text = text.replace("from typing import ClassVar", "from typing import Any as _Any, ClassVar")
    text = f"# pyright: reportUnusedImport=false\n{text}"
    for name in re.findall(r"^    (\w+): \1$", text, flags=re.MULTILINE):
        text = re.sub(rf"(?<!class )\b{name}(?=$|, _Mapping)", f"_{name}", text, flags=re.MULTILINE)
        text += f"\n_{name} = {name}\n"
    return text


def read_services(generated: str, file: FileDescriptorProto) -> list[Service]:
    """What purerpc's generator says of the services in `file`, with the .proto file's comments."""
    tree = ast.parse(generated)
    aliases = {
        alias.asname: alias.name
        for node in tree.body
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.asname
    }
    comments = {
        tuple(location.path): " ".join(location.leading_comments.split())
        for location in file.source_code_info.location
    }
    return [
        read_service(node, aliases, comments, index)
        for index, node in enumerate(
            node
            for node in tree.body
            if isinstance(node, ast.ClassDef) and node.name.endswith("Servicer")
        )
    ]


def read_service(
    node: ast.ClassDef, aliases: dict[str, str], comments: dict[tuple[int, ...], str], index: int
) -> Service:
    """Read one generated servicer class: its registry calls hold all there is to know."""
    calls = [call for call in ast.walk(node) if isinstance(call, ast.Call)]
    (name,) = (str(ast.literal_eval(c.args[0])) for c in calls if called(c) == "Service")
    modules: set[str] = set()

    def type_name(expression: ast.expr) -> str:
        alias, _, message = ast.unparse(expression).partition(".")
        modules.add(aliases[alias])
        return f"{aliases[alias].rpartition('.')[2]}.{message}"

    methods: list[Method] = []
    for call in (c for c in calls if called(c) == "add_method"):
        signature = call.args[2]
        assert isinstance(signature, ast.Call)
        cardinality, request, response = signature.args
        position = (SERVICE_FIELD, index, METHOD_FIELD, len(methods))
        methods.append(
            Method(
                name=str(ast.literal_eval(call.args[0])),
                cardinality=ast.unparse(cardinality).rpartition(".")[2],
                request=type_name(request),
                response=type_name(response),
                doc=comments.get(position, ""),
            )
        )
    return Service(
        name=node.name.removesuffix("Servicer"),
        wire_name=WIRE_NAMES.get(name, name),
        methods=methods,
        modules=modules,
    )


def called(call: ast.Call) -> str:
    """The last part of the called name."""
    return ast.unparse(call.func).rpartition(".")[2]


def render(name: str, services: list[Service]) -> str:
    """The text of one `x_grpc.py`."""
    body: list[str] = []
    for service in services:
        body += ["", "", *render_servicer(service), "", "", *render_stub(service)]
    modules = sorted({module for service in services for module in service.modules})
    lines = [HEADER.format(name=name)]
    lines += ["# purerpc has no types.", "# pyright: reportUnknownMemberType=false"]
    lines += ["from __future__ import annotations", "", "from typing import TYPE_CHECKING", ""]
    lines += ["import purerpc", ""]
    lines += [f"from {m.rpartition('.')[0]} import {m.rpartition('.')[2]}" for m in modules]
    lines += ["", "if TYPE_CHECKING:"]
    for module, names in ANNOTATIONS.items():
        used = [n for n in names if any(re.search(rf"\b{n}\b", line) for line in body)]
        lines += [f"    from {module} import {', '.join(used)}"] if used else []
    return "\n".join([*lines, *body]) + "\n"


def render_servicer(service: Service) -> list[str]:
    """The class that a server subclasses."""
    lines = [f"class {service.name}Servicer(purerpc.Servicer):"]
    lines += [f'    """Base of a server of {service.wire_name}: every method is unimplemented."""']
    for method in service.methods:
        lines += ["", *servicer_signature(method)]
        lines += [f'        """{method.doc}"""'] if method.doc else []
        lines += ["        raise NotImplementedError"]
    lines += ["", "    @property", "    def service(self) -> purerpc.Service:"]
    lines += ['        """The methods under their names on the wire."""']
    lines += [f'        service = purerpc.Service("{service.wire_name}")']
    for method in service.methods:
        lines += ["        service.add_method("]
        lines += [f'            "{method.name}",', f"            self.{method.name},"]
        lines += ["            purerpc.RPCSignature("]
        lines += [f"                purerpc.Cardinality.{method.cardinality},"]
        lines += [f"                {method.request},", f"                {method.response},"]
        lines += ["            ),", "        )"]
    return [*lines, "        return service"]


def servicer_signature(method: Method) -> list[str]:
    """How a server method is declared."""
    streams_in, streams_out = (part == "STREAM" for part in method.cardinality.split("_"))
    argument = f"input_message: {method.request}"
    if streams_in:
        argument = f"input_messages: AsyncIterator[{method.request}]"
    # Not `async def` for streams: an async generator is a plain call that gives an iterator.
    keyword, result = "async def", f"{method.response} | None"
    if streams_out:
        keyword, result = "def", f"AsyncIterator[{method.response}]"
    if streams_in and streams_out:
        # Who reads while it answers needs a nursery, which may be in a context manager and not in a generator.
        result += f" | AbstractAsyncContextManager[{result}]"
    lines = [f"    {keyword} {method.name}("]
    return [*lines, f"        self, {argument}, request: Call", f"    ) -> {result}:"]


def render_stub(service: Service) -> list[str]:
    """The class with which a client calls."""
    lines = [f"class {service.name}Stub:", f'    """Client of {service.wire_name}."""', ""]
    lines += [
        "    def __init__(self, channel: Channel) -> None:",
        "        self._channel = channel",
    ]
    for method in service.methods:
        streams_in, streams_out = (part == "STREAM" for part in method.cardinality.split("_"))
        arguments = ["self", f"input_message: {method.request}"]
        passed = [f'"/{service.wire_name}/{method.name}"', "input_message", method.response]
        keyword, call, result = "async def", "await ", method.response
        if streams_out:
            result = f"AbstractAsyncContextManager[AsyncIterator[{method.response}]]"
            keyword, call = "def", ""
        if streams_in and not streams_out:
            arguments[1] = f"input_messages: AsyncIterable[{method.request}]"
            passed[1] = "input_messages"
        if streams_in and streams_out:
            arguments.pop()
            passed.pop(1)
            result = f"AbstractAsyncContextManager[ClientCall[{method.request}, {method.response}]]"
        arguments += ["*", "deadline_s: float | None = None"]
        passed += ["deadline_s=deadline_s"]
        lines += ["", f"    {keyword} {method.name}(", f"        {', '.join(arguments)}"]
        lines += [f"    ) -> {result}:"]
        lines += [f'        """{method.doc}"""'] if method.doc else []
        lines += [f"        return {call}self._channel.{CARDINALITIES[method.cardinality]}("]
        lines += [f"            {', '.join(passed)}", "        )"]
    return lines


if __name__ == "__main__":
    main()
