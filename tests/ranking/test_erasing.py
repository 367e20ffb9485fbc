"""Rankers and tables without somebody: their rows are zero, their slots are nobody's."""

import dataclasses
import json

import numpy as np
import pytest
from loops import finish
from quick import BY_ADAGRAD, QUICK
from safetensors.torch import load_file

from graphsvc.gone import NOBODY, Named
from graphsvc.renewal import all_zero, renewed
from ranking.bundle import open_ranker
from ranking.carrying import REMEMBERED
from ranking.erasing import ids_in, ranker_without, table_without
from ranking.pretraining.tables import FacetTable, SideTable, open_table, seal_table
from ranking.tables import plan_tables
from ranking.train import train

GONE = Named({"user": frozenset({"u3", "u8", "f2"})})
ARMS = ("none", "initial", "attention_vectors")


def trained_on(examples, config):
    return finish(train(examples, config, tables=plan_tables(examples, config)))[1]


def without(store, artifact, rewriting):
    return renewed(store, artifact, rewriting.changes, artifact.parents)


@pytest.mark.parametrize("served", ["trained", "int8", "int4"])
@pytest.mark.parametrize("arm", ARMS)
def test_their_rows_are_zero_and_all_others_score_as_before(
    leaning, examples, seal, states, served, arm
):
    config = dataclasses.replace(
        QUICK,
        arm=arm,
        ids=dataclasses.replace(QUICK.ids, served=served, min_rows=2),
        training=dataclasses.replace(QUICK.training, epochs=1),
    )
    ranker = seal(trained_on(examples, config))
    slots = json.loads(ranker.artifact.file("ids.json").read_text())
    rows = sorted(slots["head"].index(one) for one in ("u3", "u8"))
    rewriting = ranker_without(ranker.artifact, GONE)
    after = without(leaning.store, ranker.artifact, rewriting)

    zeroed = rewriting.zeroed["weights.safetensors"]
    assert {name.rpartition(".")[0] for name in zeroed} == {
        "head_table",
        *(["tokens.head_shift"] if arm == "attention_vectors" else []),
    }
    assert all(some == rows for some in zeroed.values())
    assert all_zero(after.file("weights.safetensors"), zeroed)
    assert not all_zero(ranker.artifact.file("weights.safetensors"), zeroed)
    before, now = (load_file(one.file("weights.safetensors")) for one in (ranker.artifact, after))
    for name, tensor in before.items():
        rest = [n for n in range(len(tensor)) if n not in rows] if name in zeroed else ...
        assert (tensor[rest] == now[name][rest]).all(), name

    left = json.loads(after.file("ids.json").read_text())
    assert left["tail"] == slots["tail"]
    assert [row for row, one in enumerate(left["head"]) if one is None] == rows
    opened = open_ranker(leaning.store, after.digest, leaning.bundle)
    heads, tails = (states([f"{side}{n}" for n in (1, 2, 5)]) for side in "uf")
    told = [one.scored(heads, tails) for one in (ranker, opened)]
    for head in told[0].probabilities:
        np.testing.assert_array_equal(told[0].probabilities[head], told[1].probabilities[head])


def test_what_the_optimizer_remembers_of_them_goes_too(leaning, examples, seal):
    ranker = seal(trained_on(examples, BY_ADAGRAD))
    rewriting = ranker_without(ranker.artifact, GONE)
    after = without(leaning.store, ranker.artifact, rewriting)
    [rows] = rewriting.zeroed[REMEMBERED].values()
    sums = load_file(after.file(REMEMBERED))["head_table.sum"]
    assert not sums[rows].any()
    assert (load_file(ranker.artifact.file(REMEMBERED))["head_table.sum"][rows] > 0).all()
    assert ids_in(after)["user"].count(None) == 2


def test_whoever_has_no_row_of_their_own_changes_nothing(examples, seal):
    ranker = seal(trained_on(examples, BY_ADAGRAD))
    assert ranker_without(ranker.artifact, Named({"user": frozenset({"nobody"})})).changes == {}
    assert ranker_without(ranker.artifact, Named({"thing": frozenset({"u3"})})).changes == {}


def test_a_pretrained_table_loses_them_on_their_side(store):
    random = np.random.default_rng(0)
    table = FacetTable(
        name="contrastive",
        head_type="user",
        tail_type="film",
        heads=SideTable(np.array(["a", "b"], object), random.normal(size=(2, 3)).astype("f")),
        tails=SideTable(np.array(["a", "c"], object), random.normal(size=(2, 3)).astype("f")),
    )
    sealed = seal_table(store, table, {"snapshot": "a" * 64}, dials={}, metrics={})
    rewriting = table_without(sealed, Named({"user": frozenset({"a"})}))
    found = open_table(store, without(store, sealed, rewriting).digest)
    assert found.heads.ids.tolist() == [NOBODY, "b"]
    assert not found.heads.vectors[0].any()
    np.testing.assert_array_equal(found.heads.vectors[1], table.heads.vectors[1])
    assert found.tails.ids.tolist() == ["a", "c"]
    np.testing.assert_array_equal(found.tails.vectors, table.tails.vectors)
    assert rewriting.zeroed == {"vectors.safetensors": {"heads": [0]}}
    assert not found.heads.over(np.array(["a"], object)).any()
