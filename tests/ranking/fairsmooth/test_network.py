"""Smoothing by draws, against heads whose smoothed scores are known and networks by hand."""

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch import nn

from ranking.fairsmooth.certificates import SELECTION, count
from ranking.fairsmooth.config import FairSmoothConfig
from ranking.fairsmooth.linear import LinearObjective, linear_rows, smoothed_scores
from ranking.fairsmooth.network import (
    NetworkObjective,
    Smoothable,
    mean_scores,
    mirrored_noise,
    single_scores,
)
from ranking.fairsmooth.smoothing import tau
from ranking.fairsmooth.train import finish, train_groups


class Net(nn.Module):
    """Two layers with a dropout between, which must not count."""

    def __init__(self, width=3, hidden=4):
        super().__init__()
        self.first = nn.Linear(width, hidden)
        self.dropout = nn.Dropout(0.9)
        self.last = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.last(self.dropout(torch.tanh(self.first(x)))).squeeze(1)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def x():
    return torch.randn(30, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


LAST = ("last.weight", "last.bias")
EVERY = ("first.weight", "first.bias", *LAST)


def test_weights_are_in_one_row_and_the_network_stays_as_it_is(net, x):
    smoothable = Smoothable(net, EVERY)
    theta = smoothable.weights
    assert len(theta) == 12 + 4 + 4 + 1
    assert theta[-1] == pytest.approx(float(net.last.bias.detach()[0]))
    as_it_is = net.eval()(x.float()).detach().numpy()
    found = smoothable.logits(torch.tensor(theta), (x,)).numpy()
    np.testing.assert_allclose(found, as_it_is, atol=1e-5)
    assert all(weight.dtype == torch.float32 for weight in net.parameters())
    assert all(weight.requires_grad for weight in net.parameters())


def test_noise_has_a_mirror_image_each():
    noise = mirrored_noise(5, 6, 0.3, seed=0)
    assert noise.shape == (6, 5)
    torch.testing.assert_close(noise[:3], -noise[3:])
    torch.testing.assert_close(noise, mirrored_noise(5, 6, 0.3, seed=0))
    assert float(mirrored_noise(100, 200, 0.3, seed=1).std()) == pytest.approx(0.3, rel=0.05)


def test_mean_scores_are_those_of_a_slow_loop(net, x):
    smoothable, noise = Smoothable(net, EVERY), mirrored_noise(21, 4, 0.5, seed=0)
    theta = smoothable.weights
    slow = [smoothable.logits(torch.tensor(theta) + one, (x,)) for one in noise]
    expected = torch.stack([torch.sigmoid(logits) for logits in slow]).mean(dim=0).numpy()
    np.testing.assert_allclose(mean_scores(smoothable, theta, (x,), noise), expected, atol=1e-12)


def test_of_a_last_layer_draws_come_to_the_exact_scores(net, x):
    smoothable = Smoothable(net, LAST)
    theta, scale = smoothable.weights, 0.8
    with torch.no_grad():
        hidden = torch.tanh(smoothable.network.first(x)).numpy()
    exact = smoothed_scores(theta, linear_rows(hidden, np.zeros(30, dtype=np.int64)), scale)
    found = mean_scores(smoothable, theta, (x,), mirrored_noise(5, 20_000, scale, seed=2))
    np.testing.assert_allclose(found, exact, atol=0.01)


def test_the_objective_of_a_last_layer_is_nearly_the_exact_one(net, x):
    smoothable = Smoothable(net, LAST)
    theta, scale = smoothable.weights, 0.5
    labels, weight = np.arange(30) % 2, np.linspace(1.0, 2.0, 30)
    with torch.no_grad():
        hidden = torch.tanh(smoothable.network.first(x)).numpy()
    exact = LinearObjective(linear_rows(hidden, labels, weight=weight), scale).loss(theta)
    noise = mirrored_noise(5, 20_000, scale, seed=3)
    loss, gradient = NetworkObjective(smoothable, (x,), labels, weight, noise).loss(theta)
    assert loss == pytest.approx(exact[0], abs=0.005)
    np.testing.assert_allclose(gradient, exact[1], atol=0.01)


def test_the_gradient_is_that_of_the_loss(net, x):
    smoothable, labels = Smoothable(net, EVERY), np.arange(30) % 2
    noise = mirrored_noise(21, 6, 0.4, seed=4)
    objective = NetworkObjective(smoothable, (x,), labels, np.ones(30), noise)
    theta = smoothable.weights
    _, gradient = objective.loss(theta)
    for place in (0, 7, 13, 20):
        step = np.zeros(21)
        step[place] = 1e-6
        rise = (objective.loss(theta + step)[0] - objective.loss(theta - step)[0]) / 2e-6
        assert gradient[place] == pytest.approx(rise, abs=1e-7)


def test_each_row_has_a_draw_of_its_own(net, x):
    """The same row 5000 times: scores differ, and their mean is its smoothed score."""
    smoothable = Smoothable(net, LAST)
    theta, scale = smoothable.weights, 0.8
    many = x[:1].expand(5000, 3).contiguous()
    found = single_scores(smoothable, theta, (many,), scale=scale, seed=5)
    with torch.no_grad():
        hidden = torch.tanh(smoothable.network.first(x[:1])).numpy()
    exact = smoothed_scores(theta, linear_rows(hidden, np.zeros(1, dtype=np.int64)), scale)[0]
    assert len(np.unique(found)) == 5000
    assert abs(found.mean() - exact) < 4.5 * found.std() / 5000**0.5
    labels = np.zeros(5000, dtype=np.int64)
    hits = count(found, labels, np.random.default_rng(0))[SELECTION].hits
    assert abs(hits / 5000 - exact) < 4.5 * (exact * (1 - exact) / 5000) ** 0.5


def test_a_network_of_one_layer_is_a_linear_head(x):
    layer = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))
    smoothable = Smoothable(layer, ("0.weight", "0.bias"))
    theta = np.array([1.0, -1.0, 0.5, 0.2])
    found = smoothable.logits(torch.tensor(theta), (x,)).numpy()
    np.testing.assert_allclose(expit(found), expit(x.numpy() @ theta[:3] + 0.2), atol=1e-12)


