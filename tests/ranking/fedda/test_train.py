"""A federated ranker is a ranker: it learns, it is sealed and served, and holds no private row."""

import dataclasses

import numpy as np
import pytest
import torch
from faceted import table_over
from loops import finish
from quick import OF_CLIENTS

from graphsvc.snapshot import Span
from ranking.errors import ConfigError, TrainingDiverged
from ranking.fedda.config import FederatedConfig, MethodConfig, RoundsConfig
from ranking.fedda.train import client_of, federated_ranker, train_federated
from ranking.idtables.known import KnownRows
from ranking.idtables.placement import Placement
from ranking.metrics import auc
from ranking.pretraining.reader import FacetReader
from ranking.tables import plan_tables

ROUNDS = FederatedConfig(
    batch=16,
    look_every=4,
    method=MethodConfig(optimizer="adam", rate=0.01, floor=0.01),
    rounds=RoundsConfig(rounds=10, steps=4, warm_rounds=1, end_rounds=2),
)


def test_looks_are_taken_every_few_rounds_and_at_the_end(examples):
    seen, trained = finish(train_federated(examples, OF_CLIENTS, ROUNDS))
    assert [one.learned.epoch for one in seen] == [4, 8, 9, 10]
    assert [one.phase for one in seen] == ["local", "local", "end", "end"]
    assert seen[0].clients == 40
    downs = [one.traffic.down for one in seen]
    assert downs == sorted(downs)
    assert len(trained.trace) == 4
    best = min(seen, key=lambda one: one.learned.valid_loss).learned.epoch
    assert seen[-1].learned.best_epoch == best


def test_it_learns_what_only_the_pair_tells(examples):
    rounds = dataclasses.replace(
        ROUNDS, rounds=RoundsConfig(rounds=80, steps=5, warm_rounds=1), look_every=20
    )
    _, trained = finish(train_federated(examples, OF_CLIENTS, rounds))
    test = examples.rows[Span.TEST]
    scored = trained.scored(test.heads, test.tails, test.exposures)
    assert auc(scored.probabilities["ctr"], test.labels) > 0.8


def test_rows_of_users_are_not_in_what_is_given(examples):
    _, trained = finish(train_federated(examples, OF_CLIENTS, ROUNDS))
    own = trained.model.head_table.weight[: len(trained.head_ids.exclusive)]
    assert len(own) == 40
    assert float(own.detach().abs().max()) == 0.0
    assert float(trained.model.tail_table.weight.detach().abs().max()) > 0.0


def test_clients_may_be_segments(examples):
    taught = examples.rows[Span.TRAIN]
    by_lean = client_of(taught, "head.lean")
    assert sorted(set(by_lean.tolist())) == [0, 1]
    leans = np.array([int(name[1:]) % 2 for name in taught.heads.ids])
    assert len(set(zip(by_lean.tolist(), leans.tolist(), strict=True))) == 2
    assert len(set(client_of(taught, "tail").tolist())) == 20
    with pytest.raises(ConfigError, match="clients should be of what heads have"):
        client_of(taught, "head.country")


def test_a_rate_without_end_is_told(examples):
    wild = dataclasses.replace(ROUNDS, method=MethodConfig(method="fedavg", rate=1e30))
    with pytest.raises(TrainingDiverged, match=r"lower method\.rate"):
        finish(train_federated(examples, OF_CLIENTS, wild))


def test_it_is_sealed_like_any_ranker(examples, seal):
    _, trained = finish(train_federated(examples, OF_CLIENTS, ROUNDS))
    ranker = seal(trained)
    assert ranker.arm == "none"
    assert ranker.artifact.payload["trace"][-1]["phase"] == "end"


def test_the_same_seed_gives_the_same_weights(examples):
    (first, a), (second, b) = (
        finish(train_federated(examples, OF_CLIENTS, ROUNDS)) for _ in range(2)
    )
    assert first == second
    for name, value in a.model.state_dict().items():
        assert torch.equal(value, b.model.state_dict()[name]), name


