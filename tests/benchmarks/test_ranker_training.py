"""The ranker's training benchmark: what is drawn, our side for real and small, ratios by hand."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import grid
import ranker_training
from exposures import Drawn
from ranker_tasks import examples_of
from ranker_training import Asked, Sizes, cell_name, cells, rows_of

from graphsvc.snapshot import Span

SMALL = Sizes(
    rows=256, tables=(120,), fields=6, dim=4, hidden=8, batch=64, epochs=1, turns=2, threads=1,
    pairs=(("ml_dcn", "full"),),
)  # fmt: skip


def at_once(work, asked, *, threads, **_):
    """`apart.run` without a process."""
    return work(**asked)


def test_each_value_is_of_a_row_and_all_of_them_are_the_table():
    drawn = Drawn(rows=300, table_rows=500, fields=5)
    # 1, .8, .64, .512, .4096 of 500 / 3.3616 = 148.7; the first has what rounding leaves over.
    assert drawn.sizes == [151, 118, 95, 76, 60]
    columns = drawn.columns()
    for name, size in zip(drawn.names, drawn.sizes, strict=True):
        assert np.unique(columns[name]).tolist() == list(range(size))
    assert set(columns["label"].tolist()) == {0, 1}
    with pytest.raises(ValueError, match="rows should be at least 151, received 100"):
        Drawn(rows=100, table_rows=500, fields=5).columns()


def test_our_side_trains_with_the_dials_of_the_cell(tmp_path):
    asked = Asked(sizes=SMALL, folder=tmp_path, python=tmp_path / "none")
    made = cells(asked, at_once)
    name = cell_name(SMALL, 120, ("ours", "ml_dcn"), 1)
    told = made[name]()
    assert (told["rows"], len(told["epoch_seconds"])) == (256, 1)
    # 120 values; a bucket in each ID table; padding, and missing and unknown of 4 categories.
    assert told["table_rows"] == 120 + 2 + 1 + 2 * 4
    assert told["width"] == 6 * 4 + 6
    assert told["first_seconds"] > told["reading_seconds"] > 0
    examples = examples_of(next(tmp_path.glob("*.npz")))
    assert len(examples.rows[Span.TRAIN].labels) == 256


def test_theirs_fail_by_name_where_there_is_no_environment(tmp_path, capsys):
    options = ranker_training.arguments().parse_args(["--out", str(tmp_path), "--only", "fuxictr"])
    asked = Asked(sizes=SMALL, folder=tmp_path, python=tmp_path / "none")
    outcome = grid.measure(cells(asked, at_once), options, (ranker_training.NoFuxictr,))
    assert outcome.code == 1
    assert len(outcome.failed) == 2
    assert "says how to make one. Looked for" in capsys.readouterr().err


def test_who_begins_changes_with_the_turn(tmp_path):
    names = list(cells(Asked(sizes=SMALL, folder=tmp_path, python=tmp_path)))
    assert [name.split("-")[0] for name in names] == ["ours", "fuxictr", "fuxictr", "ours"]


def two_turns():
    """Cells of ours and of the other's, of two turns."""

    def cell(seconds, first, mib):
        return {
            "rows": 256,
            "epoch_seconds": [seconds],
            "first_seconds": first,
            "own_mib": mib,
            "products_per_row": 1000.0,
            "commit": "c",
            "processor": "one",
        }

    found = {}
    for turn, (ours, theirs) in {1: (1.0, 2.0), 2: (1.0, 4.0)}.items():
        found[cell_name(SMALL, 120, ("ours", "ml_dcn"), turn)] = cell(ours, 4.0, 50.0)
        found[cell_name(SMALL, 120, ("fuxictr", "full"), turn)] = cell(theirs, 2.0, 100.0)
    return found


def test_ratios_are_within_turns():
    found = two_turns()
    rows = {(row.metric, row.split, row.seed): row for row in rows_of(found, SMALL)}
    speed = rows["speed_ratio_to_fuxictr", "ml_dcn/full", "all"]
    assert (speed.value, speed.model) == (3.0, "120 rows")
    # Two turns, 2 and 4: a mean of 3, a standard error of 1, 12.706 of it on either side.
    assert (speed.lo, speed.hi) == pytest.approx((3 - 12.706, 3 + 12.706))
    assert rows["speed_ratio_to_fuxictr", "ml_dcn/full", 2].value == 4.0
    assert rows["speed_ratio_with_loading_to_fuxictr", "ml_dcn/full", "all"].value == 0.5
    assert rows["peak_memory_ratio_to_fuxictr", "ml_dcn/full", 1].value == 0.5
    assert rows["rows_per_second", "fuxictr/full", 2].value == 64.0


def test_the_page_says_what_was_measured(tmp_path):
    with pytest.raises(SystemExit, match="nothing is measured yet"):
        ranker_training.write({}, SMALL, tmp_path, "")
    ranker_training.write(two_turns(), SMALL, tmp_path, "")
    text = (tmp_path / "README.md").read_text()
    assert "6 fields of categories with embeddings of 4 numbers" in text
    assert "256 of them" in text
