"""The generated code in `trio_driver/_proto` is what `proto/` says, and is in nobody's way."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import cast

import purerpc
import pytest

from trio_driver._proto import (
    driver_grpc,
    driver_pb2,
    health_grpc,
    health_pb2,
)

ROOT = Path(__file__).parent.parent
GENERATED = ROOT / "trio_driver" / "_proto"
HAND_WRITTEN = {"__init__.py", "interfaces.py"}


def contents(folder: Path) -> dict[str, str]:
    return {
        path.name: path.read_text()
        for path in folder.iterdir()
        if path.suffix in {".py", ".pyi"} and path.name not in HAND_WRITTEN
    }


def test_generated_code_is_what_the_proto_files_say(tmp_path: Path) -> None:
    # A failure here: run `python proto/generate.py`.
    subprocess.run([sys.executable, str(ROOT / "proto" / "generate.py"), str(tmp_path)], check=True)
    fresh = contents(tmp_path / "trio_driver" / "_proto")
    committed = contents(GENERATED)
    assert set(committed) == set(fresh)
    assert [name for name in sorted(fresh) if committed[name] != fresh[name]] == []


@pytest.mark.parametrize("source", sorted((ROOT / "proto").glob("*.proto")), ids=lambda p: p.stem)
def test_a_file_is_registered_below_our_own_path(source: Path) -> None:
    module = importlib.import_module(f"trio_driver._proto.{source.stem}_pb2")
    assert module.DESCRIPTOR.name == f"trio_driver/_proto/{source.name}"


OURS = "from trio_driver._proto import health_pb2, status_pb2"
THEIRS = """
from google.protobuf import descriptor_pb2, descriptor_pool
for name, package, message in [
    ("google/rpc/status.proto", "google.rpc", "Status"),
    ("grpc/health/v1/health.proto", "grpc.health.v1", "HealthCheckRequest"),
]:
    file = descriptor_pb2.FileDescriptorProto(name=name, package=package, syntax="proto3")
    file.message_type.add(name=message)
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
    descriptor_pool.Default().FindMessageTypeByName(f"{package}.{message}")
"""


@pytest.mark.parametrize("order", [(OURS, THEIRS), (THEIRS, OURS)], ids=["ours", "theirs"])
def test_google_s_own_files_can_be_in_the_same_process(order: tuple[str, str]) -> None:
    # A process of its own: what is registered stays registered.
    subprocess.run([sys.executable, "-c", "\n".join(order)], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    ("servicer", "name", "messages"),
    [
        (health_grpc.HealthServicer(), "grpc.health.v1.Health", health_pb2),
        (driver_grpc.DriverServicer(), "hashicorp.nomad.plugins.drivers.proto.Driver", driver_pb2),
    ],
    ids=["renamed", "theirs"],
)
def test_a_service_has_all_its_methods_under_its_name_on_the_wire(
    servicer: purerpc.Servicer, name: str, messages: ModuleType
) -> None:
    (declared,) = messages.DESCRIPTOR.services_by_name.values()
    assert servicer.service.name == name
    assert list(cast("dict[str, object]", servicer.service.methods)) == [  # pyright: ignore[reportUnknownMemberType]
        method.name for method in declared.methods
    ]
