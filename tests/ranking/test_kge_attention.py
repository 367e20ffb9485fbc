import numpy as np
import torch
from torch.testing import assert_close

from ranking.config import AttentionConfig
from ranking.kge_attention import KgeAttention

ROW, CONTEXT, TOKENS, WIDTH = 3, 2, 4, 5


def make(heads=2, width=4, gate=-2.0):
    config = AttentionConfig(heads=heads, width=width, context=CONTEXT, gate=gate)
    block = KgeAttention(TOKENS, WIDTH, ROW, CONTEXT, config).double()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name, parameter in block.named_parameters():
            if name != "gate":
                torch.nn.init.normal_(parameter)
    return block


def inputs(batch=6, seed=1):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(batch, 2, ROW), (batch, CONTEXT), (batch, TOKENS, WIDTH)]
    return [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes]


def norm(x):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5)


def test_equals_a_slow_twin():
    block, (rows, context, tokens) = make(), inputs()
    visible = torch.ones(6, TOKENS, dtype=torch.bool)
    visible[2, 1] = visible[2, 3] = False
    p = {name: value.detach().numpy() for name, value in block.named_parameters()}
    refined, weights = block(rows, context, tokens, visible)
    twin_rows, twin_weights = np.zeros((6, 2, ROW)), np.zeros((6, 2, TOKENS))
    for b in range(6):
        seen = [j for j in range(TOKENS) if visible[b, j]]
        z = {
            j: norm(tokens[b, j].numpy()) * p["token_scale"][j] + p["token_shift"][j] for j in seen
        }
        for i in range(2):
            joined = np.concatenate([rows[b, i].numpy(), context[b].numpy()])
            q = p["query.weight"] @ (norm(joined) * p["query_scale"][i] + p["query_shift"][i])
            mixed = []
            for part in (slice(0, 2), slice(2, 4)):
                logits = np.array([q[part] @ (p["key.weight"] @ z[j])[part] for j in seen])
                alpha = np.exp(logits / np.sqrt(2)) / np.exp(logits / np.sqrt(2)).sum()
                mixed.append(
                    sum(
                        a * (p["value.weight"] @ z[j])[part]
                        for a, j in zip(alpha, seen, strict=True)
                    )
                )
                twin_weights[b, i, seen] += alpha / 2
            gate = 1 / (1 + np.exp(-p["gate"][i]))
            attended = p["out.weight"] @ np.concatenate(mixed)
            twin_rows[b, i] = rows[b, i].numpy() + gate * attended
    assert_close(refined, torch.tensor(twin_rows))
    assert_close(weights, torch.tensor(twin_weights))


def test_frozen_tokens_get_no_gradient_and_all_else_does():
    block, (rows, context, tokens) = make(), inputs()
    tokens.requires_grad_()
    rows.requires_grad_()
    refined, _ = block(rows, context, tokens, torch.ones(6, TOKENS, dtype=torch.bool))
    refined.square().sum().backward()
    assert tokens.grad is None
    assert rows.grad is not None
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_weights_explain_and_an_unseen_token_has_none():
    block, (rows, context, tokens) = make(), inputs()
    visible = torch.ones(6, TOKENS, dtype=torch.bool)
    visible[:, 2] = False
    _, weights = block(rows, context, tokens, visible)
    assert_close(weights.sum(dim=2), torch.ones(6, 2, dtype=torch.float64))
    assert (weights[:, :, 2] == 0).all()


def test_a_row_that_sees_no_token_keeps_its_id_row():
    block, (rows, context, tokens) = make(), inputs()
    rows.requires_grad_()
    visible = torch.zeros(6, TOKENS, dtype=torch.bool)
    refined, weights = block(rows, context, tokens, visible)
    assert_close(refined, rows)
    assert (weights == 0).all()
    refined.sum().backward()
    assert torch.isfinite(rows.grad).all()


def test_the_gate_starts_at_sigmoid_of_minus_two():
    block, (rows, context, tokens) = make(), inputs()
    visible = torch.ones(6, TOKENS, dtype=torch.bool)
    ajar, _ = block(rows, context, tokens, visible)
    with torch.no_grad():
        block.gate.fill_(0.0)
    half, _ = block(rows, context, tokens, visible)
    # sigmoid(-2) = .1192, sigmoid(0) = .5
    assert_close(ajar - rows, (half - rows) * (0.11920292202211755 / 0.5))
