"""A schema of Protobuf as a registry has it: descriptors, or the text that protoc makes them of."""

import base64
import binascii
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
from google.protobuf import any_pb2, descriptor_pb2, duration_pb2, empty_pb2, struct_pb2, timestamp_pb2, wrappers_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from k2ctl.feeds.formats.cursor import Cursor
from k2ctl.feeds.formats.protobuf import ProtobufMessage
from k2ctl.kafka.registry import Registered

_OWN: Final = "schema.proto"
_PROTOC_WITHIN_S: Final = 60
_DEEPEST: Final = 8
"""Messages in one another that a record's head names."""

_NO_MESSAGE: Final = "the head names no message of the schema"
_WELL_KNOWN: Final = (any_pb2, duration_pb2, empty_pb2, struct_pb2, timestamp_pb2, wrappers_pb2)


class ProtobufSchema:
    """A file of messages. The head of a record says which of them it is."""

    def __init__(self, schema: Registered) -> None:
        """Raises:
        ValueError: it is no schema of Protobuf.
        """
        files = _files(schema)
        pool = DescriptorPool()
        try:
            for one in _WELL_KNOWN:
                pool.AddSerializedFile(one.DESCRIPTOR.serialized_pb)
            for file in files:
                pool.Add(file)
            self._file: Any = pool.FindFileByName(_OWN)
        except (TypeError, KeyError) as error:
            raise ValueError(f"no schema of Protobuf that is read: {error}") from error
        self._messages: dict[tuple[int, ...], ProtobufMessage | str] = {}

    def parts(self, cursor: Cursor) -> Iterator[tuple[ProtobufMessage, np.ndarray]]:
        """The messages that records are, and which records; the cursor steps over their heads."""
        rows = np.arange(len(cursor))
        paths = _paths(cursor, rows)
        for path in np.unique(paths, axis=0):
            chosen = rows[(paths == path).all(axis=1) & ~cursor.failed]
            message = self._message(tuple(path[path >= 0].tolist()))
            if isinstance(message, str):
                cursor.fail(chosen, message)
            elif len(chosen):
                yield message, chosen

    def message(self, name: str | None) -> ProtobufMessage | None:
        """A message of the file by its name; without one the first, which the records of a topic of one kind are."""
        for number, one in enumerate(self._file.message_types_by_name.values()):
            if name in (None, one.name, one.full_name):
                found = self._message((number,))
                return None if isinstance(found, str) else found
        return None

    def _message(self, path: tuple[int, ...]) -> ProtobufMessage | str:
        """A message by its place in the file, or why there is none."""
        if path not in self._messages:
            self._messages[path] = self._found(path)
        return self._messages[path]

    def _found(self, path: tuple[int, ...]) -> ProtobufMessage | str:
        found, inside = None, list(self._file.message_types_by_name.values())
        for at in path:
            if at >= len(inside):
                return _NO_MESSAGE
            found = inside[at]
            inside = list(found.nested_types)
        try:
            return _NO_MESSAGE if found is None else ProtobufMessage(found)
        except ValueError as error:
            return str(error)


def _paths(cursor: Cursor, rows: np.ndarray) -> np.ndarray:
    """int64[n, 8]: which message of the file each record is, and which within that, ended by -1."""
    what = "the head"
    counts = cursor.zigzags(rows, what)
    paths = np.full((len(rows), _DEEPEST), -1)
    paths[:, 0] = 0  # a count of none is short for the first message
    wrong = (counts < 0) | (counts > _DEEPEST)
    for depth in range(_DEEPEST):
        deep = rows[(counts > depth) & ~wrong]
        if not len(deep):
            break
        number = cursor.zigzags(deep, what)
        wrong[deep] |= number < 0
        paths[deep, depth] = np.maximum(number, 0)
    if wrong.any():
        cursor.fail(rows[wrong], _NO_MESSAGE)
    return paths


def _files(schema: Registered) -> list[Any]:
    """Its descriptors, each behind those that it imports.

    Raises:
        ValueError: it is no schema of Protobuf.
    """
    texts = {**dict(schema.references), _OWN: schema.text}
    files = {name: _descriptor(name, text) for name, text in texts.items()}
    if all(file is not None for file in files.values()):
        return list(files.values())
    return _compiled(texts)


def _descriptor(name: str, text: str) -> Any:
    """What a registry gives that serializes descriptors; None if it is a text."""
    try:
        file = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(text, validate=True))
    except (binascii.Error, DecodeError, ValueError):
        return None
    file.name = name
    return file


def _compiled(texts: Mapping[str, str]) -> list[Any]:
    """Raises:
    ValueError: protoc's reason.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, text in texts.items():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"it imports {name}, which is no path within it")
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / path).write_text(text, encoding="utf-8")
        out = Path(folder) / "k2ctl.descriptors"
        arguments = ["-I.", "--include_imports", f"--descriptor_set_out={out}", _OWN]
        done = subprocess.run(
            # The module finds the well-known imports beside itself.
            [sys.executable, "-m", "grpc_tools.protoc", *arguments, f"-I{_well_known_folder()}"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_PROTOC_WITHIN_S,
            check=False,
        )
        if done.returncode:
            raise ValueError(f"no schema of Protobuf that is read: {' '.join(done.stderr.split())[:300]}")
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
    known = {one.DESCRIPTOR.name for one in _WELL_KNOWN}
    return [file for file in files if file.name not in known]


def _well_known_folder() -> Path:
    import grpc_tools

    return Path(grpc_tools.__path__[0]) / "_proto"
