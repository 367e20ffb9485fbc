"""Crossing layers at matched FLOPs: ML-DCN beside DCNv2, MaskNet, WuKong, RankMixer and an MLP.

    .venv/bin/python benchmarks/ctr_flops.py
    .venv/bin/python benchmarks/ctr_flops.py --format retailrocket --data FOLDER
    .venv/bin/python benchmarks/ctr_flops.py --format criteo --data FILE --name criteo
    .venv/bin/python benchmarks/ctr_flops.py --format table --data FILE --name shop
                     --label click --user user --item item --time time --fields category brand
    .venv/bin/python benchmarks/ctr_flops.py --why
    .venv/bin/python benchmarks/ctr_flops.py --peers

Without `--data`, MovieLens-100k; its second protocol is `--split global_time --name ml-global`.
Each set has a page of its own. Files may be larger than memory: they are read in blocks, before the
first cell is measured, and their codes are kept in the work folder.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import ctr_cells
import ctr_leads
import ctr_pages
import ctr_peers
import ctr_trials
import grid
import printed
from aims import Aim
from ctr_cells import Bench, NotYet
from ctr_data import Encoding, digest, encoded
from ctr_movielens import movielens
from ctr_retailrocket import shop
from ctr_sources import Source, SourceError, avazu, criteo
from publish import About, publish

from api.demo.data import fetch
from api.errors import ApiError
from api.settings import read_settings

AIMS = (
    Aim("auc_difference_over_seeds", at_least=0.0),
    Aim("auc_difference_over_users", at_least=0.0),
)
FORMATS = ("movielens", "retailrocket", "criteo", "avazu", "table")
_TITLE = "Crossing layers at matched FLOPs"
_ERRORS = (NotYet,)


def parser() -> argparse.ArgumentParser:
    made = grid.arguments(__doc__.splitlines()[0], "docs/benchmarks/ctr-flops")
    made.add_argument("--format", default="movielens", help="or retailrocket, criteo, avazu, table")
    made.add_argument(
        "--data", type=Path, help="the file; of movielens and retailrocket the folder"
    )
    made.add_argument("--name", help="of the set; by default the format")
    made.add_argument("--work", type=Path, help="folder of codes, by default in the cache")
    for column in ("label", "user", "item", "time"):
        made.add_argument(f"--{column}", help=f"the column of the {column}, in a table")
    made.add_argument("--positive", type=float, default=1.0, help="a label from here on is a 1")
    made.add_argument("--fields", nargs="*", default=[], help="further columns of names")
    made.add_argument("--numbers", nargs="*", default=[], help="columns of numbers")
    made.add_argument("--delimiter", default=",", help="of a table; \\t for a tab")
    made.add_argument("--split", default="per_user_time", help="or global_time")
    made.add_argument("--min-rows", type=int, default=2, help="TRAIN rows a value needs")
    made.add_argument("--times", type=float, nargs="+", default=[1, 2, 4, 8], help="budgets")
    made.add_argument("--trials", type=int, default=8, help="of each arm at each budget")
    made.add_argument("--seeds", type=int, default=5, help="2 to 11")
    made.add_argument("--embedding", type=int, default=16)
    made.add_argument("--hidden", type=int, default=64, help="numbers of the head")
    made.add_argument("--batch", type=int, default=512)
    made.add_argument("--epochs", type=int, default=20)
    made.add_argument("--patience", type=int, default=2, help="looks without a better AUC")
    made.add_argument("--looks", type=int, default=1, help="at VALID, per epoch")
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--why", action="store_true", help="measure one change at a time instead")
    made.add_argument("--why-times", type=float, default=1, help="the budget of --why")
    made.add_argument("--peers", action="store_true", help="beside FuxiCTR: ours, and the split")
    return made


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    asked = parser()
    options = asked.parse_args(argv)
    if options.format not in FORMATS:
        asked.error(f"--format should be one of {', '.join(FORMATS)}: {options.format!r}")
    if options.split not in ("per_user_time", "global_time"):
        asked.error(f"--split should be per_user_time or global_time, received {options.split!r}")
    if options.data is None and options.format != "movielens":
        asked.error("--data should name what to read")
    if options.format == "table" and not options.label:
        asked.error("--label should name a column of the table")
    if options.format == "table" and not (options.user or options.fields):
        asked.error("--user or --fields should name columns of the table")
    if options.trials < 1 or not 1 <= options.seeds <= 11:
        asked.error("--trials should be at least 1, --seeds from 1 to 11")
    if options.format in ("criteo", "avazu") or (options.format == "table" and not options.user):
        options.split = "global_time"  # nobody knows whose rows they are
    options.name = options.name or options.format
    options.work = options.work or read_settings().cache_dir / "ctr"
    options.out = options.out / options.name
    return options


def source_of(options: argparse.Namespace) -> Source:
    """What `--data` is. Raises `SourceError` and `ApiError`."""
    if options.format == "movielens":
        folder = fetch(options.data, read_settings().cache_dir)
        return movielens(folder, options.work)
    if options.format == "retailrocket":
        return shop(options.data, options.work)
    if not options.data.is_file():
        raise SourceError(f"--data should name a file, received {options.data}")
    if options.format == "criteo":
        return criteo(options.data)
    if options.format == "avazu":
        return avazu(options.data)
    names = [name for name in (options.user, options.item) if name]
    return Source(
        file=options.data,
        label=options.label,
        positive=options.positive,
        fields=list(dict.fromkeys([*names, *options.fields])),
        numbers=options.numbers,
        user=options.user,
        item=options.item,
        time=options.time,
        delimiter="\t" if options.delimiter == "\\t" else options.delimiter,
    )


def bench_of(options: argparse.Namespace) -> Bench:
    """Ready to name cells; clicks are read when the first cell needs them."""
    source, encoding = source_of(options), Encoding(split=options.split, min_rows=options.min_rows)
    key = digest(source, encoding)
    return Bench(options, key, partial(encoded, source, encoding, options.work, key))


def cells(bench: Bench, mode: str) -> dict[str, grid.Measure]:
    """Those of one of `MODES`."""
    return MODES[mode](bench)


def peer_cells(bench: Bench) -> dict[str, grid.Measure]:
    """Ours by FuxiCTR's dials."""
    made: dict[str, grid.Measure] = {}
    for name in ctr_peers.NAMES:
        for seed in range(1, bench.options.seeds + 1):
            made[_peer_key(bench, f"peer-{name}-{seed}")] = partial(_peer, bench, name, seed)
    return made


