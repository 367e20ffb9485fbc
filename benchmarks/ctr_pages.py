"""What `benchmarks/ctr_flops.py` says: rows, tables and pictures.

Takes cells, gives rows and words; never measures anything.
"""

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ctr_leads
import ctr_peers
import ctr_trials
import numpy as np
from ctr_cells import LATENCIES, OURS, SCREENED, WHOLE, WHOLE_FROM, dials_of
from ctr_data import Clicks
from ctr_model import CtrDials
from ctr_pictures import by_change, by_flops
from ctr_spans import TEST
from ctr_why import AS_CHOSEN
from differences import interval
from pages import figure, table

from graphsvc.report import Row
from ranking.config import CROSSINGS
from ranking.metrics import auc

#: Formats that hold no times.
UNTIMED = ("retailrocket",)
Cells = Mapping[str, Mapping[str, Any]]
_METRICS = (("auc", "share"), ("logloss", "nats"))

WORDS = """
Networks for clicks that differ in their crossing layers alone: the same embeddings, head, loss,
optimizer, batches and early stop; each as large as a budget of FLOPs says. A budget counts matrix
products per row from x_0 to the logit and is a multiple of {base:,}, which a low-rank DCNv2 with
three layers of rank D / 8 costs (D = {width}, {fields} fields of {embedding} numbers). `reached`
says how near an arm came; a family without a size of its own, such as a whole matrix, may miss. A
low rank ends at D, where its layer costs twice a whole matrix: beyond, it has to have more layers.
So from {whole_from}x on whole matrices (`{whole}`) are compared, too.

{split} A span is TRAIN 60 %, VALID 20 %, TEST 20 %. {counted}

- Every arm had {trials} trials on VALID at each budget: the shape (layers, experts, tokens, ...)
  among those that can cost so much, its size solved by formula, learning rate, dropout and decay.
  Draws of the last three are the same for all arms; the first trial of each is the default. The
  best AUC on VALID was chosen, and trained with each of {seeds} seeds; each stops on VALID.
- `ml_dcn-second_block`: m = 1, and a second low-rank block of as many parameters as the mask.
  `ml_dcn-constant`: a mask that is the same for all rows. A win over both is the mask's.
- The screen is of VALID alone: of both MaskNets the one with the higher mean AUC went on.
- Milliseconds: one forward pass, {threads} threads, the median of 200.
"""
_SPLITS = {
    "per_user_time": (
        "Cut per user by time: the first rows of each user are TRAIN, equal moments stay on one "
        "side. Statistics of items see the global future."
    ),
    "global_time": "Cut at two moments for all, as a service meets them.",
}
_BY_CHANCE = (
    "Rows have no times: each user's are put into an order by chance, of which the first are "
    "TRAIN. So nothing here speaks of the future."
)
_COUNTED = (
    "Four fields count what was known before each row's moment: the rate of ones of its user and "
    "of its item, and of how many rows. `reference` is both rates added up: what counting reaches."
)


def words(options: Namespace, clicks: Clicks, base: CtrDials) -> str:
    """The page's beginning."""
    fields = len(clicks.sizes)
    return WORDS.format(
        whole=WHOLE,
        whole_from=WHOLE_FROM,
        base=ctr_trials.budget(fields, 1, base),
        width=fields * base.embedding,
        fields=fields,
        embedding=base.embedding,
        split=_BY_CHANCE if options.format in UNTIMED else _SPLITS[options.split],
        counted=_COUNTED if "user_rate" in clicks.sizes else "",
        trials=options.trials,
        seeds=options.seeds,
        threads=options.threads,
    ).strip()


