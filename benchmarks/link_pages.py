"""The page of link prediction: tables over all models, by class, by degree and by relation.

Takes the runs of one folder, gives a Markdown page, its pictures and the differences as a report;
never measures anything. Trainings of several lengths stand beside each other, and only those of the
same length are compared.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ablation import is_arm
from differences import Ahead, ahead, interval
from link_cells import METRICS, Runs, comparable, mixed, unlike
from link_pictures import against_time, by_degree
from pages import header_of, measured, table

from graphsvc.report import Row, as_report
from kge.ranks import BUCKETS

#: What is compared with all others of the same time; `both` is another name for it.
OURS = ("transra", "both")
RELATIONS = 20
#: In a command, where one of several lines of options belongs: no option, so that it is refused.
_LINE = "LINE"
_CARDINALITIES = tuple(
    f"test/cardinality={name}/{side}"
    for name in ("1-1", "1-n", "n-1", "n-n")
    for side in ("head", "tail")
)

_WORDS = """
Filtered ranks of both ends of every test triple among all entities, realistic where scores are
equal. Only training is on the clock. Values are means over seeds; ± is half a 95 % t interval,
where there are two seeds or more. What each model is: LINK.
"""
_AHEAD = """
MRR of `transra` less that of the other, after the same time and over the seeds that both have: a t
interval over seeds, and a paired bootstrap that draws test triples. It is ahead or behind where
neither interval holds 0; with one seed nothing is decided. `on validation`: the same of validation
triples, with a t interval over seeds; whoever chooses dials chooses by it.
"""
_CURVES = """
Validation MRR on the way, of a thousand triples at most: lines are means over seeds, bands go from
the lowest to the highest. Arms of TransRA are drawn through, rivals dashed. Learning rates fall to
zero over the minutes given, so a long training is not a short one that went on.
"""
_CLASSES = """
Test MRR. `1-n/tail`: relations where a head has several tails, asked for a tail; a side counts as n
from 1.5 partners on average in training.
"""
_TRIALS = """
What was tried before these runs is not in their figures. TransRA's rules for dials were developed
on FB15k-237: mostly on validation, but test figures of that set were printed and seen many times on
the way, several whole runs with other numbers of members and of rounds among them. So figures of
TransRA on that set, and on no other, are a little optimistic. Each rival has one recipe, whose form
is published and whose sizes and rates are ours. The numbers of trials were not equal.
"""
_DIALS = """
Dials of `transra` that follow from these triples, of its longest training; others have defaults.
"""
_DEGREES = "Test MRR by the number of training triples that the entity asked for is in."


def write(folder: Path, runs: Sequence[Runs], command: str, dials: Mapping[str, Any]) -> None:
    """README.md, two pictures and differences.json. Raises `SystemExit` without a run."""
    if not runs:
        raise SystemExit("error: --page has nothing to show: no cell of these files is measured")
    folder.mkdir(parents=True, exist_ok=True)
    cells = [cell for run in runs for cell in run.cells.values()]
    about = header_of(cells, dials)
    compared = list(differences(runs))
    against_time(folder / "curves.png", runs)
    by_degree(folder / "degree.png", runs, _degrees(runs))
    report = as_report([row for it in compared for row in _rows(*it)], about)
    (folder / "differences.json").write_text(json.dumps(report, indent=1) + "\n")
    lines = _lines(runs)
    again = f"`{command} {lines[0] if len(lines) == 1 else _LINE}`"
    parts = [
        "# How well missing edges are found",
        _WORDS.replace("LINK", _link(folder)),
        measured(command, about),
        *_mixed(runs),
        _trained(lines),
        "## All models",
        models_table(runs),
        *(["### Ahead or behind", _AHEAD, differences_table(compared)] if compared else []),
        "## Quality against time",
        again,
        _CURVES,
        "![validation MRR against minutes](curves.png)",
        "## By the kind of relation",
        again,
        _CLASSES,
        slices_table(runs, _CARDINALITIES, "relation/asked for"),
        "## By how often an entity was seen",
        again,
        _DEGREES,
        "![test MRR by degree](degree.png)",
        slices_table(runs, _degrees(runs), "training triples"),
        *_relations(runs, again),
        *_dials(runs),
        "## Trials",
        _TRIALS,
    ]
    (folder / "README.md").write_text("\n\n".join(part.strip() for part in parts) + "\n")


def models_table(runs: Sequence[Runs]) -> str:
    """Every model and time: test figures over seeds, and the minutes that it trained."""
    lines = []
    for run in runs:
        trained = [cell["training_seconds"] / 60 for cell in run.cells.values()]
        shown = [_spread(run, "test", metric) for metric in METRICS]
        shown.append(_spread(run, "valid"))
        lines.append(
            (run.name, f"{run.minutes:g}", f"{np.mean(trained):.1f}", str(len(run.cells)), *shown)
        )
    names = ("MRR", "Hits@1", "Hits@3", "Hits@10", "MRR on validation")
    return table(("model", "--minutes", "minutes trained", "seeds", *names), lines, left=1)


def slices_table(runs: Sequence[Runs], splits: Sequence[str], name: str) -> str:
    """Test MRR by parts of the ranks, a column per model; the highest of a row is bold."""
    lines = []
    for split in splits:
        means = [np.mean(values) for run in runs if (values := run.values(split))]
        if not means:
            continue
        shown = [
            f"**{told}**" if told and np.mean(run.values(split)) == max(means) else told
            for run in runs
            for told in [_spread(run, split)]
        ]
        lines.append((split.partition("=")[2], f"{_ranks(runs, split):,}", *shown))
    return table((name, "ranks", *(run.label for run in runs)), lines, left=1)


def differences(runs: Sequence[Runs]) -> Iterator[tuple[Runs, Runs, Ahead]]:
    """TransRA with every other model of the same time, as far as both have kept their ranks."""
    for group in comparable(runs):
        ours = _ours(group)
        for other in group:
            if ours is None or other.model in OURS:
                continue
            seeds = sorted(set(ours.ranks) & set(other.ranks))
            if seeds:
                told = ([run.ranks[seed] for seed in seeds] for run in (ours, other))
                yield ours, other, ahead(*told)


def differences_table(compared: Sequence[tuple[Runs, Runs, Ahead]]) -> str:
    """TransRA's lead over each other model, its two intervals and what they decide."""
    lines = []
    for ours, other, found in compared:
        by_seed = f"{_range(found.by_seed)}" if found.by_seed else ""
        by_triple = _range(found.by_triple)
        name = f"{ours.name} - {other.name}"
        value = f"{found.value:+.4f}"
        figures = (str(found.seeds), value, by_seed, by_triple, _on_validation(ours, other))
        lines.append((name, f"{ours.minutes:g}", *figures, found.decided))
    names = ("minutes", "seeds", "MRR", "95 % over seeds (t)", "95 % over triples (bootstrap)")
    return table(("difference", *names, "on validation", "it is"), lines, left=1)