def test_rows_are_moved_in_float32_and_kept_as_the_dials_say(examples):
    ids = dataclasses.replace(
        OF_CLIENTS.ids, optimizer="adagrad", precision="bfloat16", backend="torch"
    )
    _, trained = finish(train_federated(examples, dataclasses.replace(OF_CLIENTS, ids=ids), ROUNDS))
    weight = trained.model.tail_table.weight.detach()
    assert weight.dtype == torch.bfloat16
    assert float(weight.abs().max()) > 0.0
    assert trained.tables["tables"][1]["precision"] == "bfloat16"


def test_clients_read_what_was_pretrained(examples):
    read = examples._replace(facets=(table_over(examples.rows[Span.TRAIN]),))
    _, trained = finish(train_federated(read, OF_CLIENTS, ROUNDS))
    assert (trained.shape.facets, trained.facets.width) == (3, 3)
    test = read.rows[Span.TEST]
    blank = trained._replace(
        facets=FacetReader([table_over(examples.rows[Span.TRAIN].take(np.arange(0)))])
    )
    own, other = (one.scored(test.heads, test.tails).logits for one in (trained, blank))
    assert (own != other).any(axis=1).mean() > 0.9


def test_every_round_is_told_and_a_plateau_is_looked_at(examples):
    told = []
    rounds = RoundsConfig(rounds=50, steps=1, end="plateau", patience=2, least_gain=0.9)
    dials = dataclasses.replace(ROUNDS, rounds=rounds, look_every=50)
    seen, made = finish(federated_ranker(examples, OF_CLIENTS, dials, each=told.append))
    # Nobody gains 90 % in two rounds, so the third is the last.
    assert [one.round for one in told] == [1, 2, 3]
    assert [one.learned.epoch for one in seen] == [3]
    assert made.rounds == 3
    assert made.traffic.up == sum(one.traffic.up for one in told)
    assert made.evaluations == sum(one.evaluations for one in told)
    assert len(made.trained.trace) == 1


def test_clients_begin_with_known_rows_and_keep_them(examples):
    known = (
        KnownRows(Placement(("u3", "u5"), OF_CLIENTS.ids.buckets), torch.full((10, 4), 2.0)),
        None,
    )
    tables = plan_tables(examples, OF_CLIENTS, known=known)
    rounds = dataclasses.replace(ROUNDS, rounds=RoundsConfig(rounds=1, steps=1), own_rate=1e-3)
    _, made = finish(federated_ranker(examples, OF_CLIENTS, rounds, tables=tables))
    served = made.trained.model.head_table.weight[: len(made.trained.head_ids.exclusive)]
    assert float(served.detach().abs().max()) == 0.0, "none of them is in what is served"
    own = private_row(made, "u3")
    # A step of AdaGrad is as long as its rate at most.
    torch.testing.assert_close(own, torch.full((4,), 2.0), rtol=0.0, atol=1.1e-3)
    assert float(private_row(made, "u4").abs().max()) < 1.1e-3, "of whom nothing was known"


def private_row(made, name):
    """The row of a user that lies at their client."""
    number = made.names.index(name)
    _, count, width = made.clients.layout.tables["head_table.weight"]
    own = made.clients.own[number, : count * width].reshape(count, width)
    place = made.trained.head_ids.exclusive.index(name)
    [slot] = np.flatnonzero(made.clients.holdings["head_rows"].private[number] == place)
    return own[slot]


def test_rows_of_somebody_else_are_of_no_client(examples):
    taught = examples.rows[Span.TRAIN]
    found = client_of(taught, "head", among=("u7", "u0"))
    expected = [{"u7": 0, "u0": 1}.get(name, -1) for name in taught.heads.ids]
    np.testing.assert_array_equal(found, expected)
    assert set(found.tolist()) == {-1, 0, 1}
