"""The file of rows that were not taken replaces nothing that is read, and nothing too early."""

from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from api.cli import app
from api.errors import Invalid
from api.rejects import Rejects


@pytest.mark.parametrize("name", ["events.ndjson", "mapping.toml"])
@pytest.mark.parametrize("way", ["same", "relative", "symbolic", "hard"])
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_file_that_is_read_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, way: str, dry: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    files = {kind: tmp_path / kind for kind in ("other.ndjson", "events.ndjson", "mapping.toml")}
    for file in files.values():
        file.write_text(f"the only {file.name}")
    rejects = tmp_path / "rejects.ndjson"
    if way == "symbolic":
        rejects.symlink_to(name)
    elif way == "hard":
        rejects.hardlink_to(files[name])
    else:
        rejects = files[name] if way == "same" else Path("..") / tmp_path.name / name
    read = [str(file) for kind, file in files.items() if kind != "mapping.toml"]
    given = ["--mapping", str(files["mapping.toml"]), "--rejects", str(rejects), *dry]
    found = CliRunner().invoke(app, ["ingest", *read, *given], env={"COLUMNS": "400"})
    assert found.exit_code == 2, found.output
    assert "--rejects" in found.output
    assert "should be another file than" in found.output
    for file in files.values():
        assert file.read_text() == f"the only {file.name}"


def test_a_place_where_nothing_can_be_written_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "e.ndjson").write_bytes(b"{}")
    for place in (tmp_path, tmp_path / "none" / "r.ndjson"):
        given = ["ingest", str(tmp_path / "e.ndjson"), "--dry-run", "--rejects", str(place)]
        found = CliRunner().invoke(app, given)
        assert (found.exit_code, "--rejects" in found.output) == (2, True), found.output


def test_what_stood_there_goes_with_the_first_line(tmp_path: Path) -> None:
    file = tmp_path / "r.ndjson"
    file.write_text("older")

    def interrupted(*, first: bool) -> None:
        with Rejects(file) as sink:
            if first:
                sink.add({"line": 7})
                sink.flush()
                assert orjson.loads(file.read_bytes()) == {"line": 7}, "before it ends"
                sink.add({"line": 8})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted(first=False)
    assert file.read_text() == "older"
    with pytest.raises(KeyboardInterrupt):
        interrupted(first=True)
    assert [orjson.loads(line)["line"] for line in file.read_bytes().splitlines()] == [7, 8]
    with Rejects(file):
        pass
    assert file.read_bytes() == b"", "a run that took all rows has no rejects"


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    for path, says in ((Path("/dev/full"), "No space"), (tmp_path, "Is a directory")):
        with pytest.raises(Invalid, match=f"--rejects {path} cannot be written: {says}"):
            write(path)


def write(path: Path) -> None:
    with Rejects(path) as sink:
        sink.add({"line": 1})
        sink.flush()
