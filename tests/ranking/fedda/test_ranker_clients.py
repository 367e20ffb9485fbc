"""A ranker among clients: gradients beside one client after the other, and what stays where."""

import dataclasses

import numpy as np
import pytest
import torch
from loops import finish
from quick import OF_CLIENTS
from torch import nn

from graphsvc.snapshot import Span
from ranking.config import TrainingConfig
from ranking.errors import ConfigError
from ranking.examples import build_examples
from ranking.fedda.config import MethodConfig, RoundsConfig
from ranking.fedda.inprocess import StepDials
from ranking.fedda.ranker_clients import RankerClients, Taught
from ranking.fedda.rounds import federate
from ranking.model import head_scores
from ranking.train import train

QUICK = dataclasses.replace(
    OF_CLIENTS, training=TrainingConfig(epochs=1, batch=64, learning_rate=1e-2)
)


def ranker(leaning, config=QUICK):
    """A ranker after an epoch, so that no weight is 0, and its TRAIN rows."""
    examples = build_examples(leaning.snapshot, leaning.bundle)
    _, trained = finish(train(examples, config))
    rows = examples.rows[Span.TRAIN]
    encoder = trained.encoder
    batch = encoder.encode(rows.heads, rows.tails, rows.exposures)
    targets = torch.from_numpy(rows.labels.astype(np.float32))[:, None]
    client = np.unique(rows.cluster, return_inverse=True)[1].astype(np.int64)
    return trained.model, Taught(batch, targets, torch.ones_like(targets), client)


@pytest.mark.parametrize("arm", ["none", "frozen", "attention_blank"])
def test_all_clients_at_once_as_one_after_the_other(leaning, arm):
    model, taught = ranker(leaning, dataclasses.replace(QUICK, arm=arm))
    clients = RankerClients(model, taught, StepDials(block=7))
    begin = clients.begin()
    cohort = clients.cohort(np.arange(clients.count), number=1, steps=1)
    found = cohort.whole(cohort.held(begin))
    weights = dict(model.named_parameters())
    sides = {"head_table.weight": "head_rows", "tail_table.weight": "tail_rows"}
    sides |= {f"tokens.{side}_shift.weight": f"{side}_rows" for side in ("head", "tail")}
    for client in range(clients.count):
        own = torch.from_numpy(np.flatnonzero(taught.client == client))
        model.zero_grad()
        logits = model(taught.batch.take(own))
        nn.functional.binary_cross_entropy_with_logits(logits, taught.targets[own]).backward()
        gradient = {
            name: torch.zeros_like(weight) if weight.grad is None else weight.grad
            for name, weight in weights.items()
        }
        parts = [gradient[name].flatten() for name in clients.layout.dense]
        for name in clients.layout.tables:
            shared = torch.from_numpy(clients.holdings[sides[name]].rows)
            parts.append(gradient[name][shared].flatten())
        expected = torch.cat([*parts, torch.zeros(1)])[cohort.places[client]]
        torch.testing.assert_close(found[client], expected, rtol=1e-3, atol=1e-6)


def test_what_begins_is_what_the_model_has(leaning):
    model, taught = ranker(leaning)
    clients = RankerClients(model, taught, StepDials())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    clients.put_into_model(clients.begin())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0.0, atol=0.0)


def test_private_rows_never_reach_the_model(leaning):
    model, taught = ranker(leaning)
    clients = RankerClients(model, taught, StepDials(batch=8))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    own = clients.own.clone()
    *_, last = federate(clients.begin(), clients, MethodConfig(rate=0.5), RoundsConfig(rounds=4))
    clients.put_into_model(last.state.weights)
    held = clients.holdings["head_rows"]
    private = torch.from_numpy(held.private[held.private >= 0])
    assert len(private) > 10, "users are clients: their own rows are theirs alone"
    table, was = model.state_dict()["head_table.weight"], before["head_table.weight"]
    torch.testing.assert_close(table[private], was[private], rtol=0.0, atol=0.0)
    assert float((clients.own - own).abs().max()) > 1e-3, "and are learned there"
    shared = torch.from_numpy(clients.holdings["tail_rows"].rows)
    moved = model.state_dict()["tail_table.weight"] - before["tail_table.weight"]
    assert float(moved[shared].abs().max()) > 1e-4
    # What is shared has a place, and nothing else has.
    widths = sum(len(h.rows) for h in clients.holdings.values()) * QUICK.ids.dim
    assert len(last.state.weights) == clients.layout.dense_size + widths


def test_a_private_row_is_read_by_its_client_alone(leaning):
    model, taught = ranker(leaning)
    clients = RankerClients(model, taught, StepDials())
    before = clients.scores_at_clients(taught.batch, taught.client)
    np.testing.assert_allclose(before, head_scores(model, taught.batch), rtol=0, atol=1e-5)
    clients.own[3] += 1.0
    changed = np.abs(clients.scores_at_clients(taught.batch, taught.client) - before).max(axis=1)
    assert (changed[taught.client != 3] == 0).all()
    assert (changed[taught.client == 3] > 0).all()


def test_rounds_learn(leaning):
    model, taught = ranker(leaning)
    clients = RankerClients(model, taught, StepDials(batch=16))

    def loss(weights):
        clients.put_into_model(weights)
        logits = torch.from_numpy(head_scores(model, taught.batch)).float()
        return float(nn.functional.binary_cross_entropy_with_logits(logits, taught.targets))

    before = loss(clients.begin())
    dials = RoundsConfig(rounds=20, steps=4)
    *_, last = federate(clients.begin(), clients, MethodConfig(rate=0.3), dials)
    assert loss(last.state.weights) < before


def test_rows_that_begin_at_the_embedding_are_refused(leaning):
    model, taught = ranker(leaning, dataclasses.replace(QUICK, arm="initial"))
    with pytest.raises(ConfigError, match="should be one whose ID rows begin at 0"):
        RankerClients(model, taught, StepDials())
