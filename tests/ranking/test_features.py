import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from ranking.columns import Coded, as_objects, distinct
from ranking.config import FeatureConfig
from ranking.errors import StatesMismatch
from ranking.features import PADDING, Encoder
from ranking.idtables.placement import Placement
from ranking.spec import (
    ExposureSpec,
    FeatureSpec,
    SideRows,
    as_number,
    centered_rate,
    learn_spec,
)
from ranking.states import Around, ExposureStates, alike

USER_KINDS = {"job": "category", "age": "number"}
FILM_KINDS = {"tags": "list", "title": "text"}


@pytest.fixture
def spec(states):
    """Learned on four rows: ages 10 and 30 (mean 20, deviation 10), jobs and tags seen twice."""
    heads = states(
        ["a", "a", "b", "b"],
        attributes={"job": ["cook", "cook", "spy", "spy"], "age": [10, 10, 30, 30]},
        exposures=[0, 1, 0, 1],
    )
    tails = states(
        ["x", "y", "x", "y"],
        attributes={"tags": [["new", "odd"], ["new"], ["new", "odd"], None]},
    )
    return learn_spec(
        SideRows(states=heads, type="user", kinds=USER_KINDS),
        SideRows(states=tails, type="film", kinds=FILM_KINDS),
        np.array([1, 0, 1, 0], dtype=np.int8),
        FeatureConfig(min_rows=2, list_width=3),
    )


@pytest.fixture
def encoder(spec):
    return Encoder(spec, Placement(("a",), 4), Placement(("x",), 4))


def test_the_spec_by_hand(spec):
    assert spec.base_rate == 0.5
    assert spec.head.categories == {"job": ("cook", "spy")}
    assert spec.head.numbers == {"age": (20.0, 10.0)}
    assert spec.tail.lists == {"tags": ("new", "odd")}
    assert spec.dense_count == 8
    # log(1 + exposures) is 0, log 2, 0, log 2; the constant columns keep a deviation of 1.
    mean, deviation = spec.head.counters[1]
    assert (mean, deviation) == pytest.approx((math.log(2) / 2, math.log(2) / 2))
    assert spec.tail.counters == ((0.0, 1.0), (0.0, 1.0), (0.0, 1.0))


def test_the_spec_survives_json(spec):
    assert FeatureSpec.of_json(json.loads(json.dumps(spec.as_json()))) == spec


def test_a_rare_value_gets_no_code_of_its_own(states):
    rows = SideRows(
        states=states(["a"] * 3, attributes={"job": ["cook", "cook", "spy"]}),
        type="user",
        kinds={"job": "category"},
    )
    learned = learn_spec(rows, rows, np.zeros(3, np.int8), FeatureConfig(min_rows=2))
    assert learned.head.categories == {"job": ("cook",)}


def test_categories_known_unknown_and_missing(encoder, states):
    heads = states(["a"] * 5, attributes={"job": ["cook", "spy", "monk", None, {"a": [1]}]})
    codes = encoder.encode(heads, states(["x"] * 5)).categories[:, 0]
    # Row 0 pads lists; job has 1 missing, 2 unknown, 3 cook, 4 spy.
    assert codes.tolist() == [3, 4, 2, 1, 2]


def test_an_attribute_that_is_not_sent_is_missing(encoder, states):
    batch = encoder.encode(states(["a"]), states(["x"]))
    assert batch.categories.tolist() == [[1]]
    assert batch.lists.tolist() == [[[PADDING] * 3]]
    assert batch.dense[0, :2].tolist() == [0.0, 1.0]


def test_lists_known_unknown_missing_and_too_long(encoder, states):
    tags = [["odd", "new"], ["gone"], None, [], "new", ["new"] * 9]
    lists = encoder.encode(states(["a"]), states(["x"] * 6, attributes={"tags": tags})).lists
    # job took 1..4, so tags has 5 missing, 6 unknown, 7 new, 8 odd.
    assert lists[:, 0].tolist() == [
        [8, 7, 0],
        [6, 0, 0],
        [0, 0, 0],
        [0, 0, 0],
        [0, 0, 0],
        [7, 7, 7],
    ]


