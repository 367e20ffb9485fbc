import numpy as np
import pytest

from kge.drilldown import cardinalities, drill_down
from kge.evaluate import LinkPrediction

#: Relation 0: each has one capital. 1: a country has three cities. 2: cities lie in a country.
#: 3: borders, two each way.
TRAINING = np.array(
    [
        *[[0, 0, 1], [2, 0, 3]],
        *[[0, 1, 4], [0, 1, 5], [0, 1, 6]],
        *[[4, 2, 0], [5, 2, 0], [6, 2, 0]],
        *[[0, 3, 2], [0, 3, 7], [8, 3, 2], [8, 3, 7]],
    ]
)


def test_cardinality_is_the_rule_of_one_and_a_half():
    assert cardinalities(TRAINING, 5) == ["1-1", "1-n", "n-1", "n-n", "1-1"]
    # 3 tails of 2 heads are 1.5 on average: n. 4 tails of 3 heads are fewer.
    many = np.array([[0, 0, 1], [0, 0, 2], [3, 0, 4]])
    few = np.array([[0, 0, 1], [0, 0, 2], [3, 0, 4], [5, 0, 6]])
    assert (cardinalities(many, 1), cardinalities(few, 1)) == (["1-n"], ["1-1"])
    assert cardinalities(np.concatenate([many, many]), 1) == ["1-n"]  # each triple counts once


def test_each_slice_has_the_figures_of_its_ranks():
    triples = np.array([[0, 1, 4], [4, 2, 0], [0, 1, 9]])
    head, tail = np.array([1.0, 2.0, 4.0]), np.array([10.0, 1.0, 20.0])
    found = LinkPrediction(0.0, {}, head, tail)
    names = ["capital", "city", "country", "border"]
    parts = {p.name: p for p in drill_down(found, triples, TRAINING, names, entity_count=10)}
    assert set(parts) == {
        "relation=city",
        "relation=country",
        "cardinality=1-n/head",
        "cardinality=1-n/tail",
        "cardinality=n-1/head",
        "cardinality=n-1/tail",
        "degree=0",
        "degree=1-4",
        "degree=5-19",
    }
    assert parts["relation=city"].mrr == pytest.approx((1 + 1 / 4 + 1 / 10 + 1 / 20) / 4)
    assert parts["relation=city"].ranks == 4
    assert parts["cardinality=1-n/tail"].mrr == pytest.approx((1 / 10 + 1 / 20) / 2)
    assert parts["cardinality=n-1/head"].hits == {1: 0.0, 3: 1.0, 10: 1.0}
    # Entity 9 has no edge; 4 has 2 (once as a tail, once as a head); 0 has 9.
    assert parts["degree=0"].mrr == pytest.approx(1 / 20)
    assert parts["degree=1-4"].mrr == pytest.approx((1 / 10 + 1 / 2) / 2)
    assert parts["degree=5-19"].ranks == 3
