"""`python -m k2ctl.dashboards` writes the dashboards of a checkout; a test compares them to the committed."""

from k2ctl.dashboards.files import FOLDER, documents

for name, text in documents().items():
    (FOLDER / name).write_text(text)
