"""An error of the catalog or of the warehouse as one line that names which of them, and what to do."""

import errno
import re
from typing import Final

from pydantic import ValidationError
from pyiceberg.exceptions import RESTError

from k2ctl.endpoints import without_password
from k2ctl.errors import LakeError, LakeUnanswered, UnknownTable, first_line
from k2ctl.lake.addresses import is_folder, is_rest
from k2ctl.lake.library_errors import aws_errors, database_errors, request_errors
from k2ctl.lake.sqlite_file import is_damaged

_STATUS: Final = "See: k2ctl stack status"
_REFUSED: Final = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR}
"""Errors of a disk that answers: it is full, read-only, forbidden, or not there."""
_CAUSE: Final = re.compile(r"\[(?:Errno|SSL)[^]]*\] [^'\")]+|Failed to resolve '[^']*'")


def trouble() -> tuple[type[Exception], ...]:
    """Errors of libraries that `trouble_of` puts into words."""
    return (*database_errors(), OSError, RESTError, NotImplementedError, ValidationError, *aws_errors())


def trouble_of(error: Exception, catalog_uri: str, warehouse: str) -> LakeError:
    """The error to raise; `LakeUnanswered` where the same may work when it is asked again."""
    if isinstance(error, OSError) and not isinstance(error, request_errors()):
        state = "cannot be used" if error.errno in _REFUSED else "does not answer"
        return LakeUnanswered(f"The warehouse {warehouse} {state}: {first_line(error)}", _STATUS)
    if is_rest(catalog_uri):
        return _of_service(error, catalog_uri)
    uri = without_password(catalog_uri)
    if isinstance(error, aws_errors()):
        return LakeUnanswered(f"The catalog {uri} does not do what it is asked: {first_line(error)}", _STATUS)
    if is_damaged(error):
        return UnknownTable(
            f"The file of the catalog {uri} is damaged: {first_line(error)}",
            "Put back a copy of it. Or move it away, with its -wal and -shm, then: k2ctl lake register",
        )
    if is_folder(catalog_uri):
        return UnknownTable(
            f"A folder is at the place of the catalog {uri}, which is a file.",
            "Put back a copy of the file. Or move the folder away, then: k2ctl lake register",
        )
    return LakeUnanswered(f"The catalog {uri} does not answer: {first_line(error)}", _STATUS)


def _of_service(error: Exception, catalog_uri: str) -> LakeError:
    from requests import RequestException, Timeout

    from k2ctl.lake.rest_service import ASK, PASSING, refusal

    uri = without_password(catalog_uri)
    if isinstance(error, Timeout):
        return LakeUnanswered(f"The catalog {uri} does not answer in time.", _STATUS)
    if isinstance(error, ValidationError | ValueError):  # also an answer that is no JSON
        return LakeError(f"What answers at {uri} is no Iceberg REST catalog: {first_line(error)}", ASK)
    if isinstance(error, (RequestException, *PASSING)):
        cause = _CAUSE.search(str(error))
        return LakeUnanswered(f"The catalog {uri} does not answer: {cause[0] if cause else first_line(error)}", _STATUS)
    return refusal(catalog_uri, error)
