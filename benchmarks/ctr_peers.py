"""Our DCNv2 and MaskNet beside FuxiCTR's, which is measured in an environment of its own.

Takes clicks, gives their split as a file that `ctr_fuxictr.py` reads, our runs by the same dials,
and rows of both; never imports FuxiCTR. Both have the same dials, start from the same distributions
and stop by the same rule; what differs is the code.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import ctr_model
import ctr_spans
import numpy as np
from ctr_data import Clicks
from ctr_model import CtrDials
from differences import interval

from graphsvc.report import Row
from ranking.config import CrossingConfig
from ranking.metrics import auc, log_loss

#: What FuxiCTR's runs said, in the folder of the page; the split lies in the work folder.
FILE = "fuxictr.json"
LAYERS, BLOCKS, BLOCK_WIDTH = 2, 2, 64
NAMES = ("DCNv2", "MaskNet")


class Gap(NamedTuple):
    """A metric of both, and the difference of their means with Welch's interval."""

    model: str
    metric: str
    ours: float
    theirs: float
    low: float
    high: float


def dials(name: str, width: int, base: CtrDials) -> CtrDials:
    """Ours of the same equations: nothing that FuxiCTR's model does not have."""
    if name == "DCNv2":
        crossing = CrossingConfig(kind="dcn_v2_full", layers=LAYERS, norm="none")
    else:
        crossing = CrossingConfig(
            kind="mask_net_parallel",
            layers=BLOCKS,
            hidden_share=BLOCK_WIDTH / width,
            mask_share=1.0,
        )
    return replace(base, crossing=crossing, plain=True, dropout=0.0, weight_decay=0.0)


def export(clicks: Clicks, base: CtrDials, seeds: int, folder: Path, key: str) -> None:
    """The split as arrays, and the dials of both models with the key of their runs as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    spans = {"train": ctr_spans.TRAIN, "valid": ctr_spans.VALID, "test": ctr_spans.TEST}
    arrays: dict[str, Any] = {}
    for name, span in spans.items():
        rows = clicks.rows(span)
        arrays |= {f"{name}_codes": clicks.codes[rows], f"{name}_label": clicks.label[rows]}
    np.savez_compressed(folder / "split.npz", **arrays)
    told = {
        "key": key,
        "sizes": clicks.sizes,
        "seeds": list(range(1, seeds + 1)),
        "layers": LAYERS,
        "blocks": BLOCKS,
        "block_width": BLOCK_WIDTH,
        "embedding": base.embedding,
        "hidden": base.hidden,
        "learning_rate": base.learning_rate,
        "batch": base.batch,
        "epochs": base.epochs,
        "patience": base.patience,
    }
    (folder / "split.json").write_text(json.dumps(told, indent=1) + "\n")


def measure(clicks: Clicks, base: CtrDials, name: str, seed: int) -> Mapping[str, Any]:
    """One of our runs, on TEST."""
    width = len(clicks.sizes) * base.embedding
    trained = ctr_model.train(clicks, dials(name, width, base), seed)
    rows = clicks.rows(ctr_spans.TEST)
    scores = ctr_model.probabilities(trained.model, clicks, rows)
    label = np.asarray(clicks.label[rows])
    return {
        "peer": name,
        "seed": seed,
        "valid_auc": trained.valid_auc,
        "auc": auc(scores, label),
        "logloss": log_loss(scores, label),
    }


def theirs(folder: Path, key: str) -> list[Mapping[str, Any]]:
    """What FuxiCTR's runs on this split with these dials said; nothing where there are none."""
    file = folder / FILE
    told: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    runs: list[Mapping[str, Any]] = told["runs"] if told.get("key") == key else []
    return runs


def gaps(ours: list[Mapping[str, Any]], others: list[Mapping[str, Any]]) -> Iterator[Gap]:
    """Of each model that both have with two seeds or more: ours less theirs."""
    for name in NAMES:
        for metric in ("auc", "logloss"):
            a, b = ([run[metric] for run in runs if run["peer"] == name] for runs in (ours, others))
            if min(len(a), len(b)) >= 2:
                low, high = welch(a, b)
                yield Gap(name, metric, float(np.mean(a)), float(np.mean(b)), low, high)


def welch(a: list[float], b: list[float]) -> tuple[float, float]:
    """The 95 % interval of the difference of two means, of unequal variances."""
    from scipy import stats

    found = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    return float(found.low), float(found.high)


def rows_of(ours: list[Mapping[str, Any]], others: list[Mapping[str, Any]]) -> Iterator[Row]:
    """Every run, the means, and the difference of the means."""
    for side, runs in (("", ours), ("FuxiCTR's ", others)):
        for name in NAMES:
            for metric, unit in (("auc", "share"), ("logloss", "nats")):
                by_seed = {run["seed"]: run[metric] for run in runs if run["peer"] == name}
                same = {"metric": metric, "unit": unit, "split": "peers/test"}
                same["model"] = f"{side}{name}"
                for seed, value in by_seed.items():
                    yield Row(value=value, seed=seed, **same)
                if by_seed:
                    mean, low, high = interval(list(by_seed.values()))
                    yield Row(value=mean, lo=low, hi=high, seed="all", **same)
    for gap in gaps(ours, others):
        yield Row(
            metric=f"{gap.metric}_difference",
            value=gap.ours - gap.theirs,
            lo=gap.low,
            hi=gap.high,
            unit="share" if gap.metric == "auc" else "nats",
            split="peers/test",
            model=f"ours - FuxiCTR's, {gap.model}",
            seed="all",
        )
