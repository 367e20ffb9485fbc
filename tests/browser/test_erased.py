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
    picture(tab, "models-erased")
    to(tab, "Jobs")
    expect(tab.get_by_text("certify").first).to_be_visible()
