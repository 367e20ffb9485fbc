"""How rankers of a retrain may be trained: what is refused, which dial is reached, what is sealed.

The step is called as a job calls it, on the planted world; over HTTP it is in
tests/journeys/test_training.py.
"""

import json

import pytest
from loops import silent
from planted import FILMS
from pydantic import ValidationError

from api.errors import Invalid
from api.jobs import steps
from api.jobs.embedding import embed
from api.jobs.requests import RetrainRequest
from api.jobs.steps import How
from api.jobs.training import FairnessChoice, FederatedChoice, TrainingChoice
from graphsvc.snapshot import Span
from kge.bundle import open_bundle
from ranking.bundle import open_ranker
from ranking.errors import ConfigError
from ranking.fairsmooth.config import FairSmoothConfig
from ranking.fedda.config import FederatedConfig, MethodConfig, RoundsConfig


def test_what_is_left_out_is_as_by_default() -> None:
    plain = FederatedConfig(rounds=RoundsConfig(seed=7))
    assert FederatedChoice().config(seed=7) == plain
    assert FairnessChoice(by="gender").config(seed=7) == FairSmoothConfig(seed=7)


def test_every_field_of_a_federated_training_reaches_its_dial() -> None:
    choice = FederatedChoice(
        clients="tail.advertiser",
        kge="item_only",
        method="fedyogi",
        reading="drive",
        optimizer="adagrad",
        rate=0.25,
        server_rate=0.5,
        momentum=0.75,
        memory=0.875,
        floor=0.01,
        pull=0.2,
        rounds=40,
        steps=6,
        warm_rounds=2,
        clients_per_round=9,
        end_rounds=8,
        end="plateau",
        end_rate=2.0,
        patience=3,
        least_gain=0.125,
        batch=11,
        own_rate=0.06,
        look_every=4,
    )
    assert set(choice.model_fields_set) == set(FederatedChoice.model_fields), "each is chosen here"
    assert choice.config(seed=3) == FederatedConfig(
        clients="tail.advertiser",
        batch=11,
        own_rate=0.06,
        look_every=4,
        method=MethodConfig(
            method="fedyogi",
            reading="drive",
            optimizer="adagrad",
            rate=0.25,
            server_rate=0.5,
            momentum=0.75,
            memory=0.875,
            floor=0.01,
            pull=0.2,
        ),
        rounds=RoundsConfig(
            rounds=40,
            steps=6,
            warm_rounds=2,
            clients=9,
            end_rounds=8,
            end="plateau",
            end_rate=2.0,
            patience=3,
            least_gain=0.125,
            seed=3,
        ),
    )


def test_every_field_of_a_fair_training_reaches_its_dial() -> None:
    choice = FairnessChoice(
        by="gender",
        scale=0.5,
        proximity=0.25,
        ridge=0.125,
        rounds=3,
        steps=20,
        radius=1.5,
        least_rows=30,
        least_outcomes=5,
        confidence=0.9,
        averaged="behind",
    )
    assert set(choice.model_fields_set) == set(FairnessChoice.model_fields), "each is chosen here"
    assert choice.config(seed=2) == FairSmoothConfig(
        scale=0.5,
        proximity=0.25,
        ridge=0.125,
        rounds=3,
        steps=20,
        radius=1.5,
        least_rows=30,
        least_outcomes=5,
        confidence=0.9,
        seed=2,
    )


