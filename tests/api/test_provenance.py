"""A report's header needs no git."""

import pytest

from api.provenance import header


def test_without_git_the_version_stands_for_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    found = header({"seed": 1})
    assert found["commit"].startswith("version ")
    assert found["dials"] == {"seed": 1}
    assert found["machine"]["cores"] >= 1
