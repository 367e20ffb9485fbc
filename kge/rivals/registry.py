"""The rivals by name, for those who choose one.

Takes a name, gives a way to train; never trains anything itself.
"""

from collections.abc import Callable, Generator
from functools import partial

from kge.errors import UnknownModel
from kge.progress import Progress
from kge.rivals.config import SageConfig, TwhinConfig
from kge.rivals.pykeen_loop import train_pykeen
from kge.rivals.pykeen_models import RECIPES
from kge.rivals.sage import train_sage
from kge.rivals.twhin import train_twhin
from kge.scorer import Scorer

#: `train(graph, seed=..., share=...)`: yields `Progress` after every batch, returns a scorer.
Train = Callable[..., Generator[Progress, None, Scorer]]

RIVALS: dict[str, Train] = {
    "transe": partial(train_pykeen, recipe=RECIPES["transe"]),
    "transr-pykeen": partial(train_pykeen, recipe=RECIPES["transr"]),
    "distmult": partial(train_pykeen, recipe=RECIPES["distmult"]),
    "complex": partial(train_pykeen, recipe=RECIPES["complex"]),
    "rotate": partial(train_pykeen, recipe=RECIPES["rotate"]),
    "twhin": partial(train_twhin, config=TwhinConfig()),
    "twhin-logistic": partial(train_twhin, config=TwhinConfig(loss="logistic")),
    "graphsage": partial(train_sage, config=SageConfig()),
    "graphsage-dgl": partial(train_sage, config=SageConfig(backend="dgl")),
}


def rival(name: str) -> Train:
    """How a rival is trained. Raises `UnknownModel`."""
    if name not in RIVALS:
        raise UnknownModel(f"model should be one of {', '.join(RIVALS)}, received {name!r}")
    return RIVALS[name]
