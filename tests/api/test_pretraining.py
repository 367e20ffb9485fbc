"""What may be asked of pretraining, and its step: tables sealed, and rankers that read them."""

import numpy as np
import pytest
from loops import silent
from pydantic import ValidationError

from api.jobs import steps
from api.jobs.choices import PretrainingChoice
from api.jobs.pretraining import pretrain
from api.jobs.requests import RetrainRequest
from kge.bundle import open_bundle
from ranking.bundle import open_ranker
from ranking.pretraining.config import FACET_NAMES, GnnConfig, PretrainingConfig
from ranking.pretraining.tables import open_table


def test_what_is_left_out_is_as_by_default() -> None:
    choice = PretrainingChoice(facets=("kge", "gnn"))
    plain = PretrainingConfig(facets=("kge", "gnn"), seed=7)
    assert choice.config(seed=7, bundle_dim=64) == plain
    whole = PretrainingChoice(
        facets=FACET_NAMES, combination="summed", dim=8, epochs=0.5, backend="dgl"
    )
    assert set(whole.model_fields_set) == set(PretrainingChoice.model_fields), "each is chosen here"
    assert whole.config(seed=1, bundle_dim=8) == PretrainingConfig(
        facets=FACET_NAMES,
        combination="summed",
        dim=8,
        epochs=0.5,
        seed=1,
        gnn=GnnConfig(backend="dgl"),
    )


@pytest.mark.parametrize(
    ("facets", "combination", "dim"),
    [
        (("contrastive", "kge"), "summed", 64),
        (("contrastive", "kge"), "concat", 32),
        (("contrastive", "gnn"), "summed", 32),
        (("kge",), "summed", 32),
    ],
)
def test_a_table_that_is_the_kges_too_is_as_long_as_it(facets, combination, dim) -> None:
    choice = PretrainingChoice(facets=facets, combination=combination)
    assert choice.config(seed=0, bundle_dim=64).dim == dim


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"facets": []}, "each once"),
        ({"facets": ["gnn", "gnn"]}, "each once"),
        ({"facets": ["gnn"], "combination": "mean"}, "concat, summed, sequential"),
        ({"facets": ["gnn"], "dim": 0}, "at least 1"),
        ({"facets": ["gnn"], "epochs": 0}, "above 0"),
        ({"facets": ["gnn"], "backend": "jax"}, "pyg or dgl"),
        ({"facets": ["gnn"], "precision": 4}, "Extra inputs"),
    ],
)
def test_what_no_dial_takes_is_refused(body, says) -> None:
    with pytest.raises(ValidationError, match=says):
        PretrainingChoice.model_validate(body)


def test_a_retrain_has_the_step_where_it_is_asked_for() -> None:
    asked = RetrainRequest.model_validate(
        {"arms": ["none"], "promote": False, "pretraining": {"facets": ["gnn"]}}
    )
    before = ("moment", "snapshot", "check", "embed", "index", "map")
    assert asked.steps == (*before, "pretrain", "rank_none", "judge", "gate", "export")
    assert "pretrain" not in RetrainRequest().steps
    with pytest.raises(ValidationError, match="pretraining should not be given with refresh"):
        RetrainRequest.model_validate({"refresh": True, "pretraining": {"facets": ["gnn"]}})


def test_tables_are_sealed_and_read_by_rankers(shop, trained) -> None:
    parents = (trained.snapshot, trained.bundles[1])
    choice = PretrainingChoice(facets=("kge", "contrastive"), dim=4, epochs=2)
    tables = pretrain(shop, parents, choice, seed=0, tick=silent)
    assert pretrain(shop, parents, choice, seed=0, tick=silent) == tables, "the same when repeated"
    assert shop.store.open("table", tables[0]).parents == {
        "snapshot": trained.snapshot,
        "bundle": trained.bundles[1],
    }
    assert shop.store.open("table", tables[1]).parents == {"snapshot": trained.snapshot}
    bundle = open_bundle(shop.store, trained.bundles[1])
    kge = open_table(shop.store, tables[0])
    place = bundle.rows(kge.head_type, kge.heads.ids)
    np.testing.assert_array_equal(kge.heads.vectors, bundle.vectors[place])
    digest = steps.rank(shop, (*parents, *tables), arm="none", seed=0, tick=silent)
    ranker = open_ranker(shop.store, digest, bundle)
    assert list(ranker.encoder.facets.digests) == tables
    assert ranker.model.facets == bundle.dim + 4
    listed = trained.http.get("/v1/artifacts", params={"kind": "table"}).json()["items"]
    assert {item["digest"] for item in listed} >= set(tables)
