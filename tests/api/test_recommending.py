"""A cap spreads what a ranker has put in order, and nothing else."""

import pytest

from api.errors import Invalid
from api.recommending import Cap, check_cap, spread
from api.scoring import Scored
from graphsvc.ids import EntityId
from graphsvc.schema import load_schema

A, B = EntityId("advertiser", "a"), EntityId("advertiser", "b")
#: Of a, a, b, a, nobody, b and a, and both.
GROUPS = {"1": {A}, "2": {A}, "3": {B}, "4": {A}, "6": {B}, "7": {A, B}}
RANKED = [
    Scored(id=str(n), score=1.0 / n, known=True, probabilities={"ctr": 1.0 / n})
    for n in range(1, 8)
]


@pytest.mark.parametrize(
    ("most", "k", "ids", "capped"),
    [
        (7, 7, "1234567", 0),
        (1, 7, "135", 4),
        (2, 7, "12356", 2),
        (1, 2, "13", 1),
        (2, 3, "123", 0),
        (1, 3, "135", 2),
    ],
)
def test_the_best_of_each_group_stay_in_their_order(
    most: int, k: int, ids: str, capped: int
) -> None:
    shown, passed_over = spread(RANKED, GROUPS, most=most, k=k)
    assert "".join(one.id for one in shown) == ids
    assert passed_over == capped


def test_a_cap_goes_by_structure_from_candidates() -> None:
    ads = load_schema("ads")
    check_cap(ads, Cap(relation="ad_of_advertiser", most=1), "ad")
    for wrong in ("click", "product_of_advertiser", "nothing"):
        with pytest.raises(Invalid, match=r"cap.relation should be one of ad_of_product, ad_of_"):
            check_cap(ads, Cap(relation=wrong, most=1), "ad")
    with pytest.raises(Invalid, match="none, since no structure leads from user"):
        check_cap(ads, Cap(relation="click", most=1), "user")
