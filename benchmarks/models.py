"""The models that link prediction compares, by name.

Takes a name, gives a way to train; never measures anything.
"""

from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial

from kge.arms import SWITCHES, arm_dials
from kge.dials import Dials
from kge.errors import UnknownModel
from kge.evaluate import scorer_of
from kge.memory import Room
from kge.progress import Progress, Share
from kge.rivals.registry import RIVALS, Train
from kge.scorer import Scorer
from kge.train import begin_graph
from kge.triples import Graph

#: TransRA as it comes, and its arms: which of its two anchor mechanisms is on.
ARMS = ("transra", *SWITCHES)


def transra_dials(name: str, seed: int) -> Dials:
    """The dials that an arm sets.

    `frame` holds vectors near those of a previous bundle. A training from nothing has none, so
    here `frame` trains as `transr` does, and `both` as `compose`.
    """
    dials = Dials(seed=seed)
    return arm_dials(name, dials) if name in SWITCHES else dials


def _train_arm(name: str) -> Train:
    def train(
        graph: Graph, *, seed: int = 0, share: Share | None = None, room: Room | None = None
    ) -> Generator[Progress, None, Scorer]:
        training = begin_graph(graph, transra_dials(name, seed), room=room)

        def so_far() -> Scorer:
            return scorer_of(training.trained().arrays())

        for told in training.steps(share):
            yield replace(told, so_far=so_far)
        return so_far()

    return train


MODELS: dict[str, Train] = {name: _train_arm(name) for name in ARMS} | RIVALS


def model(name: str, room: Room | None = None) -> Callable[..., Generator[Progress, None, Scorer]]:
    """How a model is trained; only TransRA's arms can keep to a room. Raises `UnknownModel`."""
    if name not in MODELS:
        raise UnknownModel(f"model should be one of {', '.join(MODELS)}, received {name!r}")
    return partial(MODELS[name], room=room) if name in ARMS and room else MODELS[name]
