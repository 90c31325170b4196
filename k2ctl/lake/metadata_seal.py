"""The seal of a manifest, a manifest list or a metadata file: a digest of all of its bytes, in the file itself.

Every reader of these formats ignores it. An Avro file has a marker of sixteen bytes of the writer's choice behind
its header and behind each block: ours is a word and the digest of the rest. A metadata file is a JSON object, in which
ours is a first key that no reader knows. The digest begins with the file's name, so that no file replaces another.
"""

import hashlib
from typing import Final

from k2ctl.lake.seal import Broken

_WORD: Final = b"K2SEAL"
_MARKER_BYTES: Final = 16
_KEY: Final = b'{"k2-seal":"'
_DIGEST_BYTES: Final = _MARKER_BYTES - len(_WORD)


def is_metadata(location: str) -> bool:
    """Whether a file of such a name is sealed here."""
    return location.endswith((".avro", ".metadata.json"))


def sealed(name: str, content: bytes) -> bytes:
    """The content of a new file with its seal; as it is where it is of no known form."""
    if name.endswith(".avro"):
        marker = content[-_MARKER_BYTES:]
        return content.replace(marker, _marker(name, content.split(marker)))
    if content.startswith(b'{"'):
        rest = content[1:]
        return _KEY + _digest(name, [rest]).hex().encode() + b'",' + rest
    return content


def hold(name: str, content: bytes) -> None:
    """Compare a file with its seal; one without a seal was written by another program.

    Raises:
        Broken: it is not as it was written.
    """
    if name.endswith(".avro"):
        marker = content[-_MARKER_BYTES:]
        whole = _WORD not in content or marker == _marker(name, content.split(marker))
    elif content.startswith(_KEY):
        end = len(_KEY) + 2 * _DIGEST_BYTES
        rest = content[end + 2 :]
        whole = content[len(_KEY) : end] == _digest(name, [rest]).hex().encode() and content[end : end + 2] == b'",'
    else:
        whole = True
    if not whole:
        raise Broken("bytes were altered")


def _marker(name: str, parts: list[bytes]) -> bytes:
    return _WORD + _digest(name, parts)


def _digest(name: str, parts: list[bytes]) -> bytes:
    """Of the parts with their lengths: a marker that stands elsewhere changes it."""
    digest = hashlib.blake2b(name.encode(), digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()