def validation_lead(ours: Runs, other: Runs) -> tuple[float, float | None, float | None]:
    """Validation MRR less that of the other, over the seeds that both have; 95 % t interval."""
    seeds = sorted(set(ours.cells) & set(other.cells))
    mine, theirs = (
        [run.cells[n]["splits"]["valid"]["mrr"] for n in seeds] for run in (ours, other)
    )
    return interval([a - b for a, b in zip(mine, theirs, strict=True)])


def _on_validation(ours: Runs, other: Runs) -> str:
    lead, low, high = validation_lead(ours, other)
    return f"{lead:+.4f}" + ("" if low is None or high is None else f" ({_range((low, high))})")


def relations_table(ours: Runs, rival: Runs) -> str:
    """The relations with most test ranks, of TransRA and of a rival."""
    names = {split for cell in ours.cells.values() for split in cell["splits"]}
    splits = [name for name in names if name.startswith("test/relation=")]
    most = sorted(splits, key=lambda split: (-_ranks([ours], split), split))[:RELATIONS]
    lines = []
    for split in most:
        mine, theirs = ours.values(split), rival.values(split)
        lead = f"{np.mean(mine) - np.mean(theirs):+.4f}" if theirs else ""
        name = split.partition("=")[2].replace("|", "\\|")
        shown = [_spread(run, split) for run in (ours, rival)]
        lines.append((name, f"{_ranks([ours], split):,}", *shown, lead))
    return table(("relation", "ranks", ours.name, rival.name, "difference"), lines, left=1)


def _relations(runs: Sequence[Runs], again: str) -> Iterator[str]:
    """For each time, TransRA beside the rival that is best then."""
    for group in comparable(runs):
        ours = _ours(group)
        rivals = [run for run in group if not is_arm(run.model)]
        if ours is None or not rivals:
            continue
        rival = max(rivals, key=lambda run: run.mrr)
        yield f"## By relation, {ours.minutes:g} minutes" + (f", {ours.memory}" * bool(ours.memory))
        yield again
        yield (
            f"Test MRR of the {RELATIONS} relations with most test triples at most, beside the "
            f"rival with the highest MRR after as long, `{rival.model}`."
        )
        yield relations_table(ours, rival)