@pytest.mark.parametrize(
    ("training", "says"),
    [
        ({}, "should hold federated, fairness or both, received neither"),
        ({"federated": {"method": "sgd"}}, "should be one of fedda, fedavg, .*received 'sgd'"),
        ({"federated": {"clients": "user"}}, r"head\.NAME or tail\.NAME, received 'user'"),
        ({"federated": {"rounds": 0}}, "should be a whole number of at least 1, received 0"),
        ({"federated": {"clients_per_round": -1}}, "should be a whole number of at least 0"),
        ({"federated": {"momentum": 1.0}}, "should be at least 0 and below 1, received 1.0"),
        ({"federated": {"rounds": 5, "end_rounds": 6}}, "end_rounds should be at most rounds"),
        ({"federated": {"epochs": 4}}, "Extra inputs"),
        ({"federated": {"kge": "none"}}, "should be all or item_only, received .none."),
        ({"fairness": {}}, "by"),
        ({"fairness": {"by": "gender", "scale": 0}}, "should be above 0 and finite"),
        ({"fairness": {"by": "gender", "link": "step"}}, "Extra inputs"),
        ({"fairness": {"by": "gender", "averaged": "never"}}, "should be behind, received 'never'"),
    ],
)
def test_what_no_dial_takes_is_refused(training: dict, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        RetrainRequest.model_validate({"training": training})


def test_an_end_phase_may_be_as_long_as_the_rounds_that_are_asked_for() -> None:
    # The default of rounds is 100: the field alone would be refused beside it.
    choice = FederatedChoice(rounds=200, end_rounds=150)
    assert choice.config(seed=0).rounds.end_rounds == 150
    with pytest.raises(ValidationError, match="end_rounds should be at most rounds, received 150"):
        FederatedChoice(end_rounds=150)


def test_averages_of_groups_inside_rounds_are_refused_with_the_reason() -> None:
    both = {"federated": {}, "fairness": {"by": "gender", "averaged": "inside"}}
    with pytest.raises(ValidationError, match="never the weights of a group of its own"):
        TrainingChoice.model_validate(both)
    both["fairness"] = {"by": "gender"}
    assert TrainingChoice.model_validate(both).fairness == FairnessChoice(by="gender")


@pytest.mark.parametrize("arm", ["initial", "both", "attention_swapped"])
def test_rounds_train_no_arm_that_begins_at_the_embedding(arm: str) -> None:
    body = {"arms": ["none", arm], "training": {"federated": {}}}
    with pytest.raises(ValidationError, match=f"arms should be among .*none.* received {arm}:"):
        RetrainRequest.model_validate(body)
    fair = {"arms": [arm], "training": {"fairness": {"by": "gender"}}}
    assert RetrainRequest.model_validate(fair).arms == (arm,)


def test_a_refresh_trains_no_ranker_at_all() -> None:
    with pytest.raises(ValidationError, match="training should not be given with refresh"):
        RetrainRequest.model_validate({"refresh": True, "training": {"federated": {}}})


@pytest.mark.parametrize(
    ("training", "field", "says"),
    [
        (
            {"fairness": {"by": "age"}},
            "body.training.fairness.by",
            "should be one of the categories of user (gender, occupation), received 'age'",
        ),
        (
            {"federated": {"clients": "tail.studio"}},
            "body.training.federated.clients",
            "should be one of the categories of film (none), received 'tail.studio'",
        ),
        (
            {"federated": {}, "fairness": {"by": "gender", "averaged": "inside"}},
            "body.training.fairness.averaged",
            "is not defined there; behind the rounds it is",
        ),
    ],
)
def test_over_http_field_value_and_reason_are_told(http, problem, training, field, says) -> None:
    refused = problem(http.post("/v1/retrains", json={"training": training}), 422)
    assert says in refused["detail"]
    [error] = refused["errors"]
    assert error["field"] == field
    assert error["value"] in ("age", "tail.studio", "inside")


def test_rounds_are_told_and_sealed_with_what_they_took(shop, trained) -> None:
    parents, notes = (trained.snapshot, trained.bundles[1]), []
    choice = FederatedChoice(optimizer="adam", rate=0.01, rounds=4, steps=2, look_every=2, batch=8)
    how = How("none", 0, None, TrainingChoice(federated=choice))

    def tick(done: int, total: int, note: str) -> None:
        notes.append((done, total, note))

    digest = steps.rank_as(shop, parents, how, tick=tick)
    assert [(done, total) for done, total, _ in notes] == [(n, 4) for n in range(5)]
    assert all(note.startswith("60 clients, ") for *_, note in notes[1:])
    assert "valid AUC" not in notes[1][2], "nobody has looked yet"
    assert "valid AUC" in notes[3][2]

    sealed = trained.http.get(f"/v1/artifacts/{digest}").json()
    told = sealed["payload"]["training"]["federated"]
    assert (told["method"], told["clients"], told["rounds"]) == ("fedda", 60, 4)
    assert told["dials"]["rounds"]["steps"] == 2
    # Adam as `carried`: W, M and D down; S and a up, and the rows that a client names.
    down, up = told["bytes"]["down"], told["bytes"]["up"]
    assert 2 * down / 3 < up < down
    # Nobody has more than 8 rows, so each of 2 steps takes all of a client's.
    rows = shop.examples(*parents).rows[Span.TRAIN].labels
    assert told["gradients"] == 4 * 2 * len(rows)
    assert told["kept_round"] in (2, 4)
    auc = told["auc"]["ctr"]
    assert sealed["metrics"]["auc_served"] == auc["served"]
    assert sealed["metrics"]["auc_at_clients"] == auc["at_clients"]
    ranker = open_ranker(shop.store, digest, open_bundle(shop.store, trained.bundles[1]))
    own = json.loads(ranker.artifact.file("ids.json").read_text())["head"]
    assert len(own) > 50, "most users have a row of their own"
    kept = ranker.model.head_table.rows.whole()[: len(own)]
    assert float(kept.abs().max()) == 0.0, "it stays with its client"


def test_groups_are_refused_before_anything_is_trained(shop, trained) -> None:
    parents, notes = (trained.snapshot, trained.bundles[1]), []
    fair = TrainingChoice(fairness=FairnessChoice(by="age"))
    with pytest.raises(ConfigError, match="one of the categories of user"):
        steps.rank_as(
            shop, parents, How("none", 0, None, fair), tick=lambda *told: notes.append(told)
        )
    assert not notes


def test_plain_rankers_say_nothing_of_their_training(trained) -> None:
    sealed = trained.http.get(f"/v1/artifacts/{trained.rankers[0]}").json()
    assert "training" not in sealed["payload"]


def test_an_embedding_of_items_alone_knows_nobody_who_clicks(shop, trained) -> None:
    digest = embed(shop, trained.snapshot, seed=1, tick=silent, item_only=True)
    bundle = open_bundle(shop.store, digest)
    users, films = bundle.types["user"], bundle.types["film"]
    assert (users.stop - users.start, films.stop - films.start) == (0, 2 * FILMS)
    assert "no edge of a user" in bundle.artifact.payload["reasons"]["left_out"]
    assert "left_out" not in open_bundle(shop.store, trained.bundles[1]).artifact.payload["reasons"]
    assert steps.index(shop, digest, silent)

    # Users are folded in from what each did before.
    rows = shop.examples(trained.snapshot, digest).rows[Span.TEST]
    assert len(rows.heads.vectors) == len(rows.labels)
    assert float(abs(rows.heads.vectors).max()) > 0.0
    choice = FederatedChoice(kge="item_only", rounds=2, steps=1)
    how = How("frozen", 0, None, TrainingChoice(federated=choice))
    ranker = steps.rank_as(shop, (trained.snapshot, digest), how, tick=silent)
    sealed = trained.http.get(f"/v1/artifacts/{ranker}").json()
    assert sealed["payload"]["training"]["federated"]["kge"] == "item_only"
    with pytest.raises(Invalid, match="should be all for this bundle"):
        steps.rank_as(shop, (trained.snapshot, trained.bundles[1]), how, tick=silent)


def test_a_refresh_of_it_stays_without_them(shop, trained) -> None:
    first = embed(shop, trained.snapshot, seed=1, tick=silent, item_only=True)
    again = open_bundle(
        shop.store, embed(shop, trained.snapshot, seed=2, tick=silent, previous=first)
    )
    assert again.types["user"].start == again.types["user"].stop


def test_tables_are_not_pretrained_on_edges_that_stay_away() -> None:
    body = {
        "pretraining": {"facets": ["gnn"]},
        "training": {"federated": {"kge": "item_only"}},
    }
    with pytest.raises(ValidationError, match="pretraining should not be given with training"):
        RetrainRequest.model_validate(body)
    body["training"] = {"federated": {"kge": "all"}}
    asked = RetrainRequest.model_validate(body)
    assert not asked.item_only
    assert asked.arms == ("none", "frozen", "attention_blank"), "rounds can train these"
    assert RetrainRequest.model_validate_json(asked.model_dump_json()) == asked