def test_numbers_are_scaled_and_what_is_none_is_flagged(encoder, states):
    ages = [30, 20.0, None, "30", True, float("nan"), 10**400, 10**9]
    dense = encoder.encode(states(["a"] * 8, attributes={"age": ages}), states(["x"] * 8)).dense
    assert dense[:, 0].tolist() == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5.0]
    assert dense[:, 1].tolist() == [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    assert math.isnan(as_number(True))


def test_the_centered_rate_by_hand(states):
    seen = states(["a", "b", "c"], exposures=[0, 10, 0], outcomes=[0, 10, 5])
    # Nothing known: 0. 10 of 10 with 10 pseudo exposures at .5: 15 / 20, logit = log 3.
    # 5 outcomes without exposure count as 5 of 5: 10 / 15, logit = log 2.
    rate = centered_rate(seen, 10.0, 0.5)
    np.testing.assert_allclose(rate, [0.0, math.log(3), math.log(2)], atol=1e-12)


def test_ids_of_their_own_and_hashed_ones(encoder, states):
    rows = encoder.encode(states(["a", "b", ""]), states(["x", "y", "z"])).head_rows
    assert rows[0].tolist() == [0, 0]
    assert ((rows[1:] >= 1) & (rows[1:] < 5)).all()


def test_an_unknown_vector_is_zero_whatever_it_holds(encoder, states):
    vectors = np.full((2, 4), np.nan, dtype=np.float32)
    vectors[0] = [1, 2, 3, 4]
    batch = encoder.encode(
        states(["a", "b"], vectors=vectors, known=[True, False]), states(["x"] * 2)
    )
    assert batch.head_vector.tolist() == [[1, 2, 3, 4], [0, 0, 0, 0]]
    assert batch.known.tolist() == [[1, 1], [0, 1]]


def test_one_head_stands_beside_every_tail(encoder, states):
    one = states(["a"], attributes={"job": ["spy"], "age": [30]}, exposures=[3], outcomes=[1])
    many = one.take(np.zeros(3, dtype=np.int64))
    tails = states(["x", "y", "z"], attributes={"tags": [["new"], None, ["odd"]]})
    for left, right in zip(encoder.encode(one, tails), encoder.encode(many, tails), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0)


def test_heads_have_to_fit_tails(encoder, states):
    with pytest.raises(StatesMismatch, match=r"heads should be 1 or 3 .* received 2"):
        encoder.encode(states(["a", "b"]), states(["x", "y", "z"]))
    with pytest.raises(StatesMismatch, match="one length"):
        states(["a", "b"], exposures=[1])


def test_no_tails_give_no_rows(encoder, states):
    batch = encoder.encode(states(["a"]), states([]))
    assert [len(column) for column in batch] == [0] * 14


JOBS = ["cook", None, "monk", "cook", "spy", None, "spy"]
AGES = [30, None, "x", 30, 10**400, 20.0, 30]
TAGS = [["odd", "new"], None, [], ["odd", "new"], "new", ["new"] * 9, ["gone", None]]


def by_value(column):
    """A column with each value once, behind one that no row has."""
    texts = distinct([json.dumps(value) for value in column])
    values = ["nobody's", *(json.loads(text) for text in texts.values)]
    return Coded(as_objects(values), texts.codes + 1)


def test_values_told_once_are_encoded_as_row_by_row(encoder, states):
    heads, tails = ["a"] * 7, [f"t{n % 3}" for n in range(7)]
    plain = encoder.encode(
        states(heads, attributes={"job": JOBS, "age": AGES}),
        states(tails, attributes={"tags": TAGS}),
    )
    told = encoder.encode(
        states(heads, attributes={"job": by_value(JOBS), "age": by_value(AGES)}),
        states(tails, attributes={"tags": by_value(TAGS)}),
    )
    for left, right in zip(plain, told, strict=True):
        assert torch.equal(left, right)
    # By hand, a row at a time: job has 1 missing, 2 unknown, 3 cook, 4 spy; tags 5 to 8 alike.
    jobs = [[1 if job is None else {"cook": 3, "spy": 4}.get(job, 2)] for job in JOBS]
    assert told.categories.tolist() == jobs
    ages = [0.0 if math.isnan(as_number(age)) else (as_number(age) - 20) / 10 for age in AGES]
    assert told.dense[:, 0].tolist() == ages
    lists = []
    for tags in TAGS:
        shown = tags[:3] if isinstance(tags, list) else []
        codes = [5 if tag is None else {"new": 7, "odd": 8}.get(tag, 6) for tag in shown]
        lists.append([codes + [PADDING] * (3 - len(codes))])
    assert told.lists.tolist() == lists


def test_values_told_once_are_learned_as_row_by_row(states):
    def learned(tell):
        heads = states(["a"] * 7, attributes={"job": tell(JOBS), "age": tell(AGES)})
        tails = states(["x"] * 7, attributes={"tags": tell(TAGS)})
        return learn_spec(
            SideRows(states=heads, type="user", kinds=USER_KINDS),
            SideRows(states=tails, type="film", kinds=FILM_KINDS),
            np.array([1, 0, 1, 0, 1, 0, 1], dtype=np.int8),
            FeatureConfig(min_rows=2, list_width=3),
        )

    spec = learned(by_value)
    assert spec == learned(list)
    assert spec.head.categories == {"job": ("cook", "spy")}
    # A row has an element once, so nine times new in one row are one; "gone" is in one row only.
    assert spec.tail.lists == {"tags": ("new", "odd")}
    # 30, 30, 20, 30: mean 27.5.
    assert spec.head.numbers["age"][0] == 27.5


def test_who_is_without_a_name_and_what_tails_lead_to(spec, states):
    known = dataclasses.replace(spec, around=("shop", "brand"))
    encoder = Encoder(known, Placement(("a",), 4), Placement(("x",), 4))
    shops = Around(np.array([[1, 2, 3, 4], [9, 9, 9, 9]], np.float32), np.array([True, False]))
    heads = dataclasses.replace(states(["a"]), nameless=np.array([True]))
    tails = dataclasses.replace(states(["x", "y"]), around={"shop": shops, "mall": shops})
    batch = encoder.encode(heads, tails)
    assert batch.named.tolist() == [[0, 1], [0, 1]]
    # Of brands nobody has said anything, of malls training knew nothing.
    assert batch.around.tolist() == [[[1, 2, 3, 4], [0] * 4], [[0] * 4, [0] * 4]]
    assert batch.around_known.tolist() == [[1, 0], [0, 0]]
    assert tails.take(np.array([1, 0])).around["shop"].known.tolist() == [False, True]
    short = Around(shops.vectors[:1], shops.known[:1])
    with pytest.raises(StatesMismatch, match=r"'around\.shop': 1"):
        dataclasses.replace(tails, around={"shop": short})


def test_training_reads_around_only_what_it_knows_a_vector_of(states):
    """A type whose entities lie nowhere in TRAIN gets no token."""
    nowhere = Around(np.zeros((2, 4), np.float32), np.zeros(2, bool))
    here = Around(np.ones((2, 4), np.float32), np.array([False, True]))
    tails = dataclasses.replace(states(["x", "y"]), around={"mall": nowhere, "shop": here})
    learned = learn_spec(
        SideRows(states=states(["a", "b"]), type="user", kinds={}),
        SideRows(states=tails, type="film", kinds={}),
        np.array([1, 0], dtype=np.int8),
        FeatureConfig(),
    )
    assert learned.around == ("shop",)
    assert FeatureSpec.of_json(json.loads(json.dumps(learned.as_json()))) == learned


def with_exposures(states, positions, config, times=None):
    """A spec learned on rows of these places, and its encoder."""
    count = len(positions)
    rows = SideRows(states=states(["a"] * count), type="user", kinds={})
    shown = ExposureStates(
        np.array(positions, np.int64), np.array(times or [0] * count, dtype=np.int64)
    )
    spec = learn_spec(rows, rows, np.zeros(count, np.int8), config, exposures=shown)
    return spec, Encoder(spec, Placement((), 4), Placement((), 4))


def test_places_and_hours_by_hand(states):
    config = FeatureConfig(places=3, hour=True)
    spec, encoder = with_exposures(states, [0, 5, -1], config)
    assert spec.exposure == ExposureSpec(places=3, hours=24, served=0)
    assert spec.exposure.sizes == (4, 25)
    assert encoder.blank_exposure_codes == [0, 4]
    # Unknown 0, places 1, 2, 3, the last for all behind it; hours: unknown 4, then 5 to 28.
    shown = ExposureStates(
        np.array([-1, 0, 1, 2, 99]), np.array([-1, 0, 3_599, 3_600, 3 * 86_400 + 23 * 3_600])
    )
    codes = encoder.encode(states(["a"]), states(["x"] * 5), shown).exposures
    assert codes.tolist() == [[0, 4], [1, 5], [2, 5], [3, 6], [3, 28]]


def test_without_exposures_all_stand_in_the_served_place(states):
    _, encoder = with_exposures(states, [0, 1, 2], FeatureConfig(served_place=1))
    assert encoder.encode(states(["a"]), states(["x"] * 2)).exposures.tolist() == [[2], [2]]
    one = encoder.encode(states(["a"]), states(["x"] * 2), alike(1, position=0)).exposures
    assert one.tolist() == [[1], [1]], "one stands beside every tail"
    with pytest.raises(StatesMismatch, match=r"exposures should be 1 or 3 .* received 2"):
        encoder.encode(states(["a"]), states(["x"] * 3), alike(2))


@pytest.mark.parametrize(
    ("positions", "config"),
    [
        ([-1, -1], FeatureConfig()),  # nobody said
        ([3, 3, -1], FeatureConfig()),  # nothing to compare
        ([0, 1], FeatureConfig(position=False)),
    ],
)
def test_places_are_not_read_where_they_teach_nothing(states, positions, config):
    spec, encoder = with_exposures(states, positions, config)
    assert spec.exposure.sizes == ()
    assert encoder.encode(states(["a"]), states(["x"] * 2)).exposures.shape == (2, 0)


def test_a_spec_of_before_there_were_exposures_reads_none(spec):
    told = json.loads(json.dumps(spec.as_json()))
    del told["exposure"]
    assert FeatureSpec.of_json(told).exposure == ExposureSpec()


def test_sides_that_were_encoded_before_give_the_very_features_of_their_pairs(encoder, states):
    """In two pages each, as they come to be known, and gathered into pairs."""
    heads, tails = states(list("abcde")), states(list("vwxyz"))
    pages = [slice(0, 2), slice(2, 5)]
    own, others = (
        [encoder.side(number, side.take(np.arange(5)[page])) for page in pages]
        for number, side in enumerate((heads, tails))
    )
    first, second = np.random.default_rng(0).integers(5, size=(2, 60))
    found = encoder.together(
        own[0].joined(own[1]).take(first), others[0].joined(others[1]).take(second), alike(1)
    )
    expected = encoder.encode(heads.take(first), tails.take(second), alike(60))
    for name, column in found._asdict().items():
        other = getattr(expected, name)
        assert (column.dtype, column.shape) == (other.dtype, other.shape), name
        assert torch.equal(column, other), name
