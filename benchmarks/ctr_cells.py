"""The cells of `benchmarks/ctr_flops.py`: trials, the screen, runs, latency; one training each.

Takes options and clicks, gives what each cell says and keeps the draws of users beside it; never
draws a page. A run has the dials of its arm's best trial, so it needs all of them: where one is
missing, it raises `NotYet`, and has its turn again.
"""

import json
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import ctr_model
import ctr_spans
import ctr_trials
import grid
import numpy as np
import torch
from ctr_data import Clicks
from ctr_judge import MOST_ROWS, RESAMPLES, Draws, drawn, draws, judged
from ctr_model import CtrDials, Trained
from ctr_why import VARIANTS, varied
from numpy.typing import NDArray

from ranking.config import CROSSINGS, CrossingConfig
from ranking.interactions.budget import dense_cost
from ranking.metrics import auc, log_loss
from ranking.reliability import HISTORY

#: All families at 1x, on VALID.
SCREENED = CROSSINGS
#: The better MaskNet of the screen, by mean AUC on VALID.
MASK_NETS = ("mask_net_serial", "mask_net_parallel")
BETTER = "mask_net"
OURS = "ml_dcn"
RIVALS = ("dcn_v2", BETTER, "wukong", "rank_mixer")
#: What tells whether a win is the mask's.
CONTROLS = ("ml_dcn-second_block", "ml_dcn-constant")
RUN = (OURS, *RIVALS, *CONTROLS)
#: Whole matrices are compared from this budget on, where low-rank ones come near them: a rank ends
#: at D, and such a layer costs twice a whole one.
WHOLE, WHOLE_FROM = "dcn_v2_full", 4
SCREEN_SEEDS = 3
LATENCIES = (1, 512)


class NotYet(Exception):
    """A cell needs others that have not been measured."""


class Bench:
    """What the cells share: clicks, made ready when the first cell asks for them."""

    def __init__(self, options: Namespace, key: str, load: Callable[[], Clicks]) -> None:
        self.options, self.key, self._load = options, key, load
        self._clicks: Clicks | None = None

    @property
    def clicks(self) -> Clicks:
        if self._clicks is None:
            torch.set_num_threads(self.options.threads)
            self._clicks = self._load()
        return self._clicks

    @property
    def base(self) -> CtrDials:
        """The dials that every trial begins with."""
        options = self.options
        return CtrDials(
            embedding=options.embedding,
            hidden=options.hidden,
            batch=options.batch,
            epochs=options.epochs,
            patience=options.patience,
            looks=options.looks,
        )

    @property
    def shared(self) -> list[Any]:
        """What every cell depends on: the data, and what all networks have alike."""
        base = asdict(self.base)
        del base["crossing"]  # every arm has its own
        del base["precision"]  # another one is a change of `--why`, whose names say so
        return [self.key, base, self.options.threads]

    def name(self, what: str, arm: str, times: float, number: int) -> str:
        """A cell's name; under other data or dials, or other ways to draw trials, it is another."""
        drawn = (ctr_trials.LEARNING_RATES, ctr_trials.DECAYS, ctr_trials.DROPOUTS)
        kinds = MASK_NETS if arm == BETTER else (ctr_trials.ARMS[arm]["kind"],)
        own = [(ctr_trials.ARMS.get(arm), ctr_trials.SHAPES[kind]) for kind in kinds]
        parts = [*self.shared, drawn, own]
        # What was chosen follows from how many trials there were.
        parts.append(0 if what == "trial" else self.options.trials)
        if what == "run":
            parts.append([RESAMPLES, MOST_ROWS])
        return grid.named(f"{what}-{arm}-{times:g}x-{number}", *parts)

    def told(self, name: str) -> Mapping[str, Any] | None:
        """What a cell said; None where it has not been measured."""
        file: Path = self.options.out / "cells" / f"{name}.json"
        return json.loads(file.read_text()) if file.exists() else None

    def need(self, names: Sequence[str]) -> list[Mapping[str, Any]]:
        """What all of them said. Raises `NotYet`."""
        found = [self.told(name) for name in names]
        missing = [name for name, told in zip(names, found, strict=True) if told is None]
        if missing:
            raise NotYet(f"cells {', '.join(missing)} should be measured first")
        return [told for told in found if told is not None]

    def resolved(self, arm: str) -> str:
        """The arm, or of the MaskNets the better one. Raises `NotYet`."""
        if arm != BETTER:
            return arm
        means = {}
        for one in MASK_NETS:
            seeds = range(1, SCREEN_SEEDS + 1)
            told = self.need([self.name("screen", one, 1, seed) for seed in seeds])
            means[one] = float(np.mean([cell["valid_auc"] for cell in told]))
        return max(means, key=lambda one: means[one])

    def trials(self, arm: str, times: float) -> list[str]:
        """The cells of an arm's trials; at 1x those that the screen has made already."""
        if times == 1 and arm == BETTER:
            arm = self.resolved(arm)
        return [self.name("trial", arm, times, n) for n in range(self.options.trials)]

    def chosen(self, arm: str, times: float) -> Mapping[str, Any]:
        """The trial with the best AUC on VALID, of equal ones the first. Raises `NotYet`."""
        return max(self.need(self.trials(arm, times)), key=lambda told: told["valid_auc"])


