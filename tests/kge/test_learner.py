"""A step of a training beside its slow twins: the loss, its gradients, and what moves."""

import dataclasses
import itertools
from functools import partial

import numpy as np
import pytest
import torch
from pykeen.losses import MarginRankingLoss
from pykeen.models import TransR
from tastes import ARMS, EDGES, SMALL
from torch.utils._python_dispatch import TorchDispatchMode

from kge.blocks import BlockSampler
from kge.factors import STEP
from kge.learner import Learner, _mask, _Step
from kge.model import build_model, parts
from kge.triples import graph_of_snapshot

rng = np.random.default_rng


def first_batch(graph, config):
    return next(iter(BlockSampler(graph, config)))


def dense_twin(model, batch, config) -> torch.Tensor:
    """The loss of a batch from PyKEEN's score of single triples."""
    total = sum(float(block.weight.sum()) for block in batch.blocks)
    loss = torch.zeros(())
    for block in batch.blocks:
        relation, flipped = block.side % 2, block.side >= 2
        if config.reciprocal:
            relation, flipped = 2 * relation + int(flipped), False
        drawn = batch.candidates[block.pool]
        candidates, chance = drawn.rows.tolist(), torch.from_numpy(drawn.log_expected)
        known = {(r, t) for r, t in zip(*(part.tolist() for part in block.known), strict=True)}

        def score(head, tail, relation=relation, flipped=flipped):
            triple = [tail, relation, head] if flipped else [head, relation, tail]
            return model.score_hrt(torch.tensor([triple]))[0, 0]

        for row, tail, weight in zip(block.row, block.tail, block.weight, strict=True):
            head = int(block.head[row])
            tempted = bool(block.tempted[row])  # then a draw of the head is one too many
            out = {c for r, c in known if r == row} | ({head} if tempted else set())
            rest = [n for n, c in enumerate(candidates) if c not in out]
            positive = score(head, int(tail))
            negative = [score(head, candidates[n]) - chance[n] for n in rest]
            negative = torch.stack([*negative, score(head, head)] if tempted else negative)
            each = (config.margin + negative - positive).relu().mean()
            if config.loss == "softmax":
                each = torch.cat([positive[None], negative]).logsumexp(0) - positive
            loss = loss + float(weight) / total * each
    return loss


@pytest.mark.parametrize("arm", ARMS)
def test_a_step_equals_a_dense_twin_and_moves_nothing_else(make_snapshot, arm):
    """The slow twin: PyKEEN's score of each pair, a dense gradient, the optimizer's first step.

    Adagrad's and Adam's are the same: the rate times the sign, in a row of vectors over its length.
    """
    graph = graph_of_snapshot(make_snapshot(EDGES))
    config = dataclasses.replace(
        SMALL, dropout=0.0, prior_share=0.0, margin=2.0, batch=20, **ARMS[arm]
    )
    fast, slow = build_model(graph, config), build_model(graph, config)
    batch = first_batch(graph, config)
    assert len(batch.blocks) > 1
    assert any(block.tempted.any() for block in batch.blocks) == (arm == "drawn")
    expected = dense_twin(slow, batch, config)
    expected.backward()
    found = Learner(graph, fast, config).learn(batch, 1.0, rng(0))
    assert found == pytest.approx(expected.item(), rel=1e-4)
    compared = 0
    for (name, new), (_, old) in zip(fast.named_parameters(), slow.named_parameters(), strict=True):
        gradient = torch.zeros_like(old) if old.grad is None else old.grad
        of_entities = old is parts(slow).vectors.own or name == parts_bias(slow)
        rate = config.learning_rate if of_entities else config.relation_learning_rate
        if old is parts(slow).vectors.own:
            size = gradient.square().mean(dim=1, keepdim=True).sqrt()
        else:
            size = gradient.abs()
        moved = (size > 1e-6).expand_as(gradient)
        step = rate * gradient / (size + 1e-10)
        torch.testing.assert_close(new[moved], (old - step)[moved], rtol=1e-3, atol=2e-4)
        still = (size == 0).expand_as(gradient)
        torch.testing.assert_close(new[still], old[still], rtol=0, atol=1e-7)
        compared += int(moved.sum())
    assert compared > 50


@torch.no_grad()
def added_up(learner, batch) -> tuple[float, _Step]:
    """What a batch's blocks add up to, before anything moves."""
    step = _Step(learner, batch, rng(0))
    return sum(step.add(block) for block in batch.blocks), step


