"""benchmarks/refresh.py: names of cells, and a chain of refreshes in small."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import refresh

from api.demo.data import FILES, DataMissing


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The five files of MovieLens-100k, all but empty."""
    folder = tmp_path / "ml-100k"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_text("a\n")
    return folder


def names(folder: Path, *given: str) -> set[str]:
    options = refresh.arguments(["--seeds", "1", *given])
    return set(refresh.cells(refresh.Bench(options, folder)))


def test_other_data_or_dials_are_other_cells(data: Path, tmp_path: Path):
    common = ["--data", str(data)]
    before = names(tmp_path, *common)
    assert len(before) == len(refresh.WAYS) + 1
    assert before == names(tmp_path, *common), "the same command goes on"
    for dial in (
        ["--split", "global_time"],
        ["--dim", "8"],
        ["--epochs", "2"],
        ["--threads", "1"],
    ):
        assert not before & names(tmp_path, *common, *dial), dial
    assert before == names(tmp_path, *common, "--triples-epochs", "2"), "none of these are triples"
    files = []
    for name in ("train", "valid", "test"):
        (tmp_path / name).write_text("a\tb\tc\n")
        files += [f"--{name}", str(tmp_path / name)]
    [triples] = names(tmp_path, *common, *files) - before
    assert triples.startswith("share-triples-1-")
    (tmp_path / "test").write_text("a\tb\td\n")
    [others] = names(tmp_path, *common, *files) - before
    assert others != triples
    (data / FILES[0]).write_text("b\n")
    assert not before & names(tmp_path, *common)


def test_files_that_are_missing_are_named_before_anything_is_measured(tmp_path: Path):
    with pytest.raises(DataMissing, match=r"ml-100k\.inter"):
        names(tmp_path, "--data", str(tmp_path))
