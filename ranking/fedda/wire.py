"""A round as arrays: what goes to a client, what it answers, what the server makes of answers.

Takes states and answers, gives arrays and states; never opens a connection, so that any transport
carries the same rounds. A server that is killed goes on from its file and loses one round at most.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ranking.errors import CohortMismatch, ConfigError
from ranking.fedda.client import Message, Sent, local_steps
from ranking.fedda.cohort import Cohort
from ranking.fedda.config import MethodConfig, RoundsConfig
from ranking.fedda.flow import FLOWS, NOTHING
from ranking.fedda.rounds import END, LOCAL
from ranking.fedda.server import State, advance, central_step, scale, sum_up

_ABOUT = "federated"


class Answer(NamedTuple):
    """What one client answered: its rows, its steps, and S, with a where its method needs it.

    `places`: which shared numbers they are of, where the client does not hold all of them.
    """

    rows: int
    steps: int
    arrays: Mapping[str, NDArray[np.floating]]
    places: NDArray[np.int64] | None = None

    @property
    def finite(self) -> bool:
        """Whether all of it is numbers."""
        return all(bool(np.isfinite(values).all()) for values in self.arrays.values())


def sent_arrays(state: State, config: MethodConfig, phase: str) -> dict[str, NDArray[np.floating]]:
    """W; M where the reading inherits it, D where steps are scaled; in the end phase W alone."""
    _only_fedda(config)
    found = {"W": state.weights}
    if phase == LOCAL and FLOWS[config.reading].inherits != NOTHING:
        found["M"] = state.momentum
    if phase == LOCAL and config.adaptive:
        found["D"] = scale(state.square, config)
    return {name: values.numpy() for name, values in found.items()}


def answer(
    arrays: Mapping[str, NDArray[np.floating]], cohort: Cohort, config: MethodConfig, phase: str
) -> Answer:
    """A client's part of a round; `cohort` is that client alone, `arrays` what was sent to it."""
    _only_fedda(config)
    if len(cohort.numbers) != 1:
        raise CohortMismatch(f"a client should answer alone, received {len(cohort.numbers)}")
    weights = torch.from_numpy(np.array(arrays["W"]))[None]
    rows, steps = int(cohort.rows[0]), int(cohort.steps[0])
    if phase == END:
        return Answer(rows, 1, {"S": cohort.whole(weights)[0].numpy()})
    momentum, by = (
        torch.from_numpy(np.array(arrays[name]))[None] if name in arrays else None
        for name in ("M", "D")
    )
    sent = Sent(
        weights,
        torch.zeros_like(weights) if momentum is None else momentum,
        torch.ones_like(weights) if by is None else by,
    )
    message = local_steps(sent, cohort, config)
    parts = {"S": message.total, "a": message.last}
    told = {name: parts[name][0].numpy() for name in told_names(config, phase)}
    return Answer(rows, steps, told)


def told_names(config: MethodConfig, phase: str) -> tuple[str, ...]:
    """The arrays of an answer: S, and a where the server cannot do without."""
    flow = FLOWS[config.reading]
    both = flow.remembers and (flow.inherits != NOTHING or config.adaptive)
    return ("S", "a") if both and phase == LOCAL else ("S",)


def as_update(
    sent: Mapping[str, NDArray[np.floating]], told: Mapping[str, NDArray[np.floating]]
) -> dict[str, NDArray[np.floating]]:
    """An answer as what was sent and has moved by it: W by S, and by a whatever is sent beside W.

    So mods that bound how far weights move, or shake them, bound and shake the whole answer. What
    is lost in the last digits is little beside what they do.
    """
    rides = dict(zip(("S", "a"), sent, strict=False))
    moved = {rides[name]: sent[rides[name]] + value for name, value in told.items()}
    return {name: moved.get(name, values) for name, values in sent.items()}


def from_update(
    sent: Mapping[str, NDArray[np.floating]],
    came: Mapping[str, NDArray[np.floating]],
    names: tuple[str, ...],
) -> dict[str, NDArray[np.floating]]:
    """The answer that `as_update` made an update of; `names` are those of its arrays."""
    return {name: came[own] - sent[own] for name, own in zip(names, sent, strict=False)}