def rows_of(found: Cells) -> list[Row]:
    """Rows of runs, of the screen and of `--why`: each seed, and the mean of all."""
    told: dict[tuple[str, str, str, str], dict[int, float]] = {}
    rows: list[Row] = []
    for name, cell in found.items():
        what = name.partition("-")[0]
        arm = ctr_leads.called(cell["arm"], cell["kind"]) if "arm" in cell else ""
        where = f"{cell['times']:g}x" if "times" in cell else ""
        if what == "run":
            for metric, unit in _METRICS:
                key = (metric, unit, f"{where}/test", arm)
                told.setdefault(key, {})[cell["seed"]] = cell[metric]
        if what in ("run", "screen", "why"):
            whose = {"run": f"{where}/valid", "screen": "screen/valid", "why": "why/valid"}[what]
            model = cell["variant"] if what == "why" else arm
            for metric, unit in _METRICS:
                key = (metric, unit, whose, model)
                told.setdefault(key, {})[cell["seed"]] = cell[f"valid_{metric}"]
        if what == "latency":
            rows += _costs(cell, where, arm)
    for (metric, unit, split, model), by_seed in told.items():
        rows += _spread(metric, unit, split, model, by_seed)
    return rows


def reference(clicks: Clicks) -> list[Row]:
    """AUC on TEST of what only counts: user rate + item rate; nothing where they are not known."""
    if "user_rate" not in clicks.sizes:
        return []
    rows, names = clicks.rows(TEST), list(clicks.sizes)
    rates = clicks.codes[rows][:, [names.index("user_rate"), names.index("item_rate")]]
    value = auc(rates.sum(axis=1).astype(np.float64), np.asarray(clicks.label[rows]))
    model = "user rate + item rate, in steps of 5 %"
    return [Row(metric="auc", value=value, unit="share", split="reference/test", model=model)]


def _costs(cell: Mapping[str, Any], where: str, arm: str) -> Iterator[Row]:
    for metric, unit in (("flops", "FLOPs"), ("other_flops", "FLOPs"), ("parameters", "count")):
        yield Row(metric=metric, value=float(cell[metric]), unit=unit, split=where, model=arm)
    for size in LATENCIES:
        name = f"batch_{size}_ms"
        yield Row(metric=name, value=cell[name], unit="ms", split=where, model=arm)


def _spread(
    metric: str, unit: str, split: str, model: str, by_seed: Mapping[int, float]
) -> Iterator[Row]:
    same = {"metric": metric, "unit": unit, "split": split, "model": model}
    for seed, value in sorted(by_seed.items()):
        yield Row(value=value, seed=seed, **same)
    mean, low, high = interval(list(by_seed.values()))
    yield Row(value=mean, lo=low, hi=high, seed="all", **same)


def changes(found: Cells) -> list[Row]:
    """Of each change of `--why`: AUC on VALID less that of ML-DCN as it was chosen, by seed."""
    by: dict[str, dict[int, float]] = {}
    for name, cell in found.items():
        if name.startswith("why-"):
            by.setdefault(cell["variant"], {})[cell["seed"]] = cell["valid_auc"]
    plain, made = by.pop(AS_CHOSEN, {}), []
    for variant, seeds in by.items():
        both = sorted(set(seeds) & set(plain))
        if both:
            apart = [seeds[seed] - plain[seed] for seed in both]
            value, low, high = interval(apart)
            same = {"metric": "auc_difference", "unit": "share", "split": "why/valid"}
            model = f"{variant} - {AS_CHOSEN}"
            made.append(Row(value=value, lo=low, hi=high, model=model, seed="all", **same))
    return made


def dials_section(found: Cells) -> str:
    """What was chosen for each arm at each budget, and what it costs."""
    lines = []
    for name, cell in found.items():
        if not name.startswith("latency-"):
            continue
        dials = dials_of(cell["dials"])
        shape = ctr_trials.SHAPES[dials.crossing.kind]
        axis = CROSSINGS[dials.crossing.kind]
        told = [f"{dial} {getattr(dials.crossing, dial):.3g}" for dial in (axis, *shape)]
        lines.append(
            (
                ctr_leads.called(cell["arm"], cell["kind"]),
                f"{cell['times']:g}x",
                f"{cell['reached']:.3f}",
                ", ".join(dict.fromkeys(told)),
                f"{dials.learning_rate:g}",
                f"{dials.dropout:g}",
                f"{dials.weight_decay:g}",
                figure(cell["flops"]),
                figure(cell["other_flops"]),
                figure(cell["parameters"]),
                *(figure(cell[f"batch_{size}_ms"]) for size in LATENCIES),
            )
        )
    if not lines:
        return ""
    names = ("arm", "budget", "reached", "shape and size", "rate", "dropout", "decay", "FLOPs")
    names += ("other FLOPs", "parameters", *(f"ms, batch {size}" for size in LATENCIES))
    return f"## What was chosen\n\n{table(names, lines, left=2)}"


