"""AUC as served and at clients, beside a model for each client that has its rows in place."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from loops import finish
from quick import OF_CLIENTS

from graphsvc.snapshot import Span
from ranking.fedda.config import FederatedConfig, MethodConfig, RoundsConfig
from ranking.fedda.train import federated_ranker
from ranking.fedda.worth import both_ways
from ranking.metrics import auc
from ranking.model import head_scores

ROUNDS = FederatedConfig(
    batch=16,
    own_rate=0.2,
    method=MethodConfig(optimizer="adam", rate=0.01, floor=0.01),
    rounds=RoundsConfig(rounds=10, steps=4, warm_rounds=1),
)


def with_rows_of(made, number):
    """The model that client has: its private rows where the served one has none."""
    model = copy.deepcopy(made.trained.model)
    weights, first = dict(model.named_parameters()), 0
    for name, side in (("head_table.weight", "head_rows"), ("tail_table.weight", "tail_rows")):
        _, count, width = made.clients.layout.tables[name]
        rows = made.clients.own[number, first : first + count * width].reshape(count, width)
        first += count * width
        for slot, place in enumerate(made.clients.holdings[side].private[number]):
            if place >= 0:
                with torch.no_grad():
                    weights[name][int(place)] = rows[slot]
    return model


def test_both_are_of_the_same_rows(examples):
    _, made = finish(federated_ranker(examples, OF_CLIENTS, ROUNDS))
    rows = examples.rows[Span.TEST]
    batch = made.trained.encoder.encode(rows.heads, rows.tails, rows.exposures)
    served = head_scores(made.trained.model, batch)[:, 0]
    there = served.copy()
    for number, name in enumerate(made.names):
        mine = rows.heads.ids == name
        there[mine] = head_scores(with_rows_of(made, number), batch)[mine, 0]
    assert not np.array_equal(there, served), "private rows say something"
    found = both_ways(made, examples, "head")
    assert found["ctr"]["served"] == pytest.approx(auc(served, rows.labels), abs=1e-9)
    assert found["ctr"]["at_clients"] == pytest.approx(auc(there, rows.labels), abs=1e-4)


def test_a_head_without_both_answers_is_left_out(examples):
    _, made = finish(federated_ranker(examples, OF_CLIENTS, dataclasses.replace(ROUNDS, batch=4)))
    rows = examples.rows[Span.TEST]
    clicked = rows.take(np.flatnonzero(rows.labels == 1))
    some = examples._replace(rows={**examples.rows, Span.TEST: clicked})
    assert both_ways(made, some, "head") == {}
    assert set(both_ways(made, some, "head", span=Span.VALID)) == {"ctr"}
