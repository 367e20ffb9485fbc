"""A retrain that goes on with rows of the live ranker: whose, and with what else it is asked."""

from typing import Any

import httpx
import pytest
from loops import silent
from planted import START, click
from pydantic import ValidationError

from api.jobs import steps
from api.jobs.carrying import carried
from api.jobs.promotion import promote
from api.jobs.requests import RetrainRequest
from api.jobs.steps import Workshop


def test_who_has_opted_out_or_was_merged_since_does_not_go_on(
    trained: Any, shop: Workshop, http: httpx.Client
) -> None:
    ranker = trained.rankers[1]
    later = {"event_time": START + 90_000, "action_source": "onsite"}
    user = {"actor": {"type": "user", "id": "u3"}}
    merged = {"action_source": "structure", "actor": {"type": "user", "id": "u7"}}
    events = [
        {**later, **user, "event_id": "out", "event_name": "opt_out"},
        {
            **later,
            **merged,
            "event_id": "into",
            "event_name": "merge",
            "object": {"type": "user", "id": "u9"},
        },
    ]
    for number in range(60):
        seen = click(f"u{number}", f"{'dc'[number % 2]}{number % 20}", START + 91_000 + number)
        seen["event_id"] = f"later-{number}"
        events += [seen, {**seen, "event_name": "impression", "event_id": f"shown-{number}"}]
    assert http.post("/v1/events", json={"events": events}).status_code == 200
    snapshot = steps.snapshot(shop, RetrainRequest(), silent)
    examples = shop.examples(snapshot, trained.bundles[1])
    heads, _ = carried(shop, snapshot, ranker, examples)
    before = shop.store.open("ranker", ranker).file("ids.json").read_text()
    assert '"u3"' in before
    left = set(heads.placement.exclusive)
    assert not {"u3", "u9"} & left
    assert {"u1", "u2", "u5"} <= left


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"arms": ["none", "attention"]}, "with carry, received attention: rows that begin at the"),
        ({"refresh": True}, "carry should be false with refresh, which trains no ranker"),
        ({"training": {"federated": {}}}, "carry should be false with training.federated, whose"),
    ],
)
def test_what_cannot_go_on_is_refused(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        RetrainRequest.model_validate({"carry": True, **asked})


def test_arms_whose_rows_begin_at_0_are_trained_where_nobody_says_which() -> None:
    assert RetrainRequest(carry=True).arms == ("none", "frozen", "attention_blank")
    assert RetrainRequest(carry=False).arms == ("none", "frozen", "attention")


def test_a_live_ranker_whose_rows_lie_in_its_embedding_is_refused_when_it_is_asked(
    trained: Any, shop: Workshop, http: httpx.Client, problem: Any
) -> None:
    """And not after an embedding has been trained; one whose rows begin at 0 is not."""
    begun = steps.rank(
        shop, (trained.snapshot, trained.bundles[1]), arm="initial", seed=1, tick=silent
    )
    promote(shop.database, begun, reason="for this test")
    refused = problem(http.post("/v1/retrains", json={"carry": True}), 422)
    assert refused["errors"][0]["field"] == "body.carry"
    assert "the live ranker is of arm initial" in refused["detail"]
    promote(shop.database, trained.rankers[1], reason="for this test")
    assert http.post("/v1/retrains", json={"carry": True}).status_code == 202
