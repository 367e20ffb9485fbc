"""Tables as features, and rankers that read them: trained, sealed, opened."""

import dataclasses

import numpy as np
import pytest
from loops import finish

from graphsvc.errors import ArtifactMissing
from graphsvc.snapshot import Span
from ranking.bundle import open_ranker
from ranking.config import FeatureConfig, IdTableConfig, RankerConfig, TrainingConfig
from ranking.errors import FacetUnavailable
from ranking.features import Encoder
from ranking.pretraining.reader import NO_TABLES, FacetReader
from ranking.pretraining.tables import FacetTable, SideTable, open_table, seal_table
from ranking.reasons import nameless
from ranking.train import train

SMALL = RankerConfig(
    arm="none",
    ids=IdTableConfig(dim=4, min_rows=20, buckets=8),
    features=FeatureConfig(min_rows=2),
    training=TrainingConfig(epochs=1, batch=128),
)


def table_of(name, *, users, films, dim, tail_type="film") -> FacetTable:
    """The first few of either side, with numbers of their own."""
    random = np.random.default_rng(len(name))
    sides = [
        SideTable(
            np.array([f"{letter}{n}" for n in range(count)], dtype=object),
            random.normal(size=(count, dim)).astype(np.float32),
        )
        for letter, count in (("u", users), ("f", films))
    ]
    return FacetTable(
        name=name, head_type="user", tail_type=tail_type, heads=sides[0], tails=sides[1]
    )


def test_facets_stand_side_by_side_after_layer_norm():
    """LN of (3, 1) is (1, -1) and that of (5, 1, 0, 2) is (3, -1, -2, 0) / sqrt(3.5)."""
    tables = [
        dataclasses.replace(
            table_of("gnn", users=0, films=0, dim=len(row)),
            heads=SideTable(np.array([name], dtype=object), np.array([row], dtype=np.float32)),
        )
        for name, row in (("a", [3.0, 1.0]), ("b", [5.0, 1.0, 0.0, 2.0]))
    ]
    reader = FacetReader(tables)
    assert reader.width == 6
    found = reader.vectors(0, np.array(["b", "a", "c", "b"], dtype=object))
    b = [0, 0, *(np.array([3, -1, -2, 0]) / 3.5**0.5)]
    np.testing.assert_allclose(found, [b, [1, -1, 0, 0, 0, 0], [0] * 6, b], atol=1e-4)
    assert not reader.vectors(1, np.array(["a"], dtype=object)).any()


def test_without_tables_there_is_nothing():
    assert NO_TABLES.vectors(0, np.array(["a", "b"], dtype=object)).shape == (2, 0)
    assert (NO_TABLES.width, NO_TABLES.digests) == (0, ())


@pytest.fixture
def read(leaning, examples):
    """Examples with two sealed tables, and what was trained on them."""
    tables = []
    for name, dim in (("contrastive", 3), ("gnn", 2)):
        made = table_of(name, users=30, films=15, dim=dim)
        sealed = seal_table(leaning.store, made, {}, dials={}, metrics={})
        tables.append(open_table(leaning.store, sealed.digest))
    told = examples._replace(facets=tuple(tables))
    return told, finish(train(told, SMALL))[1]


def test_a_ranker_names_its_tables_and_reads_them_when_it_is_opened(leaning, read, seal):
    examples, trained = read
    sealed = seal(trained)
    digests = [table.digest for table in examples.facets]
    assert [sealed.artifact.parents[f"table_{n}"] for n in (1, 2)] == digests
    opened = open_ranker(leaning.store, sealed.digest, leaning.bundle)
    test = examples.rows[Span.TEST]
    np.testing.assert_allclose(
        opened.logits(test.heads, test.tails),
        trained.scored(test.heads, test.tails).logits[:, 0],
        rtol=1e-6,
    )
    leaning.store.path("table", digests[0]).joinpath("manifest.json").unlink()
    with pytest.raises(ArtifactMissing):
        open_ranker(leaning.store, sealed.digest, leaning.bundle)


def test_it_reads_the_vectors_but_not_of_those_who_are_nameless(read, seal):
    examples, trained = read
    opened = seal(trained)
    test = examples.rows[Span.TEST]
    batch = opened.encoder.encode(test.heads, test.tails)
    np.testing.assert_array_equal(
        batch.facets[:, 0].numpy(), trained.facets.vectors(0, test.heads.ids)
    )
    empty = FacetReader([table_of("a", users=0, films=0, dim=dim) for dim in (3, 2)])
    encoder = opened.encoder
    blank = dataclasses.replace(opened, encoder=Encoder(encoder.spec, *encoder._placements, empty))
    hidden = [nameless(states) for states in (test.heads, test.tails)]
    np.testing.assert_array_equal(opened.logits(*hidden), blank.logits(*hidden))
    changed = opened.logits(test.heads, test.tails) != blank.logits(test.heads, test.tails)
    known = [int(id_[1:]) < 30 for id_ in test.heads.ids]
    assert changed[known].mean() > 0.9


def test_a_table_that_is_not_sealed_or_of_others_is_refused(examples, seal):
    loose = examples._replace(facets=(table_of("gnn", users=2, films=2, dim=2),))
    _, trained = finish(train(loose, SMALL))
    with pytest.raises(FacetUnavailable, match="sealed"):
        seal(trained)
    wrong = table_of("gnn", users=2, films=2, dim=2, tail_type="ad")
    with pytest.raises(FacetUnavailable, match="of user and film, received one of user and ad"):
        next(train(examples._replace(facets=(wrong,)), SMALL))