def cells(bench: Bench) -> dict[str, grid.Measure]:
    """Trials, the screen, runs and latency by name, in an order in which none has to wait."""
    options = bench.options
    trials, seeds = range(options.trials), range(1, options.seeds + 1)
    made: dict[str, grid.Measure] = {}
    for arm in SCREENED:
        made |= _several(bench, "trial", (arm, 1), trials, _trial)
        made |= _several(bench, "screen", (arm, 1), range(1, SCREEN_SEEDS + 1), _screen)
    for times in options.times:
        for arm in (*RUN, *([WHOLE] if times >= WHOLE_FROM else [])):
            if times != 1 or arm in CONTROLS:
                made |= _several(bench, "trial", (arm, times), trials, _trial)
            made |= _several(bench, "run", (arm, times), seeds, _run)
            made |= _several(bench, "latency", (arm, times), [0], _latency)
    return made


def why_cells(bench: Bench) -> dict[str, grid.Measure]:
    """ML-DCN's trials at one budget, and its runs with one thing changed."""
    options, times = bench.options, bench.options.why_times
    made = _several(bench, "trial", (OURS, times), range(options.trials), _trial)
    for variant, changes in VARIANTS.items():
        told = [list(change) for change in changes]
        for seed in range(1, options.seeds + 1):
            name = grid.named(f"why-{variant}-{seed}", bench.name("why", OURS, times, seed), told)
            made[name] = partial(_why, bench, variant, seed)
    return made


def _several(
    bench: Bench,
    what: str,
    whose: tuple[str, float],
    numbers: Sequence[int],
    measure: Callable[[Bench, str, float, int], Mapping[str, Any]],
) -> dict[str, grid.Measure]:
    return {
        bench.name(what, *whose, number): partial(measure, bench, *whose, number)
        for number in numbers
    }


def _trial(bench: Bench, arm: str, times: float, number: int) -> Mapping[str, Any]:
    one, fields = bench.resolved(arm), len(bench.clicks.sizes)
    drawn = ctr_trials.trial(one, number, fields, times, bench.base)
    trained = ctr_model.train(bench.clicks, drawn.dials, seed=0)
    return {
        "arm": arm,
        "kind": one,
        "times": times,
        "number": number,
        "reached": drawn.reached,
        "dials": asdict(drawn.dials),
        **_valid(trained),
    }


def _screen(bench: Bench, arm: str, times: float, seed: int) -> Mapping[str, Any]:
    """VALID only: TEST is not looked at before the families are chosen."""
    chosen = bench.chosen(arm, times)
    trained = ctr_model.train(bench.clicks, dials_of(chosen["dials"]), seed)
    return {**_about(bench, arm, times, chosen), "seed": seed, **_valid(trained)}


