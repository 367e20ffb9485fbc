"""The kernel's gradients against those of the model's own score by autograd."""

import dataclasses
import math

import pytest
import torch

from kge.config import TransRAConfig
from kge.interaction import interaction_of
from kge.kernel import Ends, Kept, Kernel, Maps
from kge.losses import Pairs

ROWS, PAIRS, OTHERS, DIM = 4, 6, 5, 3
ROW = torch.tensor([0, 0, 1, 2, 3, 3])
KNOWN = (torch.tensor([0, 2, 3]), torch.tensor([1, 4, 0]))
TEMPTED = torch.tensor([True, False, True, True])
WEIGHT = torch.tensor([0.1, 0.2, 0.3, 0.15, 0.05, 0.2])


def given(*, tails: str, bias: bool, dropout: bool, tempted: bool = False):
    draw = torch.Generator().manual_seed(5)
    normal = lambda *shape: torch.randn(*shape, generator=draw).requires_grad_()  # noqa: E731
    met = PAIRS + (ROWS if tempted else 0)
    ends = Ends(
        head=normal(ROWS, DIM),
        tail=normal(met, DIM),
        other=normal(OTHERS, DIM),
        tail_bias=normal(met) if bias else None,
        other_bias=normal(OTHERS) if bias else None,
        log_expected=torch.linspace(-1.0, 0.0, OTHERS),
        tempted=TEMPTED if tempted else None,
    )
    head = normal(DIM, DIM)
    tail = {"same": head, "own": normal(DIM, DIM), "still": None, "swapped": head}[tails]
    head = None if tails == "swapped" else head
    keep = lambda width: (torch.rand(ROWS, width, generator=draw) > 0.4) / 0.6  # noqa: E731
    kept = Kept(keep(DIM), keep(DIM)) if dropout else Kept(None, None)
    return ends, Maps(normal(DIM), head, tail), kept


def twin(config: TransRAConfig, ends: Ends, maps: Maps, kept: Kept) -> torch.Tensor:
    """The loss from scores of single triples, written out."""
    score = interaction_of(config)
    matrices = [
        m for m in (maps.head, maps.tail if config.tails == "own" else None) if m is not None
    ]
    # Dropout of the projected head: the query is made first and scored through the identity.
    heads = ends.head if kept.head is None else ends.head * kept.head
    identity = torch.eye(DIM)
    queries = heads @ (identity if maps.head is None else maps.head).T + maps.shift
    if kept.query is not None:
        queries = queries * kept.query
    through = identity if maps.tail is None else maps.tail
    zero = torch.zeros(DIM)

    def one(n, tail, bias):
        point = through @ tail
        value = score_of_points(queries[n], point)
        return value if bias is None else value + bias

    def score_of_points(query, point):
        plain = interaction_of(TransRAConfig(dim=DIM, relation_dim=DIM, tails="same", bias=False))
        return plain(query, (zero, identity), point)

    if (
        kept.head is None and kept.query is None and maps.head is not None
    ):  # then the model's own interaction says the same
        direct = score(ends.head[0], (maps.shift, *matrices), _tail(ends, 0))
        torch.testing.assert_close(direct, one(0, ends.tail[0], _bias(ends.tail_bias, 0)))
    known = set(zip(*(part.tolist() for part in KNOWN), strict=True))
    total = torch.zeros(())
    for pair, row in enumerate(ROW.tolist()):
        positive = one(row, ends.tail[pair], _bias(ends.tail_bias, pair))
        rest = [j for j in range(OTHERS) if (row, j) not in known]
        negative = torch.stack([one(row, ends.other[j], _bias(ends.other_bias, j)) for j in rest])
        certain = negative[:0]
        if ends.tempted is not None and ends.tempted[row]:
            own = PAIRS + row
            certain = one(row, ends.tail[own], _bias(ends.tail_bias, own))[None]
        if config.loss == "margin":
            loss = (config.margin + torch.cat([negative, certain]) - positive).relu().mean()
        else:
            corrected = torch.cat([positive[None], negative - ends.log_expected[rest], certain])
            loss = corrected.logsumexp(0) - positive
        total = total + WEIGHT[pair] * loss
        total = total + config.n3 * WEIGHT[pair] * ends.tail[pair].abs().pow(3).sum()
        total = total + config.n3 * WEIGHT[pair] * ends.head[row].abs().pow(3).sum()
        norms = queries[row].square().sum() + (through @ ends.tail[pair]).square().sum()
        total = total + config.projected_l2 * WEIGHT[pair] * norms
    return total


