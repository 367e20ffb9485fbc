"""Recommendations over HTTP: how long one client waits among a million ads, and what is lost.

    .venv/bin/python benchmarks/recommend.py
    .venv/bin/python benchmarks/recommend.py --items 50000 --turns 1 --out build/recommend-small

The service is made at the first run, in `--work`, which takes long. Run it alone.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch

sys.path.insert(0, str(Path(__file__).parent))

import grid
import printed
import recommend_service as service
from aims import Aim
from callers import ask
from matplotlib import pyplot as plt
from pictures import finish
from publish import About, publish, spare
from recommend_recall import Asking
from recommend_service import KINDS, Made
from recommend_world import Inventory, dials
from served import server, settle

from api.routes.recommendations import RecommendRequest
from graphsvc.report import Row
from ranking.intervals import t_interval

ITEMS = 1_000_000
PATH = "/v1/recommend"
#: The route's defaults: what is shown, and what is found for the ranker.
K, RETRIEVE = (RecommendRequest.model_fields[name].default for name in ("k", "retrieve"))
#: What is found by default, and less and more; of the kinds that are asked with each.
SIZES, SIZED = (100, RETRIEVE, 500), ("plain", "all together")
#: One client: calls that count, and those before.
CALLS, WARM = 1_000, 200
#: People of whom what is found is compared with what is nearest, and with the best of all ads.
NEAREST_PEOPLE, RANKED_PEOPLE = 200, 20
#: Beside the nearest: those who complete a relation, by the model's own score.
COMPLETING = "click"
AIMS = (
    Aim("recommend_p99_ms", at_most=25.0, where=f"retrieve={RETRIEVE}"),
    Aim("obeyed", at_least=1.0),
)
_TITLE = "Recommendations over HTTP"
_WORDS = """
`POST /v1/recommend` of a server as `graphsvc serve` starts it, on SQLite, with {items:,} ads of a
market that `benchmarks/recommend_world.py` makes up: advertisers, products, formats, and {people:,}
people with clicks. Bundle, index and ranker are made by the service's own steps with its default
dials, {epochs:g} epochs of TransRA among them. The index is of kind `{kind}`: {reason}. Filters of
an exact index, and the inventory, were changed by the authors after they were measured.

- `recommend_p50_ms`, `recommend_p99_ms`: one client that waits for each answer, {calls:,} calls for
  people in turn. Each turn is another server, which has folded in who changed since training; the
  t interval is over turns. `server_peak`: the largest resident set of that server.
- `plain`: nothing is left out. `seen out`, the route's default: without what was clicked.
  `filtered`: `must` a type and an attribute, `should` an attribute or an advertiser, `must_not`
  another advertiser; a third of all ads pass. `capped`: at most {most} ads of an advertiser.
  `all together`: all of that.
- `retrieval_recall`: of the nearest {default} (or as many as `retrieve` says) that may be shown,
  the share that the index finds, against comparing all ads; over {nearest} people, with the t
  interval over them. `told_recall`: what the answers say. `obeyed`: the share of answers that show
  only what passes, each once and no more than the cap lets, by the inventory itself.
- `best_recall@{k}`: of the {k} ads that stand first where the ranker ranks all {items:,}, the share
  that a plain request shows, or of such as score as high; `best_score@{k}`: the scores of what it
  shows as a share of theirs.
  Over {ranked} people. `completing {completing}`: a request that says so retrieves by the model's
  score of that relation instead of by distance.

![recall against time](recall.png)
"""


def parser() -> argparse.ArgumentParser:
    made = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/recommend")
    made.add_argument("--items", type=int, default=ITEMS, help="ads of the inventory")
    made.add_argument(
        "--work", type=Path, default=Path("build/recommend"), help="kept between runs"
    )
    made.add_argument("--turns", type=int, default=5)
    return made


def asked() -> Iterator[tuple[str, int]]:
    """What is asked, kind by kind, and how many candidates are found for it."""
    for kind in KINDS:
        for retrieve in SIZES if kind in SIZED else (RETRIEVE,):
            yield kind, retrieve


def cells(options: argparse.Namespace) -> dict[str, grid.Measure]:
    """Every cell by its name; turns are outermost, so that the machine's moods hit all alike."""
    market = cache(lambda: Inventory(options.items))
    asking = cache(lambda: _asking(options, market()))
    told = (options.items, dials(), service.EPOCHS)
    made: dict[str, grid.Measure] = {
        grid.named("made", *told): lambda: service.made(options.work, market()).told()
    }
    for turn in range(1, options.turns + 1):
        for kind, retrieve in asked():
            name = grid.named(f"{_cell('alone', kind, retrieve)}-{turn}", *told, CALLS, WARM)
            made[name] = partial(_alone, options, market, kind, retrieve, turn)
    for kind, retrieve in asked():
        if kind in SIZED:
            name = grid.named(_cell("nearest", kind, retrieve), *told, NEAREST_PEOPLE)
            made[name] = partial(_nearest, asking, kind, retrieve)
    made[grid.named("best", *told, K, RANKED_PEOPLE, SIZES)] = partial(_best, asking)
    return made


