"""Where a command may write: never over what it reads, and nowhere that cannot be written."""

from pathlib import Path

import pytest

from api import cli
from api.targets import unfit


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    file = tmp_path / "shop/triples.txt"
    file.write_text("a\tlikes\tb\nb\tlikes\tc\n")
    return file


def test_a_new_file_and_an_old_one_beside(source: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.ndjson"
    old.write_text("x")
    assert unfit(old, [source]) is None
    assert unfit(tmp_path / "new.ndjson", [source]) is None
    assert unfit(Path("/dev/null"), [source]) is None


def test_what_is_read_is_not_written_over(source: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(source)
    assert "which is read" in str(unfit(link, [source]))
    assert "which is read" in str(unfit(source, [source.parent])), "a folder is read whole"
    assert "folder that is there" in str(unfit(tmp_path / "no/x", []))
    assert "received the folder" in str(unfit(tmp_path, []))


@pytest.mark.parametrize("to", ["shop/triples.txt", "nowhere/x.ndjson", "shop"])
def test_a_data_set_is_not_written_there(
    source: Path,
    tmp_path: Path,
    to: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = source.read_text()
    arguments = ["graphsvc", "dataset", "triples", "--from", str(source)]
    monkeypatch.setattr("sys.argv", [*arguments, "--to", str(tmp_path / to)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert "--to" in capsys.readouterr().err
    assert source.read_text() == before


def test_nor_is_its_schema(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes beside the events, under a name that nobody has typed."""
    held_out = tmp_path / "kg.schema.toml"
    held_out.write_text(source.read_text())
    arguments = ["graphsvc", "dataset", "triples", "--from", str(source)]
    arguments += ["--held-out", str(held_out), "--to", str(tmp_path / "kg.ndjson")]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit):
        cli.main()
    assert held_out.read_text() == source.read_text()
