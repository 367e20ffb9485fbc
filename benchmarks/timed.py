"""One training under a clock that stands still while something else is measured.

Takes a way to train and minutes, gives what was learned and the curve of validation against
training time; never decides what is trained.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from grid import console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from kge.rivals.registry import Train
from kge.scorer import Scorer
from kge.triples import Graph

#: At which shares of a training validation is measured: of 10 minutes, at .25, .5, 1, 2, 3 and so
#: on, since curves are steep at their beginning.
SHARES = (0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0)
#: Seconds between two paintings of the bar.
_PAINT = 0.2


class Outcome(NamedTuple):
    """What a training gave."""

    scorer: Scorer
    steps: int
    #: training alone
    seconds: float
    #: loss of the last step
    loss: float
    #: training seconds and validation MRR, in order
    curve: list[dict[str, float]]


class Clock:
    """Seconds that a training has had; it runs only between `go` and `stop`."""

    def __init__(self, limit: float) -> None:
        self.limit, self._before, self._since = limit, 0.0, None

    _since: float | None

    @property
    def spent(self) -> float:
        return self._before + (time.perf_counter() - self._since if self._since else 0.0)

    def go(self) -> None:
        self._since = time.perf_counter()

    def stop(self) -> None:
        self._before, self._since = self.spent, None

    def share(self, _step: int) -> float:
        """The part of the training that is done, as trainings ask for it."""
        return min(1.0, self.spent / self.limit)


def run(
    train: Train,
    graph: Graph,
    *,
    label: str,
    seed: int,
    seconds: float,
    validate: Callable[[Scorer], float],
) -> Outcome:
    """Train for so many seconds; `validate` gives the MRR on the validation sample."""
    clock, curve = Clock(seconds), []
    moments = [seconds * share for share in SHARES]
    loop = train(graph, seed=seed, share=clock.share)
    steps, loss, painted, found = 0, float("nan"), 0.0, "-"
    with _bar() as bar:
        task = bar.add_task(label, total=seconds, rate="-", loss="-", mrr="-")
        while True:
            clock.go()
            try:
                told = next(loop)
            except StopIteration as done:
                clock.stop()
                scorer: Scorer = done.value
                break
            clock.stop()
            steps, loss = told.step, told.loss
            due = len(curve) < len(moments) and clock.spent >= moments[len(curve)]
            if told.so_far and due:
                curve.append({"seconds": clock.spent, "mrr": validate(told.so_far())})
                found = f"{curve[-1]['mrr']:.4f}"
            if time.perf_counter() - painted > _PAINT:
                painted = time.perf_counter()
                rate = f"{steps / clock.spent:,.1f}"
                shown = {"rate": rate, "loss": f"{loss:.4g}", "mrr": found}
                bar.update(task, completed=clock.spent, **shown)
    last = validate(scorer)
    # What was measured shortly before the end stands where the end should.
    if curve and curve[-1]["seconds"] > (seconds + moments[-2]) / 2:
        curve.pop()
    curve.append({"seconds": clock.spent, "mrr": last})
    return Outcome(scorer, steps, clock.spent, loss, curve)


def _bar() -> Progress:
    columns: list[Any] = [
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total:.0f} s"),
        TextColumn("{task.fields[rate]} steps/s"),
        TimeRemainingColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TextColumn("validation MRR {task.fields[mrr]}"),
    ]
    return Progress(*columns, console=console)
