"""The verbs of the right to be forgotten: what they print, and what they refuse in a sentence."""

from pathlib import Path

import orjson
import pytest
from nursery import nursery
from running import SMALL

pytestmark = pytest.mark.parametrize("trained", ["sqlite"], indirect=True)


@pytest.fixture
def run(trained):
    """Run `graphsvc` on the trained service's data: exit code, stdout, stderr."""
    own = {
        **SMALL,
        "GRAPHSVC_DATA_DIR": str(trained.settings.data_dir),
        "GRAPHSVC_DATABASE_URL": "",
        "PATH": "/usr/bin:/bin",
    }

    def call(*arguments: str) -> tuple[int, str, str]:
        folder = Path(__file__).resolve().parents[2]
        done = nursery().call(*arguments, environment=own, folder=folder)
        errors = done.stderr.decode()
        assert "Traceback" not in errors, errors
        return done.returncode, done.stdout.decode(), errors

    return call


def test_an_erasure_is_asked_for_listed_and_written_down(run) -> None:
    code, out, errors = run("erase", "user", "u9", "--json")
    assert code == 0, errors
    asked = orjson.loads(out)
    assert asked["job"]
    _, out, _ = run("erasures", "--json")
    [one] = [item for item in orjson.loads(out)["items"] if item["erasure"] == asked["erasure"]]
    assert (one["type"], one["state"], one["certificate"]) == ("user", "under_way", None)
    assert orjson.loads(run("erasures", "user", "u9", "--json")[1])["items"] == [one]
    assert orjson.loads(run("erasures", "user", "u1", "--json")[1])["items"] == []
    _, out, _ = run("audit", "--json")
    written = [row for row in orjson.loads(out)["audit"] if row["action"] == "graphsvc erase"]
    assert [row["about"] for row in written] == [{"type": "user", "subject": one["subject"]}] * 2
    assert [row["status"] for row in written] == [200, None], "asked for first, and then done"
    code, _, errors = run("erase", "--verify", str(asked["erasure"]))
    assert code == 1
    assert "should be done, and is under way" in errors


def test_the_file_is_written_anew_when_somebody_says_so(run) -> None:
    code, out, errors = run("compact", "--json")
    assert code == 0, errors
    assert orjson.loads(out)["done"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("erase",), 1, "say one of: TYPE and ID of a person, --verify NUMBER, --certificate"),
        (("erase", "user"), 1, "say one of"),
        (("erase", "user", "u1", "--verify", "1"), 1, "say one of"),
        (("erase", "film", "d1"), 1, "type should be one of persons (user), received 'film'"),
        (("erase", "--verify", "77"), 1, "there is no erasure 77"),
        (("erase", "--certificate", "77"), 1, "there is no erasure 77"),
        (("erase", "--replay", "no-such-file"), 2, "no-such-file"),
        (("erasures", "user"), 1, "say TYPE and ID of a person, or neither"),
    ],
)
def test_what_cannot_be_is_one_sentence(run, arguments, code, says) -> None:
    found, out, errors = run(*arguments)
    assert found == code, (out, errors)
    assert says in errors


GOOD = f'{{"type": "user", "subject": "{"b" * 64}", "asked_at": 1, "returned_at": null}}'


@pytest.mark.parametrize(
    "line",
    [
        "no JSON",
        "[]",
        '{"type": "user"}',
        '{"type": "user", "subject": "u1", "asked_at": 1, "returned_at": null}',
        f'{{"type": "user", "subject": "{"a" * 64}", "asked_at": "now", "returned_at": null}}',
    ],
)
def test_a_list_that_is_none_erases_nobody(run, trained, tmp_path: Path, line: str) -> None:
    run("erase", "user", "u9", "--json")  # so that there is a list
    first, *_ = (trained.settings.data_dir / "erasures.jsonl").read_text().splitlines()
    file = tmp_path / "list.jsonl"
    file.write_text(f"{first}\n{GOOD}\n{line}\n")
    _, before, _ = run("erasures", "--json")
    code, _, errors = run("erase", "--replay", str(file))
    assert code == 1
    assert "line 3 should be one of a list of erasures" in errors
    assert run("erasures", "--json")[1] == before


@pytest.mark.parametrize(
    ("first", "says"),
    [
        (GOOD, "line 1 should be that of a list of erasures"),
        ("", "line 1 should be that of a list of erasures"),
        (f'{{"key": "{"c" * 64}"}}', "is under the key of another one"),
    ],
)
def test_a_list_of_another_database_is_refused(run, tmp_path: Path, first: str, says: str) -> None:
    file = tmp_path / "list.jsonl"
    file.write_text(f"{first}\n{GOOD}\n")
    code, _, errors = run("erase", "--replay", str(file))
    assert code == 1
    assert says in errors


def test_an_erasure_cannot_be_cancelled(run) -> None:
    _, out, _ = run("erase", "user", "u8", "--json")
    code, _, errors = run("jobs", orjson.loads(out)["job"], "--cancel")
    assert code == 1
    assert "have a right to it" in errors
