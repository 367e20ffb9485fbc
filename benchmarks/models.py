"""The models that link prediction compares, by name.

Takes a name, gives a way to train; never measures anything.
"""

from collections.abc import Callable, Generator
from dataclasses import replace

from kge.config import TransRAConfig
from kge.errors import UnknownModel
from kge.evaluate import scorer_of
from kge.progress import Progress, Share
from kge.rivals.registry import RIVALS, Train
from kge.scorer import Scorer
from kge.train import Training
from kge.triples import Graph

#: TransRA's arms: which of its two anchor mechanisms is on.
ARMS = ("transra", "transr", "compose", "frame", "both")


def transra_config(name: str, seed: int) -> TransRAConfig:
    """The dials of an arm.

    `frame` holds vectors near those of a previous bundle. A training from nothing has none, so
    here `frame` trains as `transr` does, and `both` (another name of `transra`) as `compose`.
    """
    if name in ("transr", "frame"):
        return TransRAConfig(gate_edges=0.0, prior_share=0.0, seed=seed)
    return TransRAConfig(seed=seed)


def _train_arm(name: str) -> Train:
    def train(
        graph: Graph, *, seed: int = 0, share: Share | None = None
    ) -> Generator[Progress, None, Scorer]:
        training = Training(graph, transra_config(name, seed))

        def so_far() -> Scorer:
            return scorer_of(training.trained().arrays())

        for told in training.steps(share):
            yield replace(told, so_far=so_far)
        return so_far()

    return train


MODELS: dict[str, Train] = {name: _train_arm(name) for name in ARMS} | RIVALS


def model(name: str) -> Callable[..., Generator[Progress, None, Scorer]]:
    """How a model is trained. Raises `UnknownModel`."""
    if name not in MODELS:
        raise UnknownModel(f"model should be one of {', '.join(MODELS)}, received {name!r}")
    return MODELS[name]
