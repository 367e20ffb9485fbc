"""Every promise names a test that keeps it, and there is such a test."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/promises.md").read_text()
ROWS = [
    line
    for line in TEXT.splitlines()
    if line.startswith("| ") and not line.startswith("| promise |")
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:40])
def test_a_promise_is_kept_by_a_test(row: str) -> None:
    _, promise, tests, _ = row.split("|")
    assert promise.strip()
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", tests)
    assert named, "a promise without a test"
    for path, name in named:
        source = (ROOT / path).read_text()
        assert re.search(rf"^def {name}\(", source, re.MULTILINE), f"{path} has no {name}"


def test_there_are_promises() -> None:
    assert len(ROWS) > 20
    assert "::test" not in re.sub(r"^\|.*\|$", "", TEXT, flags=re.MULTILINE)
