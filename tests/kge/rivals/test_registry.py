import itertools

import pytest
from planted_graph import planted

from kge.errors import UnknownModel
from kge.rivals.registry import RIVALS, rival
from kge.scorer import Scorer


@pytest.mark.parametrize("name", list(RIVALS))
def test_every_rival_yields_and_can_be_measured_on_the_way(name):
    graph, _ = planted()
    loop = rival(name)(graph, seed=0, share=lambda step: step / 1000)
    first, second = itertools.islice(loop, 2)
    assert (first.step, second.step, second.total) == (1, 2, 2000)
    scorer = second.so_far()
    assert isinstance(scorer, Scorer)
    assert (scorer.entity_count, scorer.relation_count) == (66, 2)


def test_a_name_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(UnknownModel, match=r"transe, .* received 'transq'"):
        rival("transq")
