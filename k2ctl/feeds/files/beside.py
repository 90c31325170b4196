"""A table of names beside files: what belongs to the number, or the code, that the name of a file has."""

import csv
import io

from k2ctl.errors import UsageError, first_line
from k2ctl.feeds.files.found import FeedFile
from k2ctl.profiles.feed import NamesBeside


def names_beside(file: FeedFile, names: NamesBeside) -> dict[str, dict[str, str]]:
    """The rows of the table in the folder of a file, by their key; none where there is no table.

    Raises:
        UsageError: the table has other columns.
    """
    path = f"{file.folder}/{names.file}"
    try:
        with file.system.open_input_file(path) as opened:
            rows = list(csv.DictReader(io.StringIO(opened.read().decode("utf-8-sig"))))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read: {first_line(error)}", "It is CSV with a header.") from error
    wanted = {names.key, *names.columns}
    if rows and not wanted <= rows[0].keys():
        raise UsageError(f"{path} lacks a column.", f"Expected: {', '.join(sorted(wanted))}")
    return {row[names.key]: row for row in rows}
