"""Simple Binary Encoding for fixed blocks: an SBE XML schema becomes numpy dtypes.

Only what K2's schema uses is read: fixed offsets, primitive types, char and uint8 arrays, enums. Source of
the format: FIX Trading Community, Simple Binary Encoding 1.0.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from k2ctl.home import shipped

SBE_NAMESPACE = "{http://fixprotocol.io/2016/sbe}"
HEADER = np.dtype([(name, "<u2") for name in ("block_length", "template_id", "schema_id", "version")])

_PRIMITIVES = {
    "uint8": "u1", "uint16": "<u2", "uint32": "<u4", "uint64": "<u8",
    "int8": "i1", "int16": "<i2", "int32": "<i4", "int64": "<i8",
}  # fmt: skip


@dataclass(frozen=True)
class Template:
    """One message of the schema.

    `message` is the dtype of header and block together: a batch of n messages is one array of it.
    `header` holds the four values that precede every message of this version.
    """

    name: str
    message: np.dtype
    header: tuple[int, int, int, int]

    @property
    def block_length(self) -> int:
        return self.header[0]

    def empty(self, count: int) -> np.ndarray:
        """`count` messages with their headers filled in and every field zero."""
        messages = np.zeros(count, self.message)
        for name, value in zip(HEADER.names or (), self.header, strict=True):
            messages[name] = value
        return messages

    def with_block_length(self, block_length: int) -> np.dtype:
        """The dtype of the same fields in a longer block, as a newer version of the schema sends it."""
        fields: Any = self.message.fields or {}
        return np.dtype(
            {
                "names": list(fields),
                "formats": [entry[0] for entry in fields.values()],
                "offsets": [entry[1] for entry in fields.values()],
                "itemsize": HEADER.itemsize + block_length,
            }
        )


@dataclass(frozen=True)
class Schema:
    """A parsed SBE schema: its templates by name and its enums as code → name."""

    templates: dict[str, Template]
    enums: dict[str, dict[int, str]]
    null_values: dict[str, int]


def parse_schema(path: Path) -> Schema:
    """Read an SBE XML schema of ours (a shipped file, so its XML is trusted)."""
    root = ElementTree.parse(path).getroot()  # noqa: S314
    formats: dict[str, str] = dict(_PRIMITIVES)
    null_values: dict[str, int] = {}
    enums: dict[str, dict[int, str]] = {}
    for node in root.iterfind("types/type"):
        length, primitive = int(node.get("length", "1")), node.attrib["primitiveType"]
        if primitive == "char":
            formats[node.attrib["name"]] = f"S{length}"
        elif length > 1:
            formats[node.attrib["name"]] = f"V{length}"
        else:
            formats[node.attrib["name"]] = _PRIMITIVES[primitive]
        if "nullValue" in node.attrib:
            null_values[node.attrib["name"]] = int(node.attrib["nullValue"])
    for node in root.iterfind("types/enum"):
        formats[node.attrib["name"]] = _PRIMITIVES[node.attrib["encodingType"]]
        enums[node.attrib["name"]] = {int(v.text or ""): v.attrib["name"] for v in node.iterfind("validValue")}
    templates = {}
    for message in root.iterfind(f"{SBE_NAMESPACE}message"):
        block_length = int(message.attrib["blockLength"])
        fields = list(message.iterfind("field"))
        dtype = np.dtype(
            {
                "names": [*(HEADER.names or ()), *(f.attrib["name"] for f in fields)],
                "formats": ["<u2"] * 4 + [formats[f.attrib["type"]] for f in fields],
                "offsets": [0, 2, 4, 6, *(HEADER.itemsize + int(f.attrib["offset"]) for f in fields)],
                "itemsize": HEADER.itemsize + block_length,
            }
        )
        header = (block_length, int(message.attrib["id"]), int(root.attrib["id"]), int(root.attrib["version"]))
        templates[message.attrib["name"]] = Template(message.attrib["name"], dtype, header)
    return Schema(templates, enums, null_values)


@cache
def k2_schema() -> Schema:
    """The schema that this version of k2ctl ships."""
    return parse_schema(shipped("stack") / "schemas" / "trade.xml")
