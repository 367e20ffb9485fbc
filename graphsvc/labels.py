"""Which exposure was followed by what: the labels, in one pass through time.

Takes acts (exposures, outcomes, negatives) in blocks that go forward in time, gives them labelled
and in an order of their own; never holds more than three windows of time and twice a block. Pure
arithmetic: what arrived first does not show.
"""

import numpy as np
from numpy.typing import NDArray

EXPOSURE, OUTCOME, NEGATIVE = 0, 1, 2
#: What cannot be known yet, or has no label.
UNKNOWN = -1

#: One act: when, who, what, which kind; of an exposure its place and how likely it was logged.
ACT = np.dtype(
    [
        ("time", np.int64),
        ("head", np.int32),
        ("tail", np.int32),
        ("event", np.int8),
        ("position", np.int32),
        ("sampling_rate", np.float32),
        ("label", np.int8),
    ]
)
#: Later than any event.
END = 2**62

Acts = NDArray[np.void]


def acts(
    event: int,
    ends: tuple[NDArray[np.int32], NDArray[np.int32]],
    time: NDArray[np.int64],
    *,
    position: NDArray[np.int32] | int = -1,
    sampling_rate: NDArray[np.float32] | float = 1.0,
) -> Acts:
    """Columns as acts without labels."""
    rows = np.empty(len(time), dtype=ACT)
    rows["time"], rows["event"], rows["label"] = time, event, UNKNOWN
    rows["head"], rows["tail"] = ends
    rows["position"], rows["sampling_rate"] = position, sampling_rate
    return rows


class Labeler:
    """Labels of acts that come in the order of time.

    An exposure at t is 0 if a negative of the same pair lies in [t, t + window], else 1 if an
    outcome does, else 0; it is unknown if the window was not over at `observed`, whatever came
    meanwhile: to keep only the quick outcomes would teach that the new is good. A negative that no
    exposure of the window before it explains is a row of its own, labelled 0; others are left out.
    `either_way`: the pairs (a, b) and (b, a) are one.
    """

    def __init__(self, *, window: int, observed: int, either_way: bool = False) -> None:
        self.window = window
        self.observed = observed
        self.either_way = either_way
        self._held = np.empty(0, dtype=ACT)
        self._waiting: list[Acts] = []
        self._waiting_rows = 0
        self._given = -1  # acts before this second have been given

    def add(self, rows: Acts, before: int) -> Acts:
        """Take acts; `before`: all acts of earlier seconds have been taken now.

        Gives the acts that are labelled for good, sorted by time, head, tail, kind and the rest.
        """
        self._waiting.append(rows)
        self._waiting_rows += len(rows)
        # As many as are held already: each act is then sorted only a few times in all.
        if self._waiting_rows < len(self._held) and before < END:
            return np.empty(0, dtype=ACT)
        held = np.concatenate([self._held, *self._waiting])
        self._waiting, self._waiting_rows = [], 0
        ready = END if before >= END else before - self.window
        found = self._labelled(held, ready)
        self._given = max(self._given, ready)
        # A negative looks back one window.
        self._held = held[held["time"] >= self._given - self.window]
        return found

    def _labelled(self, held: Acts, ready: int) -> Acts:
        chosen = (held["time"] >= self._given) & (held["time"] < ready)
        if not chosen.any():
            return np.empty(0, dtype=ACT)
        code, first, window = self._codes(held)
        kind = held["event"]
        sorted_codes = [np.sort(code[kind == n]) for n in (EXPOSURE, OUTCOME, NEGATIVE)]
        rows, code, first = held[chosen], code[chosen], first[chosen]
        kind = rows["event"]
        won = _any_between(sorted_codes[OUTCOME], code, code + window)
        refused = _any_between(sorted_codes[NEGATIVE], code, code + window)
        explained = _any_between(sorted_codes[EXPOSURE], np.maximum(code - window, first), code)
        young = rows["time"] > self.observed - self.window
        label = np.where(young, UNKNOWN, won & ~refused)
        label = np.where(kind == OUTCOME, UNKNOWN, np.where(kind == NEGATIVE, 0, label))
        rows["label"] = label
        rows = rows[(kind != NEGATIVE) | ~explained]
        order = ("sampling_rate", "position", "event", "tail", "head", "time")
        return rows[np.lexsort(tuple(rows[name] for name in order))]

    def _codes(self, held: Acts) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """(pair, time) as one number that sorts like the two; its pair's first; the window."""
        head, tail = held["head"].astype(np.int64), held["tail"].astype(np.int64)
        if self.either_way:
            head, tail = np.minimum(head, tail), np.maximum(head, tail)
        _, pair = np.unique((head << 32) | tail, return_inverse=True)
        start = int(held["time"].min())
        span = int(held["time"].max()) - start
        window = min(self.window, span)
        first = pair.astype(np.int64) * (span + window + 1)
        return first + (held["time"] - start), first, window


def _any_between(
    codes: NDArray[np.int64], low: NDArray[np.int64], high: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether some code lies in [low, high]."""
    return np.searchsorted(codes, low, side="left") < np.searchsorted(codes, high, side="right")
