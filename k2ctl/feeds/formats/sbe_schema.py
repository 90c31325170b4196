"""An XML schema of SBE (FIX Simple Binary Encoding 1.0) of others: the fixed block of a message, as columns.

Groups and variable data stand behind the block, and are not read. A version with a longer block has fields that are
not known here; in one with a shorter block the fields beyond it are null.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_SIZES: Final = {
    "char": "S1", "int8": "i1", "int16": "i2", "int32": "i4", "int64": "i8",
    "uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8", "float": "f4", "double": "f8",
}  # fmt: skip
_HEADER: Final = ("blockLength", "templateId", "schemaId", "version")
_DIGITS: Final = 38


class SbeType(Protocol):
    """A type of the schema."""

    @property
    def dtype(self) -> np.dtype | None:
        """Its bytes; None if it has none, as a constant."""
        ...

    @property
    def arrow(self) -> pa.DataType:
        """The type of its column."""
        ...

    def column(self, raw: np.ndarray, /) -> pa.Array:
        """n values. raw: array[n] of its dtype; of a constant, of anything."""
        ...


@dataclass(frozen=True)
class Constant:
    """What every message has, and none sends."""

    value: Any
    dtype: None = None

    @property
    def arrow(self) -> pa.DataType:
        """See `SbeType`."""
        return pa.scalar(self.value).type

    def column(self, raw: np.ndarray) -> pa.Array:
        """See `SbeType`."""
        return pa.repeat(pa.scalar(self.value), len(raw))


@dataclass(frozen=True)
class Primitive:
    """A number, a character, or a row of them."""

    dtype: np.dtype
    # What stands for none; None: there is no such value.
    null: int | float | None

    @property
    def arrow(self) -> pa.DataType:
        """See `SbeType`."""
        if self.dtype.subdtype is not None:
            return pa.list_(pa.from_numpy_dtype(self.dtype.base.newbyteorder("=")))
        return pa.string() if self.dtype.kind == "S" else pa.from_numpy_dtype(self.dtype.newbyteorder("="))

    def column(self, raw: np.ndarray) -> pa.Array:
        """See `SbeType`."""
        if self.dtype.kind == "S":
            return _texts(raw)
        native = raw.astype(raw.dtype.newbyteorder("="))
        if self.dtype.subdtype is not None:
            return pa.FixedSizeListArray.from_arrays(pa.array(native.reshape(-1)), raw.shape[1]).cast(self.arrow)
        if self.null is None:
            return pa.array(native)
        return pa.array(native, mask=np.isnan(native) if np.isnan(self.null) else native == self.null)


def _texts(raw: np.ndarray) -> pa.Array:
    """Characters up to a zero, without spaces behind them; null without any."""
    found = pa.array(raw.tolist(), pa.binary())
    try:
        texts = found.cast(pa.string())
    except pa.ArrowInvalid:  # not UTF-8: then Latin 1, in which every byte is a character
        texts = pa.array([value.decode("latin-1") for value in raw.tolist()], pa.string())
    texts = pc.utf8_rtrim_whitespace(pc.replace_substring_regex(texts, "\\x00.*", ""))
    return pc.if_else(pc.equal(texts, ""), None, texts)


@dataclass(frozen=True)
class Choices:
    """enum: a name for each value. set: the names of the bits that are set."""

    number: Primitive
    names: Mapping[int, str]
    is_set: bool

    @property
    def dtype(self) -> np.dtype:
        """See `SbeType`."""
        return self.number.dtype

    @property
    def arrow(self) -> pa.DataType:
        """See `SbeType`."""
        return pa.list_(pa.string()) if self.is_set else pa.string()

    def column(self, raw: np.ndarray) -> pa.Array:
        """See `SbeType`."""
        if self.is_set:
            bits, texts = np.array(list(self.names), np.uint64), pa.array(list(self.names.values()), pa.string())
            there = (raw.astype(np.uint64)[:, None] >> bits) & np.uint64(1)
            offsets = np.append(0, np.cumsum(there.sum(axis=1))).astype(np.int32)
            return pa.ListArray.from_arrays(pa.array(offsets), texts.take(pa.array(np.nonzero(there)[1])))
        numbers = raw.view("u1") if raw.dtype.kind == "S" else raw
        known, at = np.unique(numbers, return_inverse=True)
        null, shown = (0, chr) if raw.dtype.kind == "S" else (self.number.null, str)
        found = [None if value == null else self.names.get(value) or shown(value) for value in known.tolist()]
        return pa.array(found, pa.string()).take(pa.array(at))


@dataclass(frozen=True)
class Composite:
    """Several parts; a mantissa and an exponent are a decimal."""

    parts: Mapping[str, SbeType]
    dtype: np.dtype

    @property
    def is_decimal(self) -> bool:
        """True for a mantissa and an exponent."""
        return set(self.parts) == {"mantissa", "exponent"}

    @property
    def arrow(self) -> pa.DataType:
        """See `SbeType`."""
        if not self.is_decimal:
            return pa.struct([pa.field(name, part.arrow) for name, part in self.parts.items()])
        exponent = self.parts["exponent"]
        fixed = isinstance(exponent, Constant) and -_DIGITS <= exponent.value <= 0
        return pa.decimal128(_DIGITS, -exponent.value) if isinstance(exponent, Constant) and fixed else pa.string()

    def column(self, raw: np.ndarray) -> pa.Array:
        """See `SbeType`."""
        columns = {name: part.column(raw[name] if part.dtype is not None else raw) for name, part in self.parts.items()}
        if not self.is_decimal:
            return pa.StructArray.from_arrays(list(columns.values()), names=list(columns))
        mantissas, exponents = columns["mantissa"], columns["exponent"]
        absent = mantissas.is_null().to_numpy(zero_copy_only=False) | exponents.is_null().to_numpy(zero_copy_only=False)
        numbers = mantissas.fill_null(0).to_numpy(zero_copy_only=False)
        if not pa.types.is_string(self.arrow):
            return _decimals(numbers, absent, self.arrow)
        powers = exponents.fill_null(0).to_numpy(zero_copy_only=False)
        # Exactly, whatever the exponent is: `123e-2` is read by its digits.
        texts = [f"{number}e{power}" for number, power in zip(numbers.tolist(), powers.tolist(), strict=True)]
        return pa.array(texts, pa.string(), mask=absent)


def _decimals(numbers: np.ndarray, absent: np.ndarray, arrow: pa.DataType) -> pa.Array:
    words = np.zeros((len(numbers), 2), np.int64)
    signed = numbers.dtype.kind == "i"
    words[:, 0] = numbers.astype(np.int64) if signed else numbers.astype(np.uint64).view(np.int64)
    words[:, 1] = words[:, 0] >> 63 if signed else 0
    valid = pa.array(~absent).buffers()[1] if absent.any() else None
    return pa.Array.from_buffers(arrow, len(numbers), [valid, pa.py_buffer(words)])


@dataclass(frozen=True)
class SbeField:
    """A field of a message's block."""

    name: str
    type: SbeType
    offset: int

    @property
    def end(self) -> int:
        """Where it ends in the block."""
        return self.offset + (self.type.dtype.itemsize if self.type.dtype is not None else 0)