def test_groups_of_a_network_of_which_all_weights_are_smoothed(net):
    """What holds for linear heads, with draws: near to the mean, and each score as is promised."""
    draw = np.random.default_rng(6)
    inputs = draw.normal(size=(160, 3))
    labels = np.concatenate([inputs[:80, 0] > 0, inputs[80:, 1] > 0]).astype(np.int64)
    smoothable, config = Smoothable(net, EVERY), FairSmoothConfig(rounds=2, steps=20, scale=0.3)
    noise = mirrored_noise(21, 16, config.scale, seed=7)

    def objective(rows):
        some = (torch.from_numpy(inputs[rows]),)
        return NetworkObjective(smoothable, some, labels[rows], np.ones(len(rows)), noise)

    whole = objective(np.arange(160))
    groups = {"a": objective(np.arange(80)), "b": objective(np.arange(80, 160))}
    start = smoothable.weights
    _, fitted = finish(train_groups(whole, groups, config, start))
    assert whole.loss(fitted.mean)[0] < whole.loss(start)[0]
    many = mirrored_noise(21, 4000, config.scale, seed=8)
    every = (torch.from_numpy(inputs),)
    served = mean_scores(smoothable, fitted.mean, every, many)
    for name, theta in fitted.own.items():
        own = mean_scores(smoothable, theta, every, many)
        most = float(tau(fitted.distances[name], config.scale))
        # Both means are of 4000 draws, of at most .5 deviation: five of these, twice.
        assert np.abs(served - own).max() <= most + 2 * 5 * 0.5 / 4000**0.5
