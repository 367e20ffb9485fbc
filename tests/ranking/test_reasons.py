"""Reasons: a change is the difference of two scores that anybody can ask for."""

import dataclasses

import numpy as np
import pytest
from loops import finish

from graphsvc.snapshot import Span
from ranking.bundle import open_ranker
from ranking.config import FeatureConfig, HeadsConfig, IdTableConfig, RankerConfig, TrainingConfig
from ranking.reasons import nameless, without_kge
from ranking.train import train

SMALL = RankerConfig(
    ids=IdTableConfig(dim=4, min_rows=2, buckets=8),
    features=FeatureConfig(min_rows=2),
    dropout=0.0,
    training=TrainingConfig(epochs=3, batch=64, learning_rate=1e-2, table_share=1.0),
)


@pytest.fixture
def ranked(leaning, examples, seal):
    """A ranker of an arm, and some rows of TEST."""
    rows = {}
    for span, part in examples.rows.items():
        every_other = np.where(part.labels == 1, np.arange(len(part.labels)) % 2, -1)
        rows[span] = part._replace(conversions=every_other.astype(np.int8))
    examples = examples._replace(rows=rows)

    def make(arm, **dials):
        _, trained = finish(train(examples, dataclasses.replace(SMALL, arm=arm, **dials)))
        sealed = seal(trained)
        rows, few = examples.rows[Span.TEST], np.arange(6)
        ranker = open_ranker(leaning.store, sealed.digest, leaning.bundle)
        return ranker, rows.heads.take(few), rows.tails.take(few)

    return make


def test_each_change_is_a_difference_of_two_scores(ranked):
    ranker, heads, tails = ranked("attention")
    found = ranker.field_changes(heads, tails)
    assert found.fields == (
        *("user.lean", "user.age", "user.counters", "user.id", "user.vector"),
        *("film.lean", "film.tags", "film.year", "film.counters", "film.id", "film.vector"),
    )
    assert found.changes.shape == (6, len(found.fields))
    before = ranker.logits(heads, tails)
    zeros, nowhere = np.zeros(6, np.int64), np.zeros(6, bool)
    no_year = {**tails.attributes, "year": [None] * 6}
    blanked = {
        "film.year": (heads, dataclasses.replace(tails, attributes=no_year)),
        "user.counters": (dataclasses.replace(heads, exposures=zeros, outcomes=zeros), tails),
        "user.vector": (dataclasses.replace(heads, known=nowhere), tails),
        "film.id": (heads, nameless(tails)),
    }
    for field, pair in blanked.items():
        expected = before - ranker.logits(*pair)
        column = found.changes[:, found.fields.index(field)]
        np.testing.assert_allclose(column, expected, atol=1e-5)
        assert np.abs(expected).max() > 1e-4, f"{field} should move something"
    # Nobody has an age here.
    np.testing.assert_allclose(found.changes[:, 1], 0, atol=1e-6)


def test_one_head_beside_many_tails_is_each_pair_alone(ranked):
    ranker, heads, tails = ranked("attention")
    one = heads.take(np.array([0]))
    together = ranker.field_changes(one, tails)
    for n in range(6):
        alone = ranker.field_changes(one, tails.take(np.array([n])))
        np.testing.assert_allclose(alone.changes[0], together.changes[n], atol=1e-5)


def test_fields_are_of_what_candidates_are_ordered_by(ranked):
    """Of clicks, of conversions, or of both: then by the sum of their logits."""
    ranker, heads, tails = ranked("frozen", heads=HeadsConfig(kind="ctr_cvr"))
    found = {order: ranker.field_changes(heads, tails, order=order) for order in ranker.orders}
    place = found["cvr"].fields.index("film.lean")
    others = {k: v for k, v in tails.attributes.items() if k != "lean"}
    blank = dataclasses.replace(tails, attributes=others)
    fall = ranker.scored(heads, tails).logits - ranker.scored(heads, blank).logits
    for head, expected in zip(("ctr", "cvr"), fall.T, strict=True):
        np.testing.assert_allclose(found[head].changes[:, place], expected, atol=1e-5)
    both = found["ctr"].changes + found["cvr"].changes
    np.testing.assert_allclose(found["ctcvr"].changes, both, atol=1e-5)
    np.testing.assert_array_equal(ranker.field_changes(heads, tails).changes, found["ctr"].changes)


def test_a_ranker_without_kge_has_no_field_of_it(ranked):
    ranker, heads, tails = ranked("none")
    fields = ranker.field_changes(heads, tails).fields
    assert not [field for field in fields if field.endswith(".vector")]
    np.testing.assert_allclose(
        ranker.scored_without_kge(heads, tails).by("ctr"), ranker.score(heads, tails), atol=1e-7
    )


@pytest.mark.parametrize("arm", ["frozen", "initial", "both", "attention"])
def test_without_kge_no_vector_is_left(ranked, arm):
    """Whatever the vectors are, the score is the same; where rows began at them, these go too."""
    ranker, heads, tails = ranked(arm)
    bare = ranker.scored_without_kge(heads, tails).by("ctr")
    assert np.abs(bare - ranker.score(heads, tails)).max() > 1e-4
    other = [
        dataclasses.replace(states, vectors=states.vectors[::-1].copy() + 1)
        for states in (heads, tails)
    ]
    np.testing.assert_allclose(ranker.scored_without_kge(*other).by("ctr"), bare, atol=1e-7)
    begins = ranker.model.arm.begins
    assert (without_kge(ranker.model, heads).nameless is not None) == begins


@pytest.mark.parametrize("arm", ["none", "initial", "attention", "attention_vectors"])
def test_who_is_without_a_name_is_scored_like_a_twin_of_another_name(ranked, arm):
    """Nothing of an id is used: any other id in the same state has the same score."""
    ranker, heads, tails = ranked(arm)
    unnamed = nameless(heads)
    scores = ranker.score(unnamed, tails)
    assert np.abs(scores - ranker.score(heads, tails)).max() > 1e-5
    strangers = dataclasses.replace(unnamed, ids=np.array([f"?{n}" for n in range(6)], object))
    np.testing.assert_allclose(ranker.score(strangers, tails), scores, atol=1e-7)


def test_rows_begin_at_vectors_of_the_first_row(leaning, ranked):
    """With a table that never learns, a person scores by name as without."""
    training = dataclasses.replace(SMALL.training, table_share=1e-12)
    ranker, heads, tails = ranked("initial", training=training)
    inside = np.flatnonzero(leaning.bundle.rows("user", heads.ids) >= 0)
    heads, tails = heads.take(inside), tails.take(inside)
    assert len(inside)
    np.testing.assert_allclose(
        ranker.score(heads, tails), ranker.score(nameless(heads), tails), atol=1e-5
    )
