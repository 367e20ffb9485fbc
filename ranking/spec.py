"""What the features have to know: vocabularies and scales, learned on TRAIN and on nothing else.

Takes the states of TRAIN rows, gives a `FeatureSpec` that goes to JSON and back; never sees a
later row.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int8
from numpy.typing import NDArray

from ranking.columns import Coded, coded
from ranking.config import FeatureConfig
from ranking.states import EntityStates, ExposureStates

#: The kinds of attributes that are read; text is not.
_KINDS = ("category", "list", "number")
_HOURS = 24


@dataclass(frozen=True, kw_only=True, slots=True)
class SideSpec:
    """What is known about heads, or about tails."""

    type: str
    #: category -> its values, sorted.
    categories: Mapping[str, tuple[str, ...]]
    #: list attribute -> its elements, sorted.
    lists: Mapping[str, tuple[str, ...]]
    #: number -> (mean, deviation).
    numbers: Mapping[str, tuple[float, float]]
    #: (mean, deviation) of the centered rate, log exposures and log outcomes.
    counters: tuple[tuple[float, float], ...]
    #: Pseudo exposures at the base rate.
    smoothing: float

    @property
    def attributes(self) -> tuple[str, ...]:
        return (*self.categories, *self.lists, *self.numbers)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExposureSpec:
    """What is read of an exposure. Each field has a code for unknown, then one for every value."""

    #: Places with a code of their own, the last shared by all behind it; 0: places are not read.
    places: int = 0
    #: Hours of the day; 0: they are not read.
    hours: int = 0
    #: The place that scores are for where no other is asked for.
    served: int = 0

    @property
    def sizes(self) -> tuple[int, ...]:
        """Codes of each field that is read: of the place, then of the hour."""
        return tuple(1 + values for values in (self.places, self.hours) if values)


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureSpec:
    """What is known about both and about exposures, and the share of outcomes in TRAIN."""

    head: SideSpec
    tail: SideSpec
    base_rate: float
    list_width: int
    #: Types that tails lead to by structure, of which TRAIN knows a vector.
    around: tuple[str, ...] = ()
    exposure: ExposureSpec = ExposureSpec()

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> "FeatureSpec":
        sides = {name: _side_of_json(value[name]) for name in ("head", "tail")}
        return cls(
            **sides,
            base_rate=value["base_rate"],
            list_width=value["list_width"],
            around=tuple(value.get("around", ())),  # rankers of format 1 know of none
            exposure=ExposureSpec(**value.get("exposure", {})),
        )

    @property
    def category_count(self) -> int:
        return len(self.head.categories) + len(self.tail.categories)

    @property
    def list_count(self) -> int:
        return len(self.head.lists) + len(self.tail.lists)

    @property
    def dense_count(self) -> int:
        """Per side three counters, and per number its value and a flag for missing."""
        return 6 + 2 * (len(self.head.numbers) + len(self.tail.numbers))


def _side_of_json(value: Mapping[str, Any]) -> SideSpec:
    return SideSpec(
        type=value["type"],
        categories={name: tuple(v) for name, v in value["categories"].items()},
        lists={name: tuple(v) for name, v in value["lists"].items()},
        numbers={name: (v[0], v[1]) for name, v in value["numbers"].items()},
        counters=tuple((v[0], v[1]) for v in value["counters"]),
        smoothing=value["smoothing"],
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class SideRows:
    """The TRAIN rows of one side: states, type, and the kinds of its attributes."""

    states: EntityStates
    type: str
    #: attribute -> category | list | number | text; text is not read.
    kinds: Mapping[str, str]


def learn_spec(
    heads: SideRows,
    tails: SideRows,
    labels: Int8[np.ndarray, "n"],
    config: FeatureConfig,
    *,
    exposures: ExposureStates | None = None,
) -> FeatureSpec:
    """Vocabularies and scales of TRAIN rows.

    base rate = (outcomes + 1) / (rows + 2), so that it is never 0 or 1. Without `exposures`, or
    where they name fewer than two places, places are not read.
    """
    base_rate = (int(labels.sum()) + 1) / (len(labels) + 2)
    return FeatureSpec(
        head=_learn_side(heads, base_rate, config.head_smoothing, config),
        tail=_learn_side(tails, base_rate, config.tail_smoothing, config),
        base_rate=base_rate,
        list_width=config.list_width,
        around=tuple(t for t, found in tails.states.around.items() if found.known.any()),
        exposure=_learn_exposure(exposures, config),
    )


def _learn_exposure(exposures: ExposureStates | None, config: FeatureConfig) -> ExposureSpec:
    if exposures is None:
        return ExposureSpec(served=config.served_place)
    named = np.unique(exposures.position[exposures.position >= 0])
    places = min(int(named[-1]) + 1, config.places) if config.position and len(named) > 1 else 0
    hours = _HOURS if config.hour else 0
    return ExposureSpec(places=places, hours=hours, served=config.served_place)


def _learn_side(
    rows: SideRows, base_rate: float, smoothing: float, config: FeatureConfig
) -> SideSpec:
    states = rows.states
    named = {kind: sorted(n for n, k in rows.kinds.items() if k == kind) for kind in _KINDS}
    attributes = {name: coded(states.attributes.get(name, ())) for name in rows.kinds}
    counters = (
        centered_rate(states, smoothing, base_rate),
        np.log1p(states.exposures),
        np.log1p(states.outcomes),
    )
    return SideSpec(
        type=rows.type,
        categories={
            name: _vocabulary(attributes[name], config.min_rows, lambda value: (value,))
            for name in named["category"]
        },
        lists={
            name: _vocabulary(
                attributes[name],
                config.min_rows,
                lambda v: v[: config.list_width] if isinstance(v, list | tuple) else (),
            )
            for name in named["list"]
        },
        numbers={name: _scale(_numbers(attributes[name])) for name in named["number"]},
        counters=tuple(_scale(column) for column in counters),
        smoothing=smoothing,
    )


def _vocabulary(
    column: Coded, min_rows: int, elements_of: Callable[[Any], Sequence[Any]]
) -> tuple[str, ...]:
    """Elements that enough rows have, sorted; a row has an element once."""
    counts: dict[str, int] = {}
    rows = np.bincount(column.codes, minlength=len(column.values)).tolist()
    for value, count in zip(column.values, rows, strict=True):
        for key in {text_of(element) for element in elements_of(value) if element is not None}:
            counts[key] = counts.get(key, 0) + count
    return tuple(sorted(key for key, n in counts.items() if n >= min_rows))


def _numbers(column: Coded) -> NDArray[np.float64]:
    return np.array([as_number(value) for value in column.values], dtype=np.float64)[column.codes]


def _scale(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and deviation of the finite values; (0, 1) without any, deviation 1 for a constant."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return (0.0, 1.0)
    deviation = float(finite.std())
    return (float(finite.mean()), deviation if math.isfinite(deviation) and deviation > 0 else 1.0)


def text_of(value: Any) -> str:
    """The vocabulary's key of a JSON value: itself for text, else its canonical JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def centered_rate(
    states: EntityStates, smoothing: float, base_rate: float
) -> Float64[np.ndarray, "n"]:
    """How much likelier than usual an outcome was for an entity so far, as a difference of logits.

    logit((outcomes + s p) / (exposures + s)) - logit(p),   p = base rate, s = smoothing

    Our design. Zero for an entity without exposures. An outcome may come without its exposure
    (offsite), so outcomes above exposures count as that many exposures.
    """
    exposures = np.maximum(states.exposures, states.outcomes)
    rate = (states.outcomes + smoothing * base_rate) / (exposures + smoothing)
    return np.log(rate / (1 - rate)) - math.log(base_rate / (1 - base_rate))


def as_number(value: Any) -> float:
    """A finite JSON number as float, NaN for everything else (true is no number)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        number = float(value)
    except OverflowError:
        return math.nan
    return number if math.isfinite(number) else math.nan
