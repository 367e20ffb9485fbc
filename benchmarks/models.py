"""The models that link prediction compares, by name.

Takes a name, gives a way to train; never measures anything.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ablation import ARMS, parted

from graphsvc.artifact import ArtifactStore
from kge.arms import BEFORE, SWITCHES, arm_dials
from kge.bundle import Bundle, seal_bundle
from kge.config import TransRAConfig
from kge.dials import Dials, set_ones
from kge.errors import ConfigError, MemoryBudget, UnknownModel
from kge.evaluate import scorer_of
from kge.memory import Room
from kge.policy import choose
from kge.progress import Progress, Share
from kge.rivals.registry import RIVALS, Train
from kge.rivals.sage_layers import BACKENDS
from kge.scorer import Scorer
from kge.train import Training, begin_graph, fitted
from kge.triples import Graph

#: The parent of a bundle that comes from no snapshot.
_NO_SNAPSHOT = "0" * 64


def transra_dials(name: str, seed: int, own: Mapping[str, Any] | None = None) -> Dials:
    """The dials that an arm sets, and `own` on top of them."""
    dials = Dials(seed=seed)
    dials = arm_dials(name, dials) if name in SWITCHES else dials
    return replace(dials, **(own or {}))


def _train_arm(name: str, own: Mapping[str, Any]) -> Train:
    def train(
        graph: Graph,
        *,
        seed: int = 0,
        share: Share | None = None,
        room: Room | None = None,
        seconds: float | None = None,
    ) -> Generator[Progress, None, Scorer]:
        dials = transra_dials(name, seed, own)
        begin = partial(_begin, own, graph, dials, room)
        first = _first_part(name, dials)
        before = begin(None if seconds is None else first * seconds, None)
        if name not in BEFORE:
            return (yield from _steps(before, share))
        # A frame holds what a bundle before had: the arm's last part is a refresh of its first.
        yield from _steps(before, _part(share, 0.0, first))
        taken = before.step
        with TemporaryDirectory(prefix="arm-") as folder:
            trained = before.trained()
            bundle = seal_bundle(
                ArtifactStore(Path(folder)),
                _NO_SNAPSHOT,
                trained.arrays(),
                # Of the members that have learned: by these a refresh keeps the form.
                dials=asdict(trained.config),
                metrics={},
            )
            refresh = begin(None, bundle)
            return (yield from _steps(refresh, _part(share, first, 1.0), taken))

    return train


def _first_part(name: str, dials: Dials) -> float:
    """The share of the clock that trains from nothing: all of it where no refresh comes after."""
    if name not in BEFORE:
        return 1.0
    refresh: float = set_ones(dials).get("refresh_share", TransRAConfig().refresh_share)
    return 1.0 / (1.0 + refresh)


def _begin(
    own: Mapping[str, Any],
    graph: Graph,
    dials: Dials,
    room: Room | None,
    seconds: float | None,
    previous: Bundle | None,
) -> Training:
    """A training by the dials that its name says, and by no others."""
    training = begin_graph(graph, dials, previous=previous, room=room, seconds=seconds)
    for dial, value in own.items():
        found = getattr(training.config, dial)
        if found != value:
            reason = training.reasons.get(dial, "")
            raise MemoryBudget(f"{dial} should stay {value}, received {found}: {reason}")
    return training


def _steps(
    training: Training, share: Share | None, taken: int = 0
) -> Generator[Progress, None, Scorer]:
    """All steps; `taken` were there before."""

    def so_far() -> Scorer:
        return scorer_of(training.trained().arrays())

    for told in training.steps(share):
        so_far_or_none = so_far if _whole(training) else None
        yield replace(told, step=taken + told.step, so_far=so_far_or_none)
    return so_far()


def _whole(training: Training) -> bool:
    """Whether what is learned so far can be looked at.

    A refresh tells its frame by the coordinates of all members, so all of them have to be done.
    """
    learned = training.trained().config
    return training.previous is None or learned.members == training.config.members


def _part(share: Share | None, begin: float, end: float) -> Share | None:
    """How much of one part of a training is done, where it goes from `begin` to `end`."""
    if share is None:
        return None
    return lambda step: min(1.0, (share(step) - begin) / (end - begin))


MODELS: dict[str, Train] = {name: _train_arm(name, {}) for name in ARMS} | RIVALS
#: What has to load before some can train, beside what the service itself needs.
_NEEDS: dict[str, Callable[[], object]] = {"graphsage-dgl": BACKENDS["dgl"]}


def model(
    name: str, room: Room | None = None, seconds: float | None = None
) -> Callable[..., Generator[Progress, None, Scorer]]:
    """How a model is trained, an arm maybe with dials in its name.

    Only TransRA's arms can keep to a room, and have dials that go by the seconds that there are.
    Raises `UnknownModel` and `ConfigError`.
    """
    base, own = parted(name)
    if base not in MODELS:
        raise UnknownModel(f"model should be one of {', '.join(MODELS)}, received {name!r}")
    train = _train_arm(base, own) if own else MODELS[base]
    return partial(train, room=room, seconds=seconds) if base in ARMS else train


def chosen(name: str, graph: Graph, seed: int, room: Room, seconds: float) -> dict[str, Any]:
    """The dials that an arm trains with, and why those are that nobody set; of rivals nothing."""
    base, own = parted(name)
    if base not in ARMS:
        return {}
    dials = transra_dials(base, seed, own)
    found = choose(graph, dials, seconds=_first_part(base, dials) * seconds)
    found = fitted(graph, found, room)
    return {"dials": asdict(found.config), "reasons": found.reasons}


def left_out() -> dict[str, str]:
    """The models that cannot be trained here, and why: a library of theirs does not load."""
    reasons = {}
    for name, needed in _NEEDS.items():
        try:
            needed()
        except ConfigError as error:
            reasons[name] = str(error)
    return reasons