def test_without_both_mechanisms_a_step_has_pykeens_gradients_of_its_own_transr(make_snapshot):
    """PyKEEN's model class, clamp and margin loss; lengths squared, as in the paper."""
    graph = graph_of_snapshot(make_snapshot(EDGES))
    config = dataclasses.replace(
        SMALL, dropout=0.0, prior_share=0.0, margin=2.0, batch=20, matrix_gain=0.3, **ARMS["transr"]
    )
    batch, learner = first_batch(graph, config), Learner(graph, build_model(graph, config), config)
    theirs = TransR(
        triples_factory=graph.factory(reciprocal=False), embedding_dim=8, relation_dim=8,
        scoring_fct_norm=2, power_norm=True,
        loss=MarginRankingLoss(margin=config.margin), random_seed=0,
    )  # fmt: skip
    entities, (shifts, maps) = theirs.entity_representations[0], theirs.relation_representations
    ours = learner.tables
    with torch.no_grad():
        entities._embeddings.weight.copy_(ours["own"])
        shifts._embeddings.weight.copy_(ours["shift"])
        maps._embeddings.weight.copy_(ours["head.0"].transpose(1, 2).flatten(1))
    pairs, total = sum(len(block.tail) for block in batch.blocks), torch.zeros(())
    for block in batch.blocks:
        assert np.ptp(block.weight) == 0

        def scored(row, tails, block=block):
            heads = torch.full((len(tails),), int(block.head[row]))
            first, last = (
                (torch.tensor(tails), heads) if block.side >= 2 else (heads, torch.tensor(tails))
            )
            relation = torch.full_like(heads, block.side % 2)
            return theirs.score_hrt(torch.stack([first, relation, last], dim=1))[:, 0]

        known = {tuple(pair) for pair in np.stack(block.known, axis=1).tolist()}
        for row, tail in zip(block.row.tolist(), block.tail.tolist(), strict=True):
            others = batch.candidates[block.pool].rows.tolist()
            negative = scored(row, [n for n in others if (row, n) not in known])
            loss = theirs.loss.process_slcwa_scores(scored(row, [tail])[None], negative[None])
            total = total + loss / pairs
    total.backward()
    loss, step = added_up(learner, batch)
    assert loss == pytest.approx(total.item(), rel=1e-5)
    close = partial(torch.testing.assert_close, rtol=1e-3, atol=1e-6)
    close(step.by_values, entities._embeddings.weight.grad[step._indices()])
    for row, opened in step.open.items():
        slopes = opened.slopes()
        close(slopes.shift, shifts._embeddings.weight.grad[row])
        close((slopes.head + slopes.tail).T.flatten(), maps._embeddings.weight.grad[row])


def slopes_of(graph, config, batch):
    loss, step = added_up(Learner(graph, build_model(graph, config), config), batch)
    relations = [slope for one in step.open.values() for slope in one.slopes()]
    return loss, [step.by_values, step.by_bias, *[s for s in relations if s is not None]]


def test_half_the_precision_gives_nearly_the_same_gradients(make_snapshot):
    """With all that a graph of facts is trained with but dropout; queries are filled up."""
    graph = graph_of_snapshot(make_snapshot(EDGES))
    config = dataclasses.replace(
        SMALL, tails="still", inverse="transpose", projection="block", projection_blocks=2,
        projected_l2=0.1, n3=0.01, gate_edges=0.0, prior_share=0.0, dropout=0.0, batch=20,
        candidates="any", negatives=6,
    )  # fmt: skip
    batch = first_batch(graph, config)
    half, found = slopes_of(graph, dataclasses.replace(config, precision="bfloat16"), batch)
    whole, expected = slopes_of(graph, config, batch)
    assert half == pytest.approx(whole, rel=0.01)
    assert len(found) == len(expected) > 3
    for left, right in zip(found, expected, strict=True):
        assert (left - right).norm() < 0.02 * right.norm()


