"""The encoder of manifests, for commits of many files."""

import itertools
from typing import Any, Final

from pyiceberg.avro import file as avro_file
from pyiceberg.avro import resolver as avro_resolver
from pyiceberg.avro.encoder import BinaryEncoder
from pyiceberg.avro.writer import IntegerWriter, MapWriter


def _zigzag(integer: int) -> bytes:
    datum, encoded = (integer << 1) ^ (integer >> 63), bytearray()
    while datum & ~0x7F:
        encoded.append(datum & 0x7F | 0x80)
        datum >>= 7
    encoded.append(datum)
    return bytes(encoded)


_SMALL: Final = tuple(map(_zigzag, range(1 << 13)))


def _encoded(integer: int) -> bytes:
    return _SMALL[integer] if 0 <= integer < len(_SMALL) else _zigzag(integer)


class QuickEncoder(BinaryEncoder):
    """Writes a number at once: pyiceberg writes it byte by byte.

    The statistics of a file are some 280 numbers, most of them small.
    """

    def write_int(self, integer: int) -> None:
        self._output_stream.write(_encoded(integer))


class QuickMapWriter(MapWriter):
    """Writes a map of numbers at once."""

    def write(self, encoder: BinaryEncoder, val: dict[Any, Any]) -> None:
        if val and isinstance(self.key_writer, IntegerWriter) and isinstance(self.value_writer, IntegerWriter):
            numbers = (len(val), *itertools.chain.from_iterable(val.items()), 0)
            encoder.write(b"".join(map(_encoded, numbers)))
        else:
            super().write(encoder, val)


avro_file.BinaryEncoder = QuickEncoder  # type: ignore[attr-defined]  # no parameter chooses them
avro_resolver.MapWriter = QuickMapWriter  # type: ignore[attr-defined]
