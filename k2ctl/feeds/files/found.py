"""Which files a path means, and how each is opened: plain, gzip, zstd, or a member of a zip."""

import glob
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem, S3FileSystem

from k2ctl.errors import K2Error, UsageError, first_line
from k2ctl.profiles.feed import Source

SUFFIXES: Final = {
    "csv": (".csv", ".txt", ".psv", ".tsv"),
    "ndjson": (".ndjson", ".jsonl", ".json"),
    "parquet": (".parquet", ".pq"),
    "dbn": (".dbn",),
}
"""Of each format, without those of compression."""

COMPRESSED: Final = (".gz", ".gzip", ".zst", ".zstd", ".zip")
_MAGIC: Final = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_ZIP: Final = b"PK\x03\x04"
_OF_ARCHIVES: Final = (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, ValueError)
"""What the readers of archives raise beside OSError: of a password, a damaged member, an end that comes too early."""

_PATTERN: Final = re.compile(r"[*?\[]")
_S3: Final = "s3://"


@dataclass(frozen=True)
class FeedFile:
    """One file of trades, or a member of an archive."""

    # As messages name it.
    name: str
    system: FileSystem
    # Where it is in the file system.
    path: str
    # Of an archive; empty where the file is none.
    member: str
    # Bytes as they are stored.
    size: int

    def open(self) -> "OpenedFile":
        """Its content, decompressed.

        Raises:
            OSError: it cannot be read.
        """
        raw = self.system.open_input_file(self.path)
        if self.member:
            try:
                return OpenedFile(zipfile.ZipFile(raw).open(self.member), self.size, is_plain=False)
            except _OF_ARCHIVES as error:
                raise OSError(f"the archive cannot be read: {error}") from error
        begun = raw.read(4)
        raw.seek(0)
        if begun == _ZIP:
            raise OSError("the archive is damaged, and its end is not there")
        compression = next((kind for magic, kind in _MAGIC.items() if begun.startswith(magic)), None)
        if compression is None:
            return OpenedFile(raw, self.size, is_plain=True)
        return OpenedFile(pa.CompressedInputStream(raw, compression), self.size, is_plain=False)

    @property
    def base_name(self) -> str:
        """Its own name, without folders."""
        return (self.member or self.path).rpartition("/")[2]

    @property
    def folder(self) -> str:
        """The folder that it, or its archive, is in."""
        return self.path.rpartition("/")[0]


@dataclass(frozen=True)
class OpenedFile:
    """A stream of decompressed bytes. is_plain: one may seek in it, and `size` is its length."""

    stream: Any
    size: int
    is_plain: bool

    def read(self, count: int) -> bytes:
        """The next bytes; none at the end.

        Raises:
            OSError: they cannot be read.
        """
        try:
            return bytes(self.stream.read(count))
        except _OF_ARCHIVES as error:
            raise OSError(str(error)) from error

    def close(self) -> None:
        """Give the file back."""
        self.stream.close()


def find_files(where: str, source: Source, storage: Mapping[str, str]) -> list[FeedFile]:
    """The files of a path: a file, a folder with all below it, a glob, or what begins with an `s3://` prefix.

    In a folder, those count whose name fits the feed: its `file_name`, else the suffix of its format. storage: what
    reaches the object store, by Iceberg's names; else the environment says it.

    Raises:
        UsageError: there is none.
    """
    named, files = _named(where, storage) if where.startswith(_S3) else _local(where)
    table = source.names.file if source.names is not None else None
    fitting = [
        file
        for archive in files
        for file in _members(archive)
        if (named or _fits(file, source)) and file.base_name != table
    ]
    if not fitting:
        raise UsageError(f"There are no {source.format} files in {where}.", _hint(source))
    return sorted(fitting, key=lambda file: file.name)


def _hint(source: Source) -> str:
    if source.file_name is not None:
        return f"The feed takes files whose name fits file_name: {source.file_name}"
    suffixes = ", ".join(SUFFIXES.get(source.format, ()))
    return f"Name a file, or a folder or glob of files that end with {suffixes}, compressed or not."


