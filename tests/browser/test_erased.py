"""Who was erased, as people see it: a digest, a certificate, and a job with its steps."""

import re

import httpx
import pytest
from playwright.sync_api import expect
from running import wait_job
from views import to

pytestmark = pytest.mark.browser


def test_an_erasure_is_seen_and_nobodys_id_is(open_page, http: httpx.Client, picture) -> None:
    asked = http.delete("/v1/entities/user/u57").json()
    certificate = wait_job(http, asked["job"])["result"]["certificate"]
    tab = open_page()
    to(tab, "Models")
    row = tab.get_by_role("row", name=re.compile(certificate[:8]))
    expect(row).to_contain_text("done")
    expect(tab.get_by_text("u57")).to_have_count(0)
    tab.get_by_label("read the certificate of").focus()
    tab.keyboard.press("Enter")
    tab.get_by_role("option", name=f"erasure {asked['erasure']}").wait_for()
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    expect(tab.get_by_text(f"certificate {certificate} of erasure")).to_be_visible()
    expect(tab.get_by_text(re.compile("^checks: [0-9]+, of which 0 failed"))).to_be_visible()
    expect(tab.get_by_role("cell", name=re.compile("^what networks")).first).to_be_visible()
    expect(tab.get_by_role("option")).to_have_count(0)
    picture(tab, "models-erased")
    to(tab, "Jobs")
    expect(tab.get_by_text("certify").first).to_be_visible()
