"""Rows become numbers: one function for training and for serving.

Takes states of heads, tails and exposures, gives a `FeatureBatch`; never learns here what it
applies. What has to be learned (vocabularies, scales) is in the `FeatureSpec`, learned on TRAIN by
`spec.py`.

Codes of a category or list element: 0 missing, 1 unknown, 2.. the vocabulary; all fields share
one embedding table, each shifted to its own range. Row 0 of that table pads short lists.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor

from ranking.columns import Coded, coded, unset
from ranking.errors import StatesMismatch
from ranking.idtables.placement import Placement
from ranking.idtables.served import sent
from ranking.pretraining.reader import NO_TABLES, FacetReader
from ranking.spec import FeatureSpec, SideSpec, as_number, centered_rate, text_of
from ranking.states import EntityStates, ExposureStates, alike

_MISSING, _UNKNOWN, _FIRST = 0, 1, 2
#: Fills a list up to its width; not a value, so it is left out of the mean.
PADDING = 0
#: Numbers per side that come from counters: centered rate, log exposures, log outcomes.
COUNTERS = 3
_HOUR_SECONDS = 3600


class FeatureBatch(NamedTuple):
    """B rows as tensors.

    C categories, L lists of W elements, F dense numbers, d vector numbers, A types around tails,
    X facts of an exposure, P pretrained numbers of a side.
    """

    head_rows: Int64[Tensor, "B 2"]
    tail_rows: Int64[Tensor, "B 2"]
    categories: Int64[Tensor, "B C"]
    lists: Int64[Tensor, "B L W"]
    dense: Float32[Tensor, "B F"]
    #: Logits of the two smoothed rates minus the base rate's: the additive path.
    rates: Float32[Tensor, "B 2"]
    #: Zero where no vector is known.
    head_vector: Float32[Tensor, "B d"]
    tail_vector: Float32[Tensor, "B d"]
    known: Float32[Tensor, "B 2"]
    #: 0 where nothing may be used that was learned about this very id.
    named: Float32[Tensor, "B 2"]
    #: Mean vectors of what the tail leads to; zero where none is known.
    around: Float32[Tensor, "B A d"]
    around_known: Float32[Tensor, "B A"]
    #: Codes of the place and the hour, as far as they are read; they share a table of their own.
    exposures: Int64[Tensor, "B X"]
    #: Pretrained vectors of both, side by side; zero where none is known.
    facets: Float32[Tensor, "B 2 P"]

    def take(self, rows: Int64[Tensor, "m"]) -> "FeatureBatch":
        """Some rows, in that order."""
        return FeatureBatch(*(column.index_select(0, rows) for column in self))

    def on(self, device: torch.device) -> "FeatureBatch":
        """The same on a device, but for the numbers of ID rows: who has the rows looks them up."""
        if self.dense.device == device:
            return self
        moved = (sent(column, device) for column in self[2:])
        return FeatureBatch(self.head_rows, self.tail_rows, *moved)


class Side(NamedTuple):
    """n heads, or n tails, as numbers: each follows from its own state alone.

    Of heads `around` has no type.
    """

    rows: Int64[np.ndarray, "n 2"]
    categories: Int64[np.ndarray, "n c"]
    lists: Int64[np.ndarray, "n l w"]
    dense: Float32[np.ndarray, "n f"]
    rate: Float32[np.ndarray, "n"]
    vector: Float32[np.ndarray, "n d"]
    known: Float32[np.ndarray, "n"]
    named: Float32[np.ndarray, "n"]
    facets: Float32[np.ndarray, "n p"]
    around: Float32[np.ndarray, "n a d"]
    around_known: Float32[np.ndarray, "n a"]

    def take(self, rows: Int64[np.ndarray, "m"]) -> "Side":
        """Those at some rows, in that order."""
        return Side(*(np.take(column, rows, axis=0) for column in self))

    def joined(self, *more: "Side") -> "Side":
        """These, and more of the same side behind them."""
        return Side(*(np.concatenate(columns) for columns in zip(self, *more, strict=True)))

    def lying(self, vectors: Float32[np.ndarray, "n d"], known: Bool[np.ndarray, "n"]) -> "Side":
        """The same at other vectors, as far as these are known."""
        return self._replace(vector=_where_known(vectors, known), known=known.astype(np.float32))


class Encoder:
    """A feature spec made ready: dictionaries are built once, and a value is looked up once."""

    def __init__(
        self,
        spec: FeatureSpec,
        heads: Placement,
        tails: Placement,
        facets: FacetReader = NO_TABLES,
    ) -> None:
        self.spec = spec
        self.facets = facets
        self._placements = (heads, tails)
        self._codes: dict[tuple[int, str], tuple[int, dict[str, int]]] = {}
        #: Rows of the shared embedding table: padding; missing, unknown and values of every field.
        self.code_count = PADDING + 1
        for number, side in enumerate((spec.head, spec.tail)):
            for name, values in {**side.categories, **side.lists}.items():
                codes = {value: code for code, value in enumerate(values, _FIRST)}
                self._codes[number, name] = (self.code_count, codes)
                self.code_count += _FIRST + len(values)

    @property
    def blank_codes(self) -> list[int]:
        """Codes that TRAIN may never show: padding, and missing and unknown of every field."""
        shifts = [first for first, _ in self._codes.values()]
        return [PADDING, *(first + code for first in shifts for code in (_MISSING, _UNKNOWN))]

    @property
    def blank_exposure_codes(self) -> list[int]:
        """Codes of exposures that TRAIN may never show: the unknown of every field."""
        sizes = self.spec.exposure.sizes
        return [sum(sizes[:number]) for number in range(len(sizes))]

    def encode(
        self, heads: EntityStates, tails: EntityStates, exposures: ExposureStates | None = None
    ) -> FeatureBatch:
        """Features of n pairs; one head, and one exposure, stands beside all tails.

        Without exposures all tails stand in the served place, at no hour in particular. Raises
        `StatesMismatch` unless there are one or as many as tails of heads and of exposures.
        """
        if exposures is None:
            exposures = alike(1, position=self.spec.exposure.served)
        return self.together(self.side(0, heads), self.side(1, tails), exposures)

    def together(self, head: Side, tail: Side, exposures: ExposureStates) -> FeatureBatch:
        """Features of pairs of what `side` gave; of heads and exposures one, or as many as tails.

        Raises `StatesMismatch`.
        """
        count = len(tail.rows)
        for name, number in (("heads", len(head.rows)), ("exposures", len(exposures))):
            if number not in (1, count):
                raise StatesMismatch(
                    f"{name} should be 1 or {count} as the tails are, received {number}"
                )
        # Of one head its rows are not copied, so that tables see that it is one.
        head_rows = torch.from_numpy(head.rows).expand(count, -1)
        if len(head.rows) != count:
            head = head.take(np.zeros(count, dtype=np.int64))
        shown = self._exposures(exposures)
        if len(exposures) != count:
            shown = np.repeat(shown, count, axis=0)
        columns = (
            tail.rows,
            np.concatenate([head.categories, tail.categories], axis=1),
            np.concatenate([head.lists, tail.lists], axis=1),
            np.concatenate([head.dense, tail.dense], axis=1),
            np.stack([head.rate, tail.rate], axis=1),
            head.vector,
            tail.vector,
            np.stack([head.known, tail.known], axis=1),
            np.stack([head.named, tail.named], axis=1),
            tail.around,
            tail.around_known,
            shown,
            np.stack([head.facets, tail.facets], axis=1),
        )
        made = (torch.from_numpy(np.ascontiguousarray(column)) for column in columns)
        return FeatureBatch(head_rows, *made)

    def side(self, number: int, states: EntityStates) -> Side:
        """Heads (0) or tails (1) as numbers."""
        side = (self.spec.head, self.spec.tail)[number]
        count, width = len(states), self.spec.list_width
        given = states.attributes
        column = {
            name: coded(given[name]) if name in given else unset(count) for name in side.attributes
        }
        categories = [self._category(number, name, column[name]) for name in side.categories]
        lists = [self._list(number, name, column[name]) for name in side.lists]
        rate = centered_rate(states, side.smoothing, self.spec.base_rate)
        dense = [
            *(_number(column[name], scale) for name, scale in side.numbers.items()),
            _counters(states, side, rate),
        ]
        around, around_known = self._around(states, self.spec.around if number else ())
        return Side(
            rows=self._placements[number].rows(states.ids),
            categories=_stack(categories, (count, 0)),
            lists=_stack(lists, (count, 0, width)),
            dense=np.concatenate(dense, axis=1).astype(np.float32),
            rate=rate.astype(np.float32),
            vector=_where_known(states.vectors, states.known),
            known=states.known.astype(np.float32),
            named=_named(states),
            facets=self.facets.vectors(number, states.ids),
            around=around,
            around_known=around_known,
        )

    def _around(
        self, states: EntityStates, types: Sequence[str]
    ) -> tuple[Float32[np.ndarray, "n a d"], Float32[np.ndarray, "n a"]]:
        """Mean vectors by type, and which of them are known."""
        count = len(states)
        vectors = np.zeros((count, len(types), states.vectors.shape[1]), dtype=np.float32)
        known = np.zeros((count, len(types)), dtype=np.float32)
        for place, type_ in enumerate(types):
            if (found := states.around.get(type_)) is not None:
                vectors[:, place] = _where_known(found.vectors, found.known)
                known[:, place] = found.known
        return vectors, known

    def _exposures(self, exposures: ExposureStates) -> Int64[np.ndarray, "n x"]:
        spec = self.spec.exposure
        columns: list[Int64[np.ndarray, "n"]] = []
        if spec.places:
            place = np.minimum(exposures.position, spec.places - 1)
            columns.append(np.where(exposures.position >= 0, 1 + place, 0))
        if spec.hours:
            hour = exposures.time // _HOUR_SECONDS % spec.hours
            columns.append(np.where(exposures.time >= 0, 1 + hour, 0))
        shifted = [
            first + column for first, column in zip(self.blank_exposure_codes, columns, strict=True)
        ]
        return _stack(shifted, (len(exposures), 0))

    def _category(self, number: int, name: str, column: Coded) -> Int64[np.ndarray, "n"]:
        first, codes = self._codes[number, name]
        found = [first + _code(codes, value) for value in column.values]
        return np.array(found, dtype=np.int64)[column.codes]

    def _list(self, number: int, name: str, column: Coded) -> Int64[np.ndarray, "n w"]:
        first, codes = self._codes[number, name]
        width = self.spec.list_width
        padded = np.full((len(column.values), width), PADDING, dtype=np.int64)
        for place, value in enumerate(column.values):
            if isinstance(value, list | tuple):
                found = [first + _code(codes, element) for element in value[:width]]
                padded[place, : len(found)] = found
        return padded[column.codes]


def _where_known(
    vectors: Float32[np.ndarray, "n d"], known: Bool[np.ndarray, "n"]
) -> Float32[np.ndarray, "n d"]:
    """Vectors, zero where there is none."""
    return np.where(known[:, None], vectors, np.float32(0))


def _named(states: EntityStates) -> Float32[np.ndarray, "n"]:
    if states.nameless is None:
        return np.ones(len(states), dtype=np.float32)
    return (~states.nameless).astype(np.float32)


def _code(codes: Mapping[str, int], value: Any) -> int:
    if value is None:
        return _MISSING
    return codes.get(text_of(value), _UNKNOWN)


def _number(column: Coded, scale: tuple[float, float]) -> Float64[np.ndarray, "n 2"]:
    """(value - mean) / deviation and a flag for missing; what is no finite number is missing."""
    mean, deviation = scale
    numbers = np.array([as_number(value) for value in column.values], dtype=np.float64)
    missing = np.isnan(numbers)
    scaled = np.where(missing, 0.0, (numbers - mean) / deviation)
    # A typing error of a million years should not drown the other features.
    both = np.stack([np.clip(scaled, -5.0, 5.0), missing.astype(np.float64)], axis=1)
    return both[column.codes]


def _counters(
    states: EntityStates, side: SideSpec, rate: Float64[np.ndarray, "n"]
) -> Float64[np.ndarray, "n 3"]:
    columns = [rate, np.log1p(states.exposures), np.log1p(states.outcomes)]
    scaled = [
        (column - mean) / deviation
        for column, (mean, deviation) in zip(columns, side.counters, strict=True)
    ]
    return np.clip(np.stack(scaled, axis=1), -5.0, 5.0)


def _stack(columns: list[np.ndarray], empty: tuple[int, ...]) -> np.ndarray:
    return np.stack(columns, axis=1) if columns else np.zeros(empty, dtype=np.int64)
