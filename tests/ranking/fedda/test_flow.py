"""What steps of each reading add up to, beside the sum written out."""

import pytest
import torch

from ranking.fedda.flow import FLOWS


def test_how_often_momentum_is_gone_along():
    steps, like = torch.tensor([1, 2, 3]), torch.zeros(1, dtype=torch.float64)
    expected = {
        "none": [0.0, 0.0, 0.0],
        "restart": [0.0, 0.0, 0.0],
        "carried": [0.5, 0.75, 0.875],
        "frozen": [0.5, 1.0, 1.5],
        "drive": [0.5, 0.75, 0.875],
    }
    assert {
        name: flow.inherited_sum(0.5, steps, like).tolist() for name, flow in FLOWS.items()
    } == expected


@pytest.mark.parametrize("name", FLOWS)
def test_the_sum_is_that_of_the_steps(name: str):
    flow, like = FLOWS[name], torch.zeros(1, dtype=torch.float64)
    written_out = sum(flow.inherited(0.9, step) for step in range(12))
    found = flow.inherited_sum(0.9, torch.tensor([12]), like)
    assert float(found) == pytest.approx(written_out, rel=1e-12)
