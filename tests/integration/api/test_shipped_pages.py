"""Pages and the files that they are made of: shipped, listed, and allowed to load nothing from elsewhere."""

import re

import pytest
import yaml

from k2ctl.api.pages import ASSETS, OPEN_PAGES, PAGES
from k2ctl.home import shipped
from tests.support.api import Service


@pytest.mark.parametrize("name", sorted(ASSETS))
def test_a_listed_file_is_given_with_its_type_and_once(service: Service, name: str) -> None:
    given = service.client.get(f"/static/{name}")
    assert given.status_code == 200
    assert (
        given.headers["Content-Type"].split(";")[0] == {"css": "text/css", "js": "text/javascript"}[name.split(".")[-1]]
    )
    again = service.client.get(f"/static/{name}", headers={"If-None-Match": given.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["index.html", "", "nothing.js", "../guard.py", "%2e%2e%2fguard.py", "page/page.js"])
def test_what_is_not_listed_is_not_given(service: Service, name: str) -> None:
    assert service.client.get(f"/static/{name}").status_code == 404


@pytest.mark.parametrize("path", sorted(PAGES))
def test_a_page_loads_only_listed_files_and_runs_nothing_else(service: Service, path: str) -> None:
    page = service.client.get(path)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().split(" ", 1) for part in page.headers["Content-Security-Policy"].split(";"))
    assert (policy["default-src"], policy["script-src"], policy["style-src"]) == ("'none'", "'self'", "'self'")
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", page.text)
    loaded = re.findall(r"<(?:script|link)[^>]* (?:src|href)=\"(?!data:)([^\"]+)\"", page.text)
    assert loaded
    assert all(f"/{address}" in OPEN_PAGES for address in loaded)


def test_a_browser_that_can_unpack_gets_the_same_in_a_third(service: Service) -> None:
    path = "/static/swagger-ui-bundle.js"
    packed = service.client.get(path, headers={"Accept-Encoding": "gzip"})
    plain = service.client.get(path, headers={"Accept-Encoding": "identity"})
    assert (packed.headers["Content-Encoding"], plain.headers.get("Content-Encoding")) == ("gzip", None)
    assert packed.content == plain.content
    assert int(packed.headers["Content-Length"]) < int(plain.headers["Content-Length"]) / 3


def test_every_runbook_has_the_anchor_that_its_alert_names(service: Service) -> None:
    rules = yaml.safe_load((shipped("stack") / "prometheus" / "rules.yml").read_text())["groups"]
    urls = [rule["annotations"]["runbook_url"] for group in rules for rule in group["rules"] if "alert" in rule]
    page = service.client.get("/runbook").text
    assert len(urls) > 20
    assert all(f'<h3 id="{url.partition("#")[2]}">' in page for url in urls)
    assert "<code>k2ctl watch</code>" in page
    assert not re.search(r'<a href="(?!#|\./|docs)', page)