def screen_section(rows: Sequence[Row]) -> str:
    """The families at 1x on VALID, the best first."""
    means = [row for row in rows if row.split == "screen/valid" and row.seed == "all"]
    lines = []
    for row in sorted(means, key=lambda row: -row.value):
        if row.metric == "auc" and row.model in SCREENED:
            ends = "" if row.lo is None else f"{row.lo:.4f} to {row.hi:.4f}"
            [loss] = [r.value for r in means if (r.metric, r.model) == ("logloss", row.model)]
            lines.append((row.model, f"{row.value:.4f}", ends, f"{loss:.4f}"))
    if not lines:
        return ""
    names = ("family", "AUC", "95 % over seeds (t)", "log loss")
    return f"## The screen: 1x, VALID\n\n{table(names, lines, left=1)}"


def why_section(made: Sequence[Row]) -> str:
    """What each change did; the picture stands above the table."""
    if not made:
        return ""
    lines = [
        (
            row.model.partition(" - ")[0],
            f"{row.value:+.4f}",
            "" if row.lo is None else f"{row.lo:+.4f} to {row.hi:+.4f}",
        )
        for row in sorted(made, key=lambda row: -row.value)
    ]
    told = (
        "## One thing changed at a time\n\nThe same command with `--why`: ML-DCN as it was chosen, "
        "and with one change, on VALID; AUC less that of the former, by seed. FLOPs are the "
        "budget's again, but where the rank is what changes.\n\n![AUC by change](why.png)"
    )
    names = ("change", "AUC", "95 % over seeds (t)")
    return f"{told}\n\n{table(names, lines, left=1)}"


def peers_section(ours: list[Mapping[str, Any]], others: list[Mapping[str, Any]]) -> str:
    """Ours beside FuxiCTR's; nothing where one of them is missing."""
    lines = [
        (
            gap.model,
            gap.metric,
            f"{gap.ours:.4f}",
            f"{gap.theirs:.4f}",
            f"{gap.ours - gap.theirs:+.4f}",
            f"{gap.low:+.4f} to {gap.high:+.4f}",
            "yes" if gap.low <= 0 <= gap.high else "no",
        )
        for gap in ctr_peers.gaps(ours, others)
    ]
    if not lines:
        return ""
    told = (
        "## Beside FuxiCTR\n\nThe same command with `--peers`: the same split and dials, TEST, "
        "means over the seeds; FuxiCTR by `benchmarks/ctr_fuxictr.py` in an environment of its "
        "own. Within noise: Welch's 95 % interval of the difference holds 0."
    )
    names = ("model", "metric", "ours", "FuxiCTR's", "difference", "95 % interval", "within noise")
    return f"{told}\n\n{table(names, lines, left=2)}"


def pictures(options: Namespace, rows: Sequence[Row], made: Sequence[Row], base: float) -> None:
    """AUC against FLOPs, and the changes of `--why`."""
    flops = {(r.model, r.split): r.value for r in rows if r.metric == "flops"}
    aucs: dict[str, list[tuple[float, Row]]] = {}
    for row in rows:
        place = (row.model, row.split.removesuffix("/test"))
        whole = row.metric == "auc" and row.seed == "all" and row.split.endswith("/test")
        if whole and place in flops:
            aucs.setdefault(row.model, []).append((flops[place], row))
    ours_first = {OURS: aucs.pop(OURS, []), **aucs}
    by_flops(options.out / "auc.png", {k: v for k, v in ours_first.items() if v}, base=base)
    by_change(options.out / "why.png", made)
