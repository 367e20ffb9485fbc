"""Which promotion the page's Models rolls back to."""

from api.routes.promotions import PromotionOut
from api.ui.models import before


def _promoted(generation: int, ranker: str, bundle: str) -> PromotionOut:
    return PromotionOut(
        generation=generation,
        ranker=ranker * 64,
        bundle=bundle * 64,
        index="1" * 64,
        reason="",
        promoted_by=None,
        decision=None,
        created_at=0,
    )


def test_one_rolls_back_to_the_last_other_thing_that_was_live() -> None:
    first, second = _promoted(1, "a", "b"), _promoted(2, "a", "c")
    assert before([]) is None
    assert before([first]) is None
    assert before([second, first]) == first, "a refresh keeps the ranker"
    erased = _promoted(3, "a", "c")
    assert before([erased, second, first]) == first, "an erasure changes neither"