def _dials(runs: Sequence[Runs]) -> Iterator[str]:
    """What TransRA's policy made of the graph, and why."""
    told = [cell for run in runs if run.model == OURS[0] for cell in run.cells.values()]
    if told and told[0].get("reasons"):
        yield "## Dials"
        yield _DIALS
        dials, reasons = told[0]["dials"], told[0]["reasons"]
        names = sorted(set(reasons) - {"epochs"})  # instead of which there was the clock
        lines = [(f"`{name}`", str(dials[name]), reasons[name]) for name in names]
        yield table(("dial", "value", "why"), lines, left=3)


def _ours(group: Sequence[Runs]) -> Runs | None:
    named = {run.model: run for run in group}
    return next((named[name] for name in OURS if name in named), None)


def _degrees(runs: Sequence[Runs]) -> list[str]:
    """The buckets of degree in their order, those that hold a rank."""
    names = {
        name.partition("=")[2]
        for run in runs
        for cell in run.cells.values()
        for name in cell["splits"]
        if name.startswith("test/degree=")
    }
    return [
        f"test/degree={name}"
        for low in BUCKETS
        for name in names
        if name.rstrip("+").partition("-")[0] == str(low)
    ]


def _ranks(runs: Sequence[Runs], split: str) -> int:
    """How many ranks a part of the test has: the same for every run."""
    cells = (cell for run in runs for cell in run.cells.values())
    return next((cell["splits"][split]["ranks"] for cell in cells if split in cell["splits"]), 0)


def _rows(ours: Runs, other: Runs, found: Ahead) -> Iterator[Row]:
    same = {
        "value": found.value,
        "unit": "share",
        "split": f"test/minutes={ours.minutes:g}",
        "model": f"{ours.name} - {other.name}",
        "seed": "all",
    }
    if found.by_seed:
        low, high = found.by_seed
        yield Row(metric="mrr_difference_over_seeds", lo=low, hi=high, **same)
    low, high = found.by_triple
    yield Row(metric="mrr_difference_over_triples", lo=low, hi=high, **same)
    lead, first, last = validation_lead(ours, other)
    if first is not None:
        valid = {**same, "value": lead, "split": f"valid/minutes={ours.minutes:g}"}
        yield Row(metric="mrr_difference_over_seeds", lo=first, hi=last, **valid)


def _mixed(runs: Sequence[Runs]) -> Iterator[str]:
    """Which means are over seeds that were not measured alike."""
    lines = [f"- `{run.label}`: {'; '.join(told)}" for run in runs if (told := mixed(run.cells))]
    if lines:
        said = (
            "These means are over seeds that were not measured alike; where they differ in more "
            "than the commit, they have no interval:"
        )
        yield "\n".join([said, "", *lines])


def _lines(runs: Sequence[Runs]) -> list[str]:
    """What else the command said for each length and number of seeds that was trained."""
    groups: dict[tuple[float, int, str], list[str]] = {}
    for run in runs:
        groups.setdefault((run.minutes, max(run.cells) + 1, run.memory), []).append(run.model)
    return [
        f"--minutes {minutes:g} --model {' '.join(sorted(names))} --seeds {seeds}"
        f"{f' --memory {room}' if room else ''}"
        for (minutes, seeds, room), names in groups.items()
    ]


def _trained(lines: Sequence[str]) -> str:
    each = "with this more" if len(lines) == 1 else f"with one of these, called `{_LINE}` below,"
    told = [f"- `{line}`" for line in lines]
    own = "" if len(lines) == 1 else ", and with a `--json` of its own, which has its models alone"
    return "\n".join([f"Trained by that command {each} as its last options{own}:", "", *told])


def _link(folder: Path) -> str:
    """Where models are explained, as a link from a page within the repository."""
    root = Path(__file__).resolve().parents[1]
    file = root / "docs" / "link-prediction.md"
    if not folder.resolve().is_relative_to(root):
        return "`docs/link-prediction.md`"
    path = Path(os.path.relpath(file, folder.resolve())).as_posix()
    return f"[link prediction]({path}#models)"


def _spread(run: Runs, split: str, metric: str = "mrr") -> str:
    """A mean over seeds, with its interval where these are runs of one kind; empty without any."""
    values = run.values(split, metric)
    if not values:
        return ""
    mean, low, high = interval(values)
    sure = low is not None and high is not None and not unlike(run.cells)
    return f"{mean:.4f}" + (f" ± {(high - low) / 2:.4f}" if sure else "")


def _range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:+.4f} to {ends[1]:+.4f}"