@dataclass(frozen=True)
class SbeMessage:
    """A message, and the header that stands before each."""

    name: str
    template_id: int
    schema_id: int
    header: np.dtype
    fields: tuple[SbeField, ...]
    # False if groups or variable data stand behind the block.
    is_fixed: bool

    def columns(self, blocks: np.ndarray) -> dict[str, pa.Array]:
        """The fields of n blocks of one length; uint8[n, length]."""
        count, length = blocks.shape
        found = {}
        for one in self.fields:
            if one.end > length:
                found[one.name] = pa.nulls(count, one.type.arrow)
                continue
            raw = np.ascontiguousarray(blocks[:, one.offset : one.end])
            dtype = one.type.dtype
            values = raw if dtype is None else np.ndarray((count,), dtype, raw.tobytes())
            found[one.name] = one.type.column(values)
        return found


@dataclass
class _Reader:
    """The types of a schema by name."""

    order: Literal["<", ">"]
    nodes: Mapping[str, Element]
    open: list[str] = field(default_factory=list)

    def named(self, name: str, presence: str = "", value_ref: str = "") -> SbeType:
        """Raises:
        ValueError: the schema has no such type, or one that contains itself.
        """
        if value_ref:
            return Constant(value_ref.rpartition(".")[2])
        if name in _SIZES and name not in self.nodes:
            return self._primitive(Element("type", primitiveType=name), presence)
        if name not in self.nodes or name in self.open:
            raise ValueError(f"there is no type {name}" if name not in self.nodes else f"{name} contains itself")
        self.open.append(name)
        found = self.of(self.nodes[name], presence)
        self.open.pop()
        return found

    def of(self, node: Element, presence: str = "") -> SbeType:
        """The type that an element declares."""
        if node.tag == "composite":
            return self._composite(node)
        if node.tag in ("enum", "set"):
            number = self.named(node.attrib["encodingType"], "optional")
            if not isinstance(number, Primitive):
                raise ValueError(f"{node.get('name')} is no number")
            tag = "choice" if node.tag == "set" else "validValue"
            names = {_value_of(one.text or "", number): one.attrib["name"] for one in node.iterfind(tag)}
            return Choices(number, names, node.tag == "set")
        if node.tag == "ref":
            return self.named(node.attrib["type"])
        return self._primitive(node, presence)

    def _primitive(self, node: Element, presence: str) -> SbeType:
        kind, presence = node.attrib["primitiveType"], presence or node.get("presence", "")
        if presence == "constant":
            text = (node.text or "").strip()
            if "valueRef" in node.attrib:
                return Constant(node.attrib["valueRef"].rpartition(".")[2])
            return Constant(text if kind == "char" else float(text) if kind in ("float", "double") else int(text))
        length = int(node.get("length", "1"))
        if kind == "char":
            return Primitive(np.dtype(f"S{length}"), None)
        one = np.dtype(_SIZES[kind]).newbyteorder(self.order)
        if length > 1:
            return Primitive(np.dtype((one, (length,))), None)
        return Primitive(one, _null(one, node.get("nullValue")) if presence == "optional" else None)

    def _composite(self, node: Element) -> Composite:
        parts, formats, offsets, at = {}, [], [], 0
        for child in node:
            part = self.of(child)
            parts[child.attrib["name"]] = part
            if part.dtype is not None:
                at = int(child.get("offset", at))
                formats.append((child.attrib["name"], part.dtype))
                offsets.append(at)
                at += part.dtype.itemsize
        names = [name for name, _ in formats]
        layout: Any = {"names": names, "formats": [one for _, one in formats], "offsets": offsets, "itemsize": at}
        return Composite(parts, np.dtype(layout))