def _local(where: str) -> tuple[bool, list[FeedFile]]:
    """Whether the files were named, not looked for; and the files."""
    system, path = LocalFileSystem(), Path(where).expanduser()
    if path.is_file():
        return True, [FeedFile(path.name, system, str(path.absolute()), "", path.stat().st_size)]
    if path.is_dir():
        found = [file for file in path.rglob("*") if file.is_file()]
        base = path
    elif _PATTERN.search(where):
        found = [Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file()]  # noqa: PTH207
        base = Path(*takewhile(lambda part: not _PATTERN.search(part), path.parts))
    else:
        raise UsageError(f"There is no file or folder {where}.", "Name a file, a folder, a glob or an s3:// prefix.")
    visible = [file for file in found if not any(part.startswith(".") for part in _below(file, base).parts)]
    return bool(_PATTERN.search(where)), [
        FeedFile(str(_below(file, base)), system, str(file.absolute()), "", file.stat().st_size) for file in visible
    ]


def _below(file: Path, base: Path) -> Path:
    return file.relative_to(base) if file.is_relative_to(base) else file


def _named(where: str, storage: Mapping[str, str]) -> tuple[bool, list[FeedFile]]:
    """What an object store has under a prefix."""
    system, prefix = _object_store(storage), where.removeprefix(_S3)
    bucket, _, rest = prefix.partition("/")
    try:
        info = system.get_file_info(prefix.rstrip("/"))
        if info.type == FileType.File:
            return True, [FeedFile(info.base_name, system, info.path, "", info.size)]
        folder = prefix if info.type == FileType.Directory else f"{bucket}/{rest.rpartition('/')[0]}"
        folder = folder.rstrip("/")
        every = system.get_file_info(FileSelector(folder, recursive=True, allow_not_found=True))
    except OSError as error:
        raise K2Error(
            f"{where} cannot be listed: {first_line(error)}",
            "Its address and keys come from the stack's storage, else from AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY and AWS_REGION.",
        ) from error
    files = [one for one in every if one.type == FileType.File and one.path.startswith(prefix)]
    return False, [FeedFile(one.path.removeprefix(folder + "/"), system, one.path, "", one.size) for one in files]


def _object_store(storage: Mapping[str, str]) -> FileSystem:
    if "s3.endpoint" not in storage:
        return S3FileSystem()
    return S3FileSystem(
        access_key=storage.get("s3.access-key-id"),
        secret_key=storage.get("s3.secret-access-key"),
        region=storage.get("s3.region"),
        endpoint_override=storage["s3.endpoint"],
    )


def _members(file: FeedFile) -> Iterator[FeedFile]:
    """The file itself or, of a zip, the files in it. One that cannot be read says so when it is opened."""
    try:
        with file.system.open_input_file(file.path) as raw:
            is_archive = raw.size() >= len(_ZIP) and raw.read_at(len(_ZIP), 0) == _ZIP
            members = zipfile.ZipFile(raw).infolist() if is_archive else None
    except (OSError, *_OF_ARCHIVES):
        members = None
    if members is None:
        yield file
        return
    for member in members:
        hidden = any(part.startswith((".", "__MACOSX")) for part in member.filename.split("/"))
        if not member.is_dir() and not hidden:
            name = f"{file.name}/{member.filename}"
            yield FeedFile(name, file.system, file.path, member.filename, member.file_size)


def _fits(file: FeedFile, source: Source) -> bool:
    if source.file_name is not None:
        return name_groups(file, source.file_name) is not None
    name = file.base_name.lower()
    plain = next((name.removesuffix(suffix) for suffix in COMPRESSED if name.endswith(suffix)), name)
    is_bare = plain != name and "." not in plain
    return plain.endswith(SUFFIXES.get(source.format, ())) or is_bare


def name_groups(file: FeedFile, pattern: str) -> dict[str, str | None] | None:
    """What the name of a file says by a regular expression; None where it does not fit.

    A pattern with a slash is looked for in the whole path.
    """
    if "/" in pattern:
        found = re.search(pattern, f"{file.path}/{file.member}" if file.member else file.path)
    else:
        found = re.match(pattern, file.base_name)
    return None if found is None else found.groupdict()