def _cell(what: str, kind: str, retrieve: int) -> str:
    return f"{what}-{kind.replace(' ', '-')}-{retrieve}"


def _alone(
    options: argparse.Namespace, market: Any, kind: str, retrieve: int, turn: int
) -> Mapping[str, Any]:
    """One client that waits for each of its answers."""
    inventory: Inventory = market()
    made: Made = service.made(options.work, inventory)
    people = _people(inventory, WARM + CALLS, seed=turn)
    bodies = [orjson.dumps(service.body(inventory, kind, who, retrieve=retrieve)) for who in people]
    with server(made.folder, "") as running, closing(running.connect()) as connection:
        settle(running)
        spent = [ask(connection, running, PATH, body) for body in bodies][WARM:]
        peak = running.peak_mib
    p50, p99 = np.percentile(np.array(spent) * 1e3, [50, 99])
    return {"p50_ms": float(p50), "p99_ms": float(p99), "server_peak_mib": peak}


def _asking(options: argparse.Namespace, inventory: Inventory) -> Asking:
    """The service in this process, opened once."""
    torch.set_num_threads(1)
    return Asking(inventory, *service.made(options.work, inventory).opened())


def _nearest(asking: Any, kind: str, retrieve: int) -> Mapping[str, Any]:
    """How much of what is nearest is found."""
    opened: Asking = asking()
    people = _people(opened.inventory, NEAREST_PEOPLE, seed=11)
    return opened.nearest_found(kind, people, retrieve=retrieve)


def _best(asking: Any) -> Mapping[str, Any]:
    """How much of what the ranker would put first is shown."""
    opened: Asking = asking()
    people = _people(opened.inventory, RANKED_PEOPLE, seed=12)
    ways: dict[str, dict[str, Any]] = {_way("plain", size): {"retrieve": size} for size in SIZES}
    for size in SIZES:
        ways[_way(_COMPLETING, size)] = {"retrieve": size, "relation": COMPLETING}
    return {"ways": opened.best_found(people, ways, k=K)}


_COMPLETING = f"completing {COMPLETING}"


def _way(name: str, size: int) -> str:
    return f"{name}/{size}"


def _people(inventory: Inventory, count: int, *, seed: int) -> list[int]:
    """Some people, each once as far as there are so many."""
    order = np.random.default_rng(seed).permutation(inventory.people)
    return np.resize(order, count).tolist()