def _run(bench: Bench, arm: str, times: float, seed: int) -> Mapping[str, Any]:
    chosen, clicks = bench.chosen(arm, times), bench.clicks
    trained = ctr_model.train(clicks, dials_of(chosen["dials"]), seed)
    rows = clicks.rows(ctr_spans.TEST)
    scores = ctr_model.probabilities(trained.model, clicks, rows)
    label = np.asarray(clicks.label[rows])
    places, chosen_rows = judged(label, clicks.cluster[rows])
    made = drawn(chosen_rows, scores[places], draws(chosen_rows))
    keep(bench.options.out, bench.name("run", arm, times, seed), made)
    return {
        **_about(bench, arm, times, chosen),
        "seed": seed,
        **_valid(trained),
        "auc": auc(scores, label),
        "logloss": log_loss(scores, label),
        "auc_by_history": _by_history(clicks, scores),
    }


def _by_history(clicks: Clicks, scores: NDArray[np.float64]) -> dict[str, float]:
    """AUC on TEST of those without a known one before the row, with few, and with more."""
    if clicks.clustered_by != "users":
        return {}
    rows = clicks.rows(ctr_spans.TEST)
    past, label = clicks.history[rows], np.asarray(clicks.label[rows])
    found = {}
    for name, least, most in HISTORY:
        part = (past >= least) & (past <= most)
        if len(np.unique(label[part])) == 2:
            found[name] = auc(scores[part], label[part])
    return found


def _latency(bench: Bench, arm: str, times: float, _number: int) -> Mapping[str, Any]:
    """Of a network that nobody trained: its numbers do not change how long it takes."""
    chosen = bench.chosen(arm, times)
    model = ctr_model.CtrModel(list(bench.clicks.sizes.values()), dials_of(chosen["dials"]))
    took = {f"batch_{size}_ms": ctr_model.latency(model, bench.clicks, size) for size in LATENCIES}
    return {**_about(bench, arm, times, chosen), **took}


def _why(bench: Bench, variant: str, seed: int) -> Mapping[str, Any]:
    times = bench.options.why_times
    chosen = bench.chosen(OURS, times)
    fields = len(bench.clicks.sizes)
    flops = ctr_trials.budget(fields, times, bench.base)
    dials = varied(variant, dials_of(chosen["dials"]), fields, flops)
    trained = ctr_model.train(bench.clicks, dials, seed)
    about = {**chosen, "dials": asdict(dials)}
    return {
        **_about(bench, OURS, times, about),
        "variant": variant,
        "seed": seed,
        **_valid(trained),
    }


def _valid(trained: Trained) -> dict[str, Any]:
    return {
        "valid_auc": trained.valid_auc,
        "valid_logloss": trained.valid_logloss,
        "looks": trained.looks,
        "best": trained.best,
    }


def _about(bench: Bench, arm: str, times: float, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Which arm, and what it costs: from x_0 to the logit, without the embeddings."""
    dials = dials_of(chosen["dials"])
    fields = len(bench.clicks.sizes)
    cost = dense_cost(fields * dials.embedding, dials.crossing, dials.hidden)
    budget = ctr_trials.budget(fields, times, bench.base)
    return {
        "arm": arm,
        "kind": chosen["kind"],
        "times": times,
        "reached": cost.matrix / budget,
        "flops": cost.matrix,
        "other_flops": cost.other,
        "parameters": cost.parameters,
        "dials": chosen["dials"],
    }


def dials_of(told: Mapping[str, Any]) -> CtrDials:
    """The dials of a cell."""
    return CtrDials(**{**told, "crossing": CrossingConfig(**told["crossing"])})


def keep(out: Path, name: str, made: Draws) -> None:
    """Write a run's draws of users of TEST, beside its cell."""
    file = out / "cells" / f"{name}.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    # Seven digits are more than an interval needs.
    named: dict[str, Any] = {part: draw.astype(np.float32) for part, draw in made._asdict().items()}
    np.savez_compressed(file, **named)


def kept(out: Path, name: str) -> Draws | None:
    """What `keep` wrote; None where there is nothing."""
    file = out / "cells" / f"{name}.npz"
    if not file.exists():
        return None
    with np.load(file, allow_pickle=False) as found:
        return Draws(*(found[part].astype(np.float64) for part in Draws._fields))
