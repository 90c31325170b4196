"""Seals show any change of a file, and any other file under its name."""

import io
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from k2ctl.lake.seal import BLOCK, Broken, Seal, Sealing, hold, length_of_seal, parse_seal, sealed

NAME = "a.parquet"


def parquet(rows: int, name: str = NAME) -> bytes:
    sink = io.BytesIO()
    sealing = Sealing(sink, name)
    words = [random.Random(n).randbytes(12) for n in range(rows)]
    table = pa.table({"n": pa.array(range(rows)), "word": pa.array(words, pa.binary())})
    with pq.ParquetWriter(sealing, table.schema) as writer:
        writer.write_table(table, row_group_size=1000)
    assert sealing.finish(rows) == len(sink.getvalue())
    return sink.getvalue()


def held(content: bytes, name: str = NAME) -> Seal:
    seal = parse_seal(name, content, len(content))
    seal.check(content, 0)
    return seal


@pytest.mark.parametrize("rows", [0, 1, 3_000, 20_000])
def test_a_sealed_file_is_parquet_for_every_reader(rows: int) -> None:
    content = parquet(rows)
    assert held(content).rows == rows == pq.read_table(io.BytesIO(content)).num_rows
    assert len(held(content).blocks) == -(-held(content).body // BLOCK)


def test_every_altered_byte_is_found() -> None:
    content, rng = parquet(8_000), random.Random(3)
    end = length_of_seal(content)
    assert end is not None
    places = [*rng.sample(range(len(content)), 200), *range(len(content) - end, len(content))]
    for place in places:
        broken = bytearray(content)
        broken[place] ^= 1 << rng.randrange(8)
        if length_of_seal(bytes(broken)) is not None:  # else our word is gone, and the rest is as it was
            with pytest.raises(Broken):
                held(bytes(broken))


def test_another_file_under_the_name_is_found() -> None:
    with pytest.raises(Broken, match="another file"):
        held(parquet(10, "b.parquet"))


def avro(blocks: int) -> bytes:
    marker = random.Random(1).randbytes(16)
    return b"Obj\x01header" + marker + b"".join(b"block%d" % n + marker for n in range(blocks))


@pytest.mark.parametrize(
    ("name", "content"),
    [("m.avro", avro(3)), ("m.avro", avro(0)), ("1.metadata.json", b'{"location":"here","n":1}')],
)
def test_sealed_metadata_holds_until_a_byte_is_altered(name: str, content: bytes) -> None:
    whole = sealed(name, content)
    hold(name, whole)
    with pytest.raises(Broken):
        hold("another-" + name, whole)
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 4
        try:
            hold(name, bytes(broken))
        except Broken:
            continue
        start = whole.find(b"K2SEAL") if name.endswith(".avro") else 0
        assert start <= place < start + 12, "only where the seal says that it is one"


@pytest.mark.parametrize(("name", "content"), [("m.avro", avro(2)), ("1.metadata.json", b'{ "location": "here" }')])
def test_metadata_of_others_is_taken_as_it_is(name: str, content: bytes) -> None:
    hold(name, content)
