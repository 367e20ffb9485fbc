"""Our model in the program of somebody who uses PyKEEN: its training loop and evaluator."""

import dataclasses
import re
from pathlib import Path

import pytest
import torch
from pykeen.datasets import Nations
from pykeen.evaluation import RankBasedEvaluator
from pykeen.training import SLCWATrainingLoop

from kge.config import TransRAConfig
from kge.model import build_model, parts
from kge.triples import graph_of_factory

# PyKEEN's own loop calls what PyKEEN has deprecated, and pins memory without an accelerator.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Training instances are:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:'pin_memory':UserWarning"),
]

ARMS = {
    "transra": TransRAConfig(
        dim=16, relation_dim=16, anchors_per_type=4, nearest_anchors=2, gate_edges=5.0
    ),
    "transr": TransRAConfig(
        dim=16, relation_dim=16, gate_edges=0.0, bias=False, reciprocal=False, matrix_gain=1.0
    ),
    "still tails": TransRAConfig(dim=16, relation_dim=16, tails="still", projection="low_rank"),
    "transposes": TransRAConfig(dim=16, relation_dim=16, tails="still", inverse="transpose"),
}


@pytest.mark.slow_as("transr", "still tails", "transposes")
@pytest.mark.parametrize("arm", ARMS)
def test_pykeens_loop_trains_it_and_its_evaluator_sees_it(arm: str):
    config = dataclasses.replace(ARMS[arm], seed=1)
    data = Nations(create_inverse_triples=config.reciprocal)
    model = build_model(graph_of_factory(data.training), config)

    def hits() -> float:
        found = RankBasedEvaluator(clear_on_finalize=True).evaluate(
            model=model,
            mapped_triples=data.validation.mapped_triples,
            additional_filter_triples=[data.training.mapped_triples],
            batch_size=32,
            use_tqdm=False,
        )
        return float(found.get_metric("both.realistic.hits_at_3"))

    before = hits()
    torch.manual_seed(0)  # PyKEEN shuffles and draws negatives by the global generator
    loop = SLCWATrainingLoop(
        model=model,
        triples_factory=data.training,
        optimizer=torch.optim.Adam(model.parameters(), lr=0.02),
    )
    losses = loop.train(data.training, num_epochs=15, batch_size=256, use_tqdm=False)
    assert losses is not None
    assert losses[-1] < 0.8 * losses[0]
    assert hits() > before + 0.1
    # PyKEEN calls what our own loop does by itself: rows stay within the ball
    assert parts(model).vectors.own.norm(dim=1).max() <= config.max_norm + 1e-5


def test_the_program_of_the_docs_runs(capsys: pytest.CaptureFixture[str]):
    page = (Path(__file__).parents[2] / "docs" / "link-prediction.md").read_text()
    [program] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    torch.manual_seed(0)
    exec(compile(program, "docs/link-prediction.md", "exec"), {})
    # Of 14 countries, chance has 3 of 14 among the first three.
    assert float(capsys.readouterr().out.splitlines()[-1]) > 3 / 14 + 0.1
