"""The runbooks of the alerts as a page: one source, `stack/RUNBOOKS.md`, and an anchor for each of its headings."""

import itertools
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from k2ctl.home import shipped

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>K2: runbook</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="static/docs.css">
</head><body>
<nav><a href="./">K2</a> <a href="docs">docs</a></nav>
<main><article>
{body}</article></main>
</body></html>
"""


def runbook_page() -> str:
    """The page. Links to other files of the repository are plain text: they are not served."""
    markdown = MarkdownIt("commonmark", {"html": False})
    tokens = markdown.parse((shipped("stack") / "RUNBOOKS.md").read_text("utf-8"))
    for heading, text in itertools.pairwise(tokens):
        if heading.type == "heading_open":
            heading.attrSet("id", anchor_of(text.content))
            text.children = _linked(text.children or [], anchor_of(text.content))
        elif text.type == "inline":
            text.children = [token for token in text.children or [] if token.type not in {"link_open", "link_close"}]
    return _PAGE.format(body=markdown.renderer.render(tokens, markdown.options, {}))


def anchor_of(heading: str) -> str:
    """As the alerts' `runbook_url` names it: `K2LagHigh` is `k2laghigh`."""
    return "-".join(heading.lower().split())


def _linked(text: list[Token], anchor: str) -> list[Token]:
    """A heading that leads to itself, to be sent to somebody."""
    begin = Token("link_open", "a", 1, attrs={"href": f"#{anchor}"})
    return [begin, *text, Token("link_close", "a", -1)]
