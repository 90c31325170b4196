"""Schemas of Protobuf made by protoc, and records in Confluent's wire format, as a producer writes them."""

import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import grpc_tools
from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool


class Compiled:
    """A schema, and classes that write its messages."""

    def __init__(self, text: str) -> None:
        self.text = text
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "schema.proto").write_text(text)
            well_known = Path(grpc_tools.__path__[0]) / "_proto"
            arguments = ["-I.", f"-I{well_known}", "--include_imports", "--descriptor_set_out=out", "schema.proto"]
            command = [sys.executable, "-m", "grpc_tools.protoc", *arguments]
            subprocess.run(command, cwd=folder, check=True, timeout=60)
            self.files = descriptor_pb2.FileDescriptorSet.FromString((Path(folder) / "out").read_bytes()).file
        self._pool = DescriptorPool()
        for file in self.files:
            self._pool.Add(file)

    def message(self, name: str) -> Any:
        """The class of a message."""
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(name))


def framed(number: int, message: Any, head: bytes = b"\0") -> bytes:
    """A record value: of the first message of a schema, or the one that the head names."""
    return struct.pack(">bI", 0, number) + head + message.SerializeToString()
