"""An opt-out leaves the score that the explanation had called `without_offsite`, to 1e-6."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from little_shop import ADS, NOW, Shop, event, log

from api.live import Live
from api.onsite import onsite_outcomes, onsite_states, saw_offsite
from graphsvc.folding import NO_OUTCOMES, Outcomes
from graphsvc.schema import parse_schema, to_document
from ranking.bundle import EntityStates


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(tmp_path_factory.mktemp("shop") / "data")
    yield made
    made.work.database.dispose()


@pytest.mark.parametrize(("arm", "user"), [("attention", "u3"), ("both", "u4")])
def test_an_opt_out_takes_the_path_that_the_explanation_took(
    shop: Shop, arm: str, user: str
) -> None:
    trio = shop.live(arm)
    before = shop.scores(trio, user, explain=True)
    moved = [abs(one.score - one.why.without_offsite) for one in before.values()]
    assert max(moved) > 1e-4, "what was learned offsite, and of the id, should show"
    opt_out = {
        "event_id": f"out-{user}",
        "event_name": "opt_out",
        "event_time": NOW - 10,
        "action_source": "onsite",
        "actor": {"type": "user", "id": user},
    }
    shop.post([opt_out])
    after = shop.scores(trio, user, explain=True)
    for id_, one in after.items():
        assert one.score == pytest.approx(before[id_].why.without_offsite, abs=1e-6)
        assert one.why.without_offsite == pytest.approx(one.score, abs=1e-6)
    # A trio that is loaded later says the same.
    again = shop.scores(shop.live(arm), user)
    for id_, one in again.items():
        assert one.score == pytest.approx(after[id_].score, abs=1e-6)


def test_after_a_refresh_and_a_retrain_an_opt_out_is_still_what_is_explained(shop: Shop) -> None:
    """A bundle that was trained without offsite events of theirs may place them again."""
    user = "u7"
    shop.post(
        [
            {
                "event_id": f"out-{user}",
                "event_name": "opt_out",
                "event_time": NOW - 10,
                "action_source": "onsite",
                "actor": {"type": "user", "id": user},
            }
        ]
    )
    folded = shop.scores(shop.live("attention"), user)
    refreshed, _ = shop.retrain(previous=shop.bundle)
    trios = [shop.live("attention", refreshed)]
    bundle, rankers = shop.retrain("attention")
    first, shop.rankers["attention"] = shop.rankers["attention"], rankers["attention"]
    trios.append(shop.live("attention", bundle))
    shop.rankers["attention"] = first
    for trio in trios:
        found = shop.scores(trio, user, explain=True)
        for id_, one in found.items():
            assert one.why.without_offsite == pytest.approx(one.score, abs=1e-6)
            assert abs(one.score - folded[id_].score) > 1e-7, "placed by training again"
        others = shop.scores(trio, "u9", explain=True).values()
        assert max(abs(one.score - one.why.without_offsite) for one in others) > 1e-4


def test_what_is_learned_after_an_opt_out_is_as_if_nothing_offsite_had_been(
    tmp_path: Path,
) -> None:
    """Vectors and scores are those of a shop that never heard of it."""
    user, found = "u7", []
    out = {
        "event_id": "out",
        "event_name": "opt_out",
        "event_time": NOW - 10,
        "action_source": "onsite",
        "actor": {"type": "user", "id": user},
    }
    onsite = [
        one for one in log() if one["actor"]["id"] != user or one["action_source"] != "offsite"
    ]
    for number, events in enumerate(([*log(), out], [*onsite, out])):
        shop = Shop(tmp_path / str(number), events, arms=("attention",))
        trio = shop.live("attention")
        row = int(trio.bundle.rows("user", [user])[0])
        scores = {id_: one.score for id_, one in shop.scores(trio, user).items()}
        found.append((trio.bundle.vectors[row].tolist(), scores))
        shop.work.database.dispose()
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-6)
    assert found[0][1] == pytest.approx(found[1][1], abs=1e-6)


def test_somebody_whom_training_never_saw_takes_it_too(shop: Shop) -> None:
    """Their ID rows are shared ones, and these are left out as well."""
    trio = shop.live("attention")
    shop.post([event("click", 90_000 + n, NOW - 500 + n, "newcomer", f"a{n}") for n in (0, 2)])
    shop.post([event("add_to_cart", 90_001, NOW - 400, "newcomer", "p4")])
    before = shop.scores(trio, "newcomer", explain=True)
    said = {"event_id": "out-newcomer", "event_name": "opt_out", "event_time": NOW - 10}
    shop.post([{**said, "action_source": "onsite", "actor": {"type": "user", "id": "newcomer"}}])
    for id_, one in shop.scores(trio, "newcomer").items():
        assert one.score == pytest.approx(before[id_].why.without_offsite, abs=1e-6)


def test_a_reason_names_what_the_ad_leads_to(shop: Shop) -> None:
    found = shop.scores(shop.live("attention"), "u5", explain=True)
    for one in found.values():
        tokens = {token.token: token for token in one.why.tokens}
        assert {"user", "ad", "click", "add_to_cart"} <= set(tokens)
        assert {"ad->product", "ad->advertiser"} <= set(tokens)
        for side in ("head", "tail"):
            shares = [getattr(token, side) for token in tokens.values()]
            assert sum(shares) == pytest.approx(1.0, abs=1e-5)
        sizes = [abs(field.change) for field in one.why.fields]
        assert len(sizes) == 5
        assert sizes == sorted(sizes, reverse=True)
        assert 0 < one.why.without_kge < 1
    plain = shop.scores(shop.live("attention"), "u5")
    assert all(one.why is None for one in plain.values())
    assert {id_: one.score for id_, one in plain.items()} == pytest.approx(
        {id_: one.score for id_, one in found.items()}, abs=1e-6
    )
    both = shop.scores(shop.live("both"), "u5", explain=True)
    assert all(one.why.tokens == [] for one in both.values())


def test_serving_leads_where_training_led(shop: Shop) -> None:
    """The mean vectors that a request is scored with are those of the training rows."""
    trio = shop.live("attention")
    rows = shop.work.examples(trio.ranker.snapshot_digest, trio.bundle.digest).rows
    tails = next(iter(rows.values())).tails
    assert set(tails.around) >= {"product", "advertiser"}
    with shop.work.database.reading() as connection:
        known = shop.answerer._rows(connection, "ad", tails.ids.tolist(), ())
        served = shop.answerer._around(trio, connection, known)
    for type_, found in served.items():
        assert tails.around[type_].known.all()
        np.testing.assert_array_equal(found.known, tails.around[type_].known)
        np.testing.assert_allclose(found.vectors, tails.around[type_].vectors, atol=1e-6)


def test_serving_leads_elsewhere_from_the_next_answer_on(shop: Shop) -> None:
    """Ad 0 leads to product 0, and for a while to product 1 as well: the mean of both."""
    trio, product = shop.live("attention"), 0
    of = trio.bundle.rows("product", ["p0", "p1"])
    first, both = trio.bundle.vectors[of[0]], trio.bundle.vectors[of].mean(axis=0)

    def lying() -> np.ndarray:
        with shop.work.database.reading() as connection:
            rows = shop.answerer._rows(connection, "ad", ["a0", "nobody", "a0"], ())
            found = shop.answerer._around(trio, connection, rows)["product"]
        assert found.known.tolist() == [True, False, True]
        np.testing.assert_array_equal(found.vectors[0], found.vectors[2])
        return found.vectors[product]

    np.testing.assert_allclose(lying(), first, atol=1e-6)
    said = event("ad_of_product", 1000, NOW, "a0", "p1")
    shop.post([said])
    np.testing.assert_allclose(lying(), both, atol=1e-6)
    back = {"event_id": "back", "event_name": "retract", "relation": "ad_of_product"}
    shop.post([said | back | {"event_time": NOW + 1}])
    np.testing.assert_allclose(lying(), first, atol=1e-6)


def test_edges_and_counters_of_offsite_events_are_left_out() -> None:
    """Where the outcome itself is offsite, nothing of it is left."""
    document = to_document(ADS)
    document["observations"]["offer"] = {"head": "user", "tail": "product", "source": "onsite"}
    document["label"] = {"exposure": "offer", "outcome": "checkout"}
    states = EntityStates(
        ids=np.array(["u"], dtype=object),
        vectors=np.zeros((1, 2), np.float32),
        known=np.ones(1, bool),
        attributes={},
        exposures=np.array([7]),
        outcomes=np.array([3]),
    )
    bought = parse_schema(document)
    found = Outcomes(("p1",), (2,))
    assert onsite_outcomes(bought, found) == NO_OUTCOMES
    assert onsite_outcomes(ADS, found) == found
    offsite = onsite_states(bought, states)
    assert (offsite.exposures.tolist(), offsite.outcomes.tolist()) == ([7], [0])
    onsite = onsite_states(ADS, states)
    assert (onsite.exposures.tolist(), onsite.outcomes.tolist()) == ([7], [3])
    assert onsite.nameless is not None
    assert onsite.nameless.all()


def test_what_a_bundle_could_learn_of_offsite_events(shop: Shop, live: Live) -> None:
    assert saw_offsite(shop.live("attention").bundle), "people buy what ads lead to, elsewhere"
    assert not saw_offsite(live.trio().bundle), "films have no offsite events"
