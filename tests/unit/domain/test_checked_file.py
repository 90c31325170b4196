"""A checked file: whole frames come back, and any change is noticed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2ctl.domain.checked_file import HEADER_BYTES, bodies_of, body_of, frame_header, framed

MAGIC = b"K2TESTED"


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_a_frame_written_in_parts_is_the_frame_written_at_once(first: bytes, second: bytes) -> None:
    content = frame_header(MAGIC, first, second) + first + second
    assert content == framed(MAGIC, first + second)
    assert bytes(body_of(MAGIC, content)) == first + second


def test_every_flipped_bit_and_every_cut_is_noticed() -> None:
    content = framed(MAGIC, b"what was written")
    changed = [
        content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :] for at in range(30) for bit in range(8)
    ]
    for altered in [*changed, *(content[:at] for at in range(len(content))), content + b"\0"]:
        with pytest.raises(ValueError, match=r"its magic|its checksum"):
            body_of(MAGIC, altered)


def test_another_magic_is_named_as_such() -> None:
    with pytest.raises(ValueError, match="another program or version"):
        body_of(MAGIC, framed(b"K2OTHERS", b"body"))


def test_a_damaged_frame_is_passed_over_and_the_frames_around_it_are_read() -> None:
    frames = [framed(MAGIC, body) for body in (b"first", b"second", b"third")]
    damaged = bytearray(b"".join(frames))
    damaged[len(frames[0]) + HEADER_BYTES] ^= 1
    found = [None if body is None else bytes(body) for body in bodies_of(MAGIC, bytes(damaged))]
    assert found == [b"first", None, b"third"]


def test_a_file_that_ends_within_a_frame_gives_the_frames_before() -> None:
    content = framed(MAGIC, b"first") + framed(MAGIC, b"second")[:-1]
    assert [body is not None for body in bodies_of(MAGIC, content)] == [True, False]