def result_rows(found: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """The figures of all cells; those of turns as their mean with a t interval."""
    made: list[Row] = []
    for kind, retrieve in asked():
        where = {"model": kind, "split": f"retrieve={retrieve}"}
        turns = [c for n, c in found.items() if n.startswith(f"{_cell('alone', kind, retrieve)}-")]
        made += _of_turns(turns, where)
        prefix = f"{_cell('nearest', kind, retrieve)}-"
        made += [
            row for n, c in found.items() if n.startswith(prefix) for row in _of_people(c, where)
        ]
    for name, cell in found.items():
        if name.startswith("best-"):
            made += [row for way, told in cell["ways"].items() for row in _of_best(way, told)]
        if name.startswith("made-"):
            sizes = {"model": "index and ranker", "split": cell["index_kind"]}
            per, auc = cell["index_bytes_per_vector"], cell["valid_auc"]
            made.append(Row(metric="index_bytes_per_vector", value=per, unit="bytes", **sizes))
            made.append(Row(metric="valid_auc", value=auc, unit="share", **sizes))
    return made


def _of_turns(turns: Sequence[Mapping[str, Any]], where: Mapping[str, str]) -> list[Row]:
    """Nothing of none; without an interval of one."""
    figures = {
        "p50_ms": ("recommend_p50_ms", "ms"),
        "p99_ms": ("recommend_p99_ms", "ms"),
        "server_peak_mib": ("server_peak", "MiB"),
    }
    made = []
    for name, (metric, unit) in figures.items():
        values = [turn[name] for turn in turns]
        if len(values) > 1:
            value, low, high = t_interval(values)
            ends = {"value": value, "lo": low, "hi": high, "seed": "all"}
            made.append(Row(metric=metric, unit=unit, **ends, **where))
        elif values:
            made.append(Row(metric=metric, unit=unit, value=values[0], **where))
    return made


def _of_people(cell: Mapping[str, Any], where: Mapping[str, str]) -> list[Row]:
    plain = {"told_recall": cell["told"], "obeyed": cell["obeyed"]}
    return [
        Row(metric="retrieval_recall", unit="share", **cell["recall"], **where),
        *(Row(metric=name, unit="share", value=told, **where) for name, told in plain.items()),
    ]


def _of_best(way: str, told: Mapping[str, Any]) -> list[Row]:
    model, _, size = way.partition("/")
    where = {"model": model, "split": f"retrieve={size}", "unit": "share"}
    return [
        Row(metric=f"best_recall@{K}", **told["recall"], **where),
        Row(metric=f"best_score@{K}", **told["score"], **where),
    ]


def draw(file: Path, rows: Sequence[Row]) -> None:
    """What is found against how long a plain request takes, by how many candidates it retrieves."""
    told = {(row.metric, row.split): row for row in rows if row.model == "plain"}
    splits = [f"retrieve={size}" for size in SIZES]
    shown = {
        "retrieval_recall": "of the nearest, found by the index",
        f"best_recall@{K}": f"of the best {K} of all ads, shown",
        f"best_score@{K}": f"of the scores of these {K}, reached",
    }
    times = {split: told.get(("recommend_p99_ms", split)) for split in splits}
    figure, axes = plt.subplots(figsize=(8.4, 3.6), layout="constrained")
    for (metric, label), marker in zip(shown.items(), "os^", strict=True):
        points = [
            (time.value, row, split)
            for split in splits
            if (time := times[split]) and (row := told.get((metric, split)))
        ]
        if not points:
            continue
        x, y = [time for time, _, _ in points], [row.value for _, row, _ in points]
        bars = np.transpose([(row.value - row.lo, row.hi - row.value) for _, row, _ in points])
        axes.errorbar(x, y, yerr=bars, marker=marker, markersize=5, capsize=3, label=label)
        for time, row, split in points:
            place = {"textcoords": "offset points", "xytext": (6, 6), "fontsize": "x-small"}
            axes.annotate(split.partition("=")[2], (time, row.value), **place)
    axes.axvline(AIMS[0].at_most, linestyle=":", color="gray", label="aim of the default")
    axes.margins(x=0.1)
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1.05)
    axes.set_xlabel("ms that one in a hundred plain requests takes longer than (p99), over HTTP")
    axes.set_ylabel("share; numbers: candidates retrieved")
    finish(file, figure, axes)


def main() -> None:
    options = parser().parse_args()
    found = grid.run(cells(options), options)
    rows = result_rows(found)
    spare(options.out, "recommend", rows)
    draw(options.out / "recall.png", rows)
    made = next((cell for name, cell in found.items() if name.startswith("made-")), {})
    words = _WORDS.format(
        items=options.items,
        people=Inventory(options.items).people,
        epochs=service.EPOCHS,
        kind=made.get("index_kind", "not built yet"),
        reason=made.get("index_reason", "nobody has asked"),
        calls=CALLS,
        most=service.MOST,
        default=RETRIEVE,
        nearest=NEAREST_PEOPLE,
        k=K,
        ranked=RANKED_PEOPLE,
        completing=COMPLETING,
    )
    told = {"items": options.items, "turns": options.turns, "k": K, "retrieve": list(SIZES)}
    told |= {"calls": CALLS, "epochs": service.EPOCHS, **dials()}
    given = printed.given(parser(), options)
    about = About("recommend", _TITLE, words.strip(), "request", given, AIMS)
    publish(options.out, rows, found, told, about)


if __name__ == "__main__":
    main()