class Products(TorchDispatchMode):
    """Sizes of the factors of every product of half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (torch.ops.aten.mm.default, torch.ops.aten.mm.out):
            half = [one for one in args[:2] if one.dtype == torch.bfloat16]
            self.sizes += [size for one in half for size in one.shape]
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("tails", ["own", "same", "still"])
def test_products_of_half_precision_come_in_few_sizes(make_snapshot, tails):
    """Else one is compiled and kept for every number of pairs that a block may have."""
    config = dataclasses.replace(SMALL, precision="bfloat16", tails=tails, batch=20, negatives=6)
    graph = graph_of_snapshot(make_snapshot(EDGES))
    with Products() as seen:
        slopes_of(graph, config, first_batch(graph, config))
    assert len(seen.sizes) > 10
    widths = {config.dim, config.dim + 1, config.dim + 2}  # the base is further columns of both
    assert {size % STEP for size in seen.sizes if size not in widths} == {0}


def test_dropped_and_replaced_heads_have_the_gradients_of_the_formula_written_out(make_snapshot):
    """`||((M (h * d) + r) * e) - T t||^2` with the masks d and e, h sometimes its type's prior."""
    graph = graph_of_snapshot(make_snapshot(EDGES))
    config = dataclasses.replace(
        SMALL, tails="own", bias=False, gate_edges=0.0, prior_share=0.5, dropout=0.4,
        projected_dropout=0.2, batch=8,
    )  # fmt: skip
    batch, model = first_batch(graph, config), build_model(graph, config)
    part, learner = parts(model), Learner(graph, model, config)
    draw, total = rng(0), torch.zeros(())
    weight = sum(float(block.weight.sum()) for block in batch.blocks)
    for block in batch.blocks:
        side = 2 * (block.side % 2) + block.side // 2  # PyKEEN's order
        head = torch.from_numpy(block.head)
        replaced = torch.from_numpy(draw.random((len(head), 1)) < config.prior_share)
        assert replaced.any()
        assert not replaced.all()
        prior = part.vectors.anchors[graph.head_type_code(block.side)]
        kept, kept_query = (_mask((len(head), 8), share, draw) for share in (0.4, 0.2))
        heads = torch.where(replaced, prior, part.vectors.own[head]) * kept
        query = heads @ part.matrices(None)[side].T + part.translations.values[side]
        points = part.vectors.own @ part.tail_matrices(None)[side].T
        scores = -(query * kept_query)[:, None].sub(points).square().sum(dim=2)
        tails = batch.candidates[block.pool].rows
        known = {tuple(pair) for pair in np.stack(block.known, axis=1).tolist()}
        for row, tail, share in zip(block.row, block.tail, block.weight, strict=True):
            rest = [n for n in tails if (row, n) not in known]
            each = torch.cat([scores[row, tail][None], scores[row, rest]])
            total = total + float(share) / weight * (each.logsumexp(0) - each[0])
    total.backward()
    loss, step = added_up(learner, batch)
    assert loss == pytest.approx(total.item(), rel=1e-4)
    torch.testing.assert_close(
        step.by_values, part.vectors.own.grad[step._indices()], rtol=1e-3, atol=1e-6
    )
    torch.testing.assert_close(step.by_anchors, part.vectors.anchors.grad, rtol=1e-3, atol=1e-6)
    assert step.by_anchors.any()


def test_dropout_makes_up_for_what_it_drops():
    mask = _mask((400, 500), 0.3, rng(1))
    assert mask.unique().tolist() == pytest.approx([0.0, 1 / 0.7], rel=1e-4)
    assert mask.mean().item() == pytest.approx(1.0, abs=0.01)
    assert _mask((2, 2), 0.0, rng(1)) is None


def test_decay_shortens_what_moves_by_its_share_of_the_rate(make_snapshot):
    graph = graph_of_snapshot(make_snapshot(EDGES))
    config = dataclasses.replace(SMALL, decay=0.25, learning_rate=0.1, max_norm=1e6)
    model = build_model(graph, config)
    learner, before = Learner(graph, model, config), parts(model).vectors.own.data[:2].clone()
    learner.move("own", torch.tensor([0]), torch.zeros(1, 8), 0.5)
    torch.testing.assert_close(learner.tables["own"][0], before[0] * (1 - 0.05 * 0.25))
    torch.testing.assert_close(learner.tables["own"][1], before[1], rtol=0, atol=0)


@torch.no_grad()
def test_anchors_that_no_batch_leans_on_stay(make_snapshot):
    """Also with Adam, whose mean of former gradients would move them on."""
    graph = graph_of_snapshot(make_snapshot(EDGES))
    config = dataclasses.replace(SMALL, optimizer="adam", prior_share=0.0)
    learner = Learner(graph, build_model(graph, config), config)
    batches = iter(BlockSampler(graph, config))
    learner.learn(next(batches), 1.0, rng(0))
    stayed = 0
    for batch in itertools.islice(batches, 20):
        _, step = added_up(learner, batch)
        _, by_anchors = learner.vectors.pull(step._indices(), step.by_values)
        before = learner.tables["anchors"].clone()
        step.move(1.0)
        still = ~by_anchors.any(dim=1)
        stayed += int(still.sum())
        torch.testing.assert_close(learner.tables["anchors"][still], before[still], rtol=0, atol=0)
        assert not torch.equal(learner.tables["anchors"], before)
    assert stayed


def parts_bias(model) -> str:
    bias = parts(model).bias
    return next((n for n, p in model.named_parameters() if bias and p is bias.values), "")
