"""Which figures of a report a ranker shares with its rivals."""

from dataclasses import replace

from api.ui.pictures import comparable
from graphsvc.report import Row

OWN = Row(metric="auc", value=0.7, lo=0.6, hi=0.8, unit="share", split="s/test", model="ours")
RIVAL = replace(OWN, model="item_ctr", value=0.6)


def test_what_both_have_with_intervals_is_compared() -> None:
    loss, alone = replace(OWN, metric="logloss"), replace(OWN, metric="gauc")
    difference = replace(OWN, model="ours - item_ctr")
    counted = replace(RIVAL, metric="logloss", lo=None, hi=None)
    of_others = [replace(RIVAL, metric="mrr"), replace(RIVAL, metric="mrr", model="random")]
    rows = [OWN, RIVAL, loss, alone, difference, counted, *of_others]
    assert comparable(rows, "ours") == {"auc": [OWN, RIVAL]}


def test_splits_are_told_apart_where_there_are_several() -> None:
    sliced = [replace(row, split="s/test/history=0") for row in (OWN, RIVAL)]
    assert comparable([OWN, RIVAL, *sliced], "ours") == {
        "auc, s/test": [OWN, RIVAL],
        "auc, s/test/history=0": sliced,
    }
    assert comparable([], "") == {}