def after(
    state: State,
    answers: Sequence[Answer],
    config: MethodConfig,
    phase: str,
    *,
    end_rate: float = 1.0,
) -> State:
    """The state behind a round: of those whose answers came, each by its rows."""
    _only_fedda(config)
    message, cohort = _gathered(answers, state.weights)
    size = len(state.weights)
    if phase == END:
        gradient = cohort.summed(message.total, cohort.shares(state.weights), size)
        return central_step(state, gradient, config, end_rate=end_rate)
    return advance(state, sum_up(message, cohort, config, size=size), config)


def _gathered(answers: Sequence[Answer], like: Tensor) -> tuple[Message, Cohort]:
    """Answers of any lengths as one message; what fills up belongs nowhere and is 0."""
    if not answers:
        raise CohortMismatch("a round should have at least one answer, received none")
    size = len(like)
    width = max(len(one.arrays["S"]) for one in answers)
    totals, lasts = (like.new_zeros(len(answers), width) for _ in range(2))
    places = torch.full((len(answers), width), size, dtype=torch.int64)
    for number, one in enumerate(answers):
        length = len(one.arrays["S"])
        if one.places is None and length != size:
            raise CohortMismatch(
                f"an answer without places should be of {size} numbers, received {length}"
            )
        totals[number, :length] = torch.from_numpy(np.array(one.arrays["S"]))
        if "a" in one.arrays:
            lasts[number, :length] = torch.from_numpy(np.array(one.arrays["a"]))
        places[number, :length] = torch.from_numpy(
            np.arange(size) if one.places is None else np.array(one.places)
        )
    rows = torch.tensor([one.rows for one in answers])
    cohort = Cohort(
        numbers=torch.arange(len(answers)),
        rows=rows,
        steps=torch.tensor([one.steps for one in answers]),
        batch=rows,
        all_rows=int(rows.sum()),
        gradients=_unasked,
        whole=_unasked,
        places=places,
    )
    return Message(lasts, totals), cohort


def _unasked(*_: object) -> NoReturn:
    raise CohortMismatch("a server should ask no gradients of clients whose answers have come")


def _only_fedda(config: MethodConfig) -> None:
    if config.method != "fedda":
        raise ConfigError(f"method should be fedda over a transport, received {config.method!r}")


def phase_of(number: int, rounds: RoundsConfig) -> str:
    """Of the round of this number, counted from 1, where the end phase is the last rounds."""
    return END if number > rounds.rounds - rounds.end_rounds else LOCAL


def save_state(
    file: Path, state: State, number: int, dials: tuple[MethodConfig, RoundsConfig]
) -> None:
    """Write the state behind a round; a file that is there is replaced once this one is whole."""
    half = file.with_suffix(".half")
    file.parent.mkdir(parents=True, exist_ok=True)
    told = {"number": number, "dials": [asdict(one) for one in dials]}
    tensors = {name: value.contiguous() for name, value in state._asdict().items()}
    save_file(tensors, half, metadata={_ABOUT: json.dumps(told)})
    with half.open("rb") as written:
        os.fsync(written.fileno())
    half.replace(file)


def open_state(file: Path, dials: tuple[MethodConfig, RoundsConfig]) -> tuple[State, int] | None:
    """State and number of the last round that is whole; None before the first one.

    Raises `ConfigError` for a file that other dials wrote.
    """
    if not file.exists():
        return None
    with safe_open(file, framework="pt") as opened:
        told = json.loads((opened.metadata() or {}).get(_ABOUT, "{}"))
        tensors = {name: opened.get_tensor(name) for name in State._fields}
    if told.get("dials") != [asdict(one) for one in dials]:
        raise ConfigError(
            f"the state in {file.name} should be of the same dials, received those of another "
            f"training; delete it to begin anew"
        )
    return State(**tensors), int(told["number"])