def _peer_key(bench: Bench, stem: str) -> str:
    """Another one where the data or what both sides have alike is another."""
    sizes = (ctr_peers.LAYERS, ctr_peers.BLOCKS, ctr_peers.BLOCK_WIDTH)
    return grid.named(stem, *bench.shared, sizes)


def _peer(bench: Bench, name: str, seed: int) -> Mapping[str, Any]:
    return ctr_peers.measure(bench.clicks, bench.base, name, seed)


MODES: Mapping[str, Callable[[Bench], dict[str, grid.Measure]]] = {
    "grid": ctr_cells.cells,
    "why": ctr_cells.why_cells,
    "peers": peer_cells,
}


def export(bench: Bench) -> None:
    """The split for FuxiCTR, in the work folder: data stay out of the page's."""
    folder: Path = bench.options.work / bench.key / "peers"
    key = _peer_key(bench, "peers")
    ctr_peers.export(bench.clicks, bench.base, bench.options.seeds, folder, key)
    grid.console.print(
        f"for benchmarks/ctr_fuxictr.py: --split {folder} --out {bench.options.out}", markup=False
    )


def everything(bench: Bench) -> dict[str, Mapping[str, Any]]:
    """What there is of all cells of this set, by whichever of the three commands."""
    told = {name: bench.told(name) for mode in MODES for name in cells(bench, mode)}
    return {name: cell for name, cell in told.items() if cell is not None}


def write(bench: Bench) -> None:
    """Report, page and pictures of what was measured."""
    options, clicks, found = bench.options, bench.clicks, everything(bench)
    runs = ctr_leads.runs_of(found, options.out)
    leads = ctr_leads.compared(runs)
    made = ctr_pages.changes(found)
    ours = [cell for cell in found.values() if "peer" in cell]
    others = ctr_peers.theirs(options.out, _peer_key(bench, "peers"))
    rows = ctr_pages.rows_of(found)
    rows += [*ctr_pages.reference(clicks), *ctr_leads.rows_of(leads), *made]
    rows += [*ctr_leads.by_history(runs), *ctr_peers.rows_of(ours, others)]
    base = ctr_trials.budget(len(clicks.sizes), 1, bench.base)
    ctr_pages.pictures(options, rows, made, base)
    parts = [
        ctr_pages.words(options, clicks, bench.base),
        "![AUC against FLOPs](auc.png)" if leads else "",
        ctr_leads.section(leads, clicks.clustered_by),
        ctr_pages.dials_section(found),
        ctr_pages.screen_section(rows),
        ctr_pages.why_section(made),
        ctr_pages.peers_section(ours, others),
    ]
    dials = {"base_flops": base, "fields": dict(clicks.sizes), "rows": len(clicks.label)}
    names = ("split", "min_rows", "times", "trials", "seeds", "embedding", "hidden", "batch")
    dials |= {name: getattr(options, name) for name in (*names, "epochs", "patience", "looks")}
    given = printed.given(parser(), options, leave=("out", "why", "peers"))
    words = "\n\n".join(part for part in parts if part)
    about = About("ctr_flops", f"{_TITLE}: {options.name}", words, "arm", given, AIMS)
    publish(options.out, rows, found, dials, about)


def main() -> None:
    options = arguments()
    try:
        bench = bench_of(options)
        mode = "peers" if options.peers else "why" if options.why else "grid"
        outcome = grid.measure(cells(bench, mode), options, _ERRORS)
        if not options.list:
            write(bench)
        if options.peers and not options.list:
            export(bench)
    except (SourceError, ApiError) as error:
        raise SystemExit(f"error: {error}") from error
    sys.exit(outcome.code)


if __name__ == "__main__":
    main()
