"""The network that all families share: its equation, its training, what a mask's rate is of."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import ctr_spans
from ctr_data import Clicks
from ctr_model import CtrDials, CtrModel, latency, optimizer_of, probabilities, train

from ranking.config import CROSSINGS, CrossingConfig
from ranking.metrics import auc

SMALL = CtrDials(
    embedding=8,
    hidden=16,
    batch=64,
    epochs=40,
    patience=8,
    learning_rate=0.02,
    dropout=0.0,
)


@pytest.fixture
def clicks() -> Clicks:
    """A click is an odd second field, whoever sees it."""
    rng = np.random.default_rng(0)
    codes = rng.integers((5, 6), size=(500, 2)).astype(np.int32)
    label = (codes[:, 1] % 2).astype(np.int8)
    span = np.repeat(np.array([ctr_spans.TRAIN, ctr_spans.VALID, ctr_spans.TEST], np.int8), 200)
    past = np.zeros(500, np.int64)
    return Clicks(codes, label, span[:500], codes[:, 0], past, {"user": 5, "item": 6}, "users")


def test_a_plain_network_is_its_equation():
    dials = CtrDials(
        crossing=CrossingConfig(kind="dcn_v2_full", layers=1, norm="none"),
        embedding=2,
        hidden=3,
        plain=True,
    )
    model = CtrModel([5, 6], dials).eval()
    assert float(model.table.weight.detach().abs().max()) < 1e-3
    assert float(model.hidden.bias.detach().abs().max()) == 0
    torch.nn.init.normal_(model.table.weight)
    codes = torch.tensor([[0, 0], [4, 5]])
    [layer] = model.stack
    for row, (user, item) in enumerate(codes.tolist()):
        x = torch.cat([model.table.weight[user], model.table.weight[5 + item]])
        crossed = x + x * (layer.whole.weight @ x + layer.whole.bias)
        hidden = torch.relu(model.hidden.weight @ crossed + model.hidden.bias)
        assert_close(model(codes)[row], model.last.weight[0] @ hidden + model.last.bias[0])


@pytest.mark.parametrize("kind", CROSSINGS)
def test_every_family_finds_what_a_field_says_alone(clicks: Clicks, kind: str):
    crossing = CrossingConfig(kind=kind, tokens=2, hidden_share=1.0)
    dials = replace(SMALL, crossing=crossing)
    found = train(clicks, dials, seed=1)
    rows = clicks.rows(ctr_spans.TEST)
    reached = auc(probabilities(found.model, clicks, rows), clicks.label[rows])
    assert reached > 0.95
    assert 1 <= found.best <= found.looks <= SMALL.epochs


def test_the_same_seed_gives_the_same_network_and_another_seed_another(clicks: Clicks):
    one, same, other = (train(clicks, SMALL, seed) for seed in (1, 1, 2))
    weights = [trained.model.table.weight for trained in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_masks_rate_is_of_the_mask_alone_and_only_matrices_decay():
    dials = CtrDials(mask_rate=0.1, learning_rate=0.01, weight_decay=0.3)
    model = CtrModel([5, 6], dials)
    groups = optimizer_of(model, dials).param_groups
    found = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    for name, parameter in model.named_parameters():
        rate, decay = found.pop(id(parameter))
        assert rate == pytest.approx(0.001 if ".mask_" in name else 0.01), name
        assert decay == (0.0 if name.endswith("bias") or "norm" in name else 0.3), name
    assert found == {}


def test_it_stops_when_looks_no_longer_help(clicks: Clicks):
    """Labels by chance: nothing to be found, so looks end long before the epochs do."""
    chance = clicks._replace(label=np.random.default_rng(1).integers(2, size=500).astype(np.int8))
    dials = CtrDials(embedding=4, hidden=8, batch=64, epochs=500, learning_rate=0.02)
    found = train(chance, dials, seed=1)
    assert found.looks == found.best + dials.patience < 100


def test_latency_is_of_any_batch(clicks: Clicks):
    model = CtrModel([5, 6], SMALL)
    assert all(latency(model, clicks, batch, runs=10) > 0 for batch in (1, 512))