def _null(one: np.dtype, declared: str | None) -> int | float:
    if declared is not None:
        return float(declared) if one.kind == "f" else int(declared)
    if one.kind == "f":
        return float("nan")
    limits = np.iinfo(one)
    return int(limits.min if one.kind == "i" else limits.max)


def _value_of(text: str, number: Primitive) -> int:
    return ord(text.strip()) if number.dtype.kind == "S" else int(text)


def read_schema(path: Path, message: str) -> SbeMessage:
    """The message of a schema file.

    Raises:
        ValueError: it cannot be read, or has no such message.
    """
    try:
        root = ElementTree.parse(path).getroot()  # noqa: S314
        return _message(root, message)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except (ElementTree.ParseError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no schema of SBE: {type(error).__name__} {error}") from error


def _message(root: Element, name: str) -> SbeMessage:
    order: Literal["<", ">"] = ">" if root.get("byteOrder") == "bigEndian" else "<"
    nodes = {node.attrib["name"]: node for types in root.iterfind("types") for node in types}
    reader = _Reader(order, nodes)
    header = reader.named(root.get("headerType", "messageHeader"))
    if not isinstance(header, Composite) or not set(_HEADER) <= set(header.dtype.names or ()):
        raise ValueError(f"its header does not have {', '.join(_HEADER)}")
    messages = {node.attrib["name"]: node for node in root if node.tag.rpartition("}")[2] == "message"}
    if name not in messages:
        raise ValueError(f"it has no message {name}; there are {', '.join(sorted(messages)) or 'none'}")
    node = messages[name]
    return SbeMessage(
        name,
        int(node.attrib["id"]),
        int(root.attrib["id"]),
        header.dtype,
        tuple(_fields(reader, node)),
        not any(child.tag in ("group", "data") for child in node),
    )


def _fields(reader: _Reader, message: Element) -> Iterator[SbeField]:
    at = 0
    for node in message.iterfind("field"):
        kind = reader.named(node.attrib["type"], node.get("presence", ""), node.get("valueRef", ""))
        at = int(node.get("offset", at))
        yield SbeField(node.attrib["name"], kind, at)
        at += kind.dtype.itemsize if kind.dtype is not None else 0