def _bias(bias, n):
    return None if bias is None else bias[n]


def _tail(ends: Ends, n: int):
    return ends.tail[n] if ends.tail_bias is None else (ends.tail[n], ends.tail_bias[n])


@pytest.mark.parametrize("loss", ["softmax", "margin"])
@pytest.mark.parametrize("tails", ["same", "own", "still", "swapped"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("extras", [(), ("regularizers",), ("regularizers", "dropout", "tempted")])
def test_gradients_equal_autograds(loss: str, tails: str, bias: bool, extras: tuple[str, ...]):
    """`swapped`: tails that stay still ask for heads, without reciprocal relations."""
    form = "still" if tails == "swapped" else tails
    config = TransRAConfig(dim=DIM, relation_dim=DIM, tails=form, bias=bias, loss=loss, margin=2.0)
    if "regularizers" in extras:
        config = dataclasses.replace(config, n3=0.03, projected_l2=0.07)
    dropout, tempted = "dropout" in extras, "tempted" in extras
    ends, maps, kept = given(tails=tails, bias=bias, dropout=dropout, tempted=tempted)
    leaves = [leaf for leaf in (*ends[:5], maps.shift, maps.head) if leaf is not None]
    if tails in ("own", "swapped"):
        leaves.append(maps.tail)
    expected = twin(config, ends, maps, kept)
    slopes = torch.autograd.grad(expected, leaves)
    pairs = Pairs(ROW, WEIGHT, KNOWN)
    with torch.no_grad():
        found = Kernel(config).block(ends, maps, pairs, kept)
    by_head = found.maps.head + found.maps.tail if tails == "same" else found.maps.head
    assert (by_head is None) == (tails == "swapped")
    parts = [found.head, found.tail, found.other]
    if bias:
        parts += [found.tail_bias, found.other_bias]
    parts += [part for part in (found.maps.shift, by_head) if part is not None]
    if tails in ("own", "swapped"):
        parts.append(found.maps.tail)
    for part, slope in zip(parts, slopes, strict=True):
        torch.testing.assert_close(part, slope, rtol=1e-4, atol=1e-5)
    if not extras:
        assert found.loss == pytest.approx(expected.item(), rel=1e-5)


def test_a_block_by_hand():
    """One coordinate, M = 2, r = 1: head 1 asks at 3; tails at 2 (true) and 0 (not).

    Scores -1 and -9: the loss is log(1 + e^-8), the true tail's slope by its own place
    (e^-8 / (1 + e^-8)) times 2 (3 - 2) times -2.
    """
    config = TransRAConfig(dim=1, relation_dim=1, bias=False)
    one = lambda value: torch.tensor([[value]])  # noqa: E731
    ends = Ends(one(1.0), one(1.0), one(0.0), None, None, torch.zeros(1))
    nothing = torch.empty(0, dtype=torch.long)
    pairs = Pairs(torch.tensor([0]), torch.ones(1), (nothing, nothing))
    maps = Maps(torch.tensor([1.0]), one(2.0), one(2.0))
    found = Kernel(config).block(ends, maps, pairs, Kept(None, None))
    chance = math.exp(-8) / (1 + math.exp(-8))
    assert found.loss == pytest.approx(math.log1p(math.exp(-8)), rel=1e-3)
    assert found.tail.item() == pytest.approx(-4 * chance, rel=1e-3)
