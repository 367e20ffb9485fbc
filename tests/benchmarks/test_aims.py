"""Whether a page says what was to be reached, and what was missed."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from aims import MISSED, OPEN, REACHED, Aim, section

from graphsvc.report import Row


def row(value: float, lo: float | None = None, hi: float | None = None, **told: str) -> Row:
    same = {"metric": "ratio", "unit": "ratio", "split": "all", "model": "ours"}
    return Row(value=value, lo=lo, hi=hi, **same | told)


@pytest.mark.parametrize(
    ("measured", "at_least", "at_most"),
    [
        (row(3.0), REACHED, MISSED),
        (row(2.0), REACHED, REACHED),
        (row(1.0), MISSED, REACHED),
        (row(3.0, 2.5, 3.5), REACHED, MISSED),
        (row(3.0, 1.5, 4.5), OPEN, OPEN),
        (row(1.0, 0.5, 1.5), MISSED, REACHED),
    ],
)
def test_an_aim_is_reached_by_the_whole_interval(measured: Row, at_least: str, at_most: str):
    assert Aim("ratio", at_least=2.0).verdict(measured) == at_least
    assert Aim("ratio", at_most=2.0).verdict(measured) == at_most


def test_a_page_shows_what_was_missed_beside_what_was_reached():
    rows = [row(3.0), row(1.0, model="theirs"), row(9.0, split="other"), row(9.0, metric="else")]
    said = section([Aim("ratio", at_least=2.0, where="a.l"), Aim("nothing", at_most=0.0)], rows)
    assert "| ratio | ours | all | >= 2 | 3 | reached |" in said
    assert "| ratio | theirs | all | >= 2 | 1 | missed |" in said
    assert len(said.split("| it is |")[1].splitlines()) == 4
    assert section([Aim("nothing", at_most=0.0)], rows) == ""


def test_an_aim_of_all_seeds_is_judged_by_their_mean():
    seeds = [row(5.0, seed=1), row(1.0, seed=2), row(3.0, 1.0, 5.0, seed="all")]
    assert section([Aim("ratio", at_least=2.0)], seeds).count("| ratio |") == 1
    assert "not decided |" in section([Aim("ratio", at_least=2.0)], seeds)
