"""Every promise, and every threat that is said to be held, names a test that there is."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/promises.md").read_text()
THREATS = (ROOT / "docs/security.md").read_text().partition("| threat |")[2].partition("\n\n")[0]
ROWS, HELD = (
    [
        line
        for line in text.splitlines()
        if line.startswith("| ") and not line.startswith(("| promise |", "| what holds |"))
    ]
    for text in (TEXT, THREATS)
)


@pytest.mark.parametrize("row", [*ROWS, *HELD], ids=lambda row: row[2:40])
def test_a_promise_is_kept_by_a_test(row: str) -> None:
    _, *said, tests, _ = row.split("|")
    assert all(words.strip() for words in said)
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", tests)
    assert named, "a promise without a test"
    for path, name in named:
        source = (ROOT / path).read_text()
        assert re.search(rf"^def {name}\(", source, re.MULTILINE), f"{path} has no {name}"


def test_there_are_promises() -> None:
    assert len(ROWS) > 20
    assert len(HELD) > 8
    assert "::test" not in re.sub(r"^\|.*\|$", "", TEXT, flags=re.MULTILINE)
