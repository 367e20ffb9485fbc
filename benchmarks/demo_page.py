"""The figures of docs/demo.md, from the report that `make demo` wrote.

    .venv/bin/python benchmarks/demo_page.py --report report.json

A table stands between `<!-- KIND SPLIT -->` and `<!-- end -->`; what is between is replaced, all
other words stay. Kinds: `retrieval`, `ranking`, `differences` (of AUC) and `slices`, whose split is
the beginning of those of the slices, e.g. `global_time/test/history=`. `made` is the run itself,
`hybrid` what ID tables and upper model of the promoted ranker take, `erasure` what became of the
person who is erased at the end.
"""

import argparse
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from api.demo import forget
from api.demo.show import gpu_line
from graphsvc.report import Row, rows_of

PAGE = Path(__file__).resolve().parents[1] / "docs" / "demo.md"
_PLACE = re.compile(r"<!-- (\w+)(?: (\S+))? -->\n.*?<!-- end -->", re.DOTALL)
_NAMES = {
    "mrr": "filtered MRR", "hits@10": "Hits@10", "recall@50": "Recall@50",
    "auc": "AUC", "logloss": "logloss", "ece": "ECE",
}  # fmt: skip
_METRICS = {
    "retrieval": ("mrr", "hits@10", "recall@50"),
    "ranking": ("auc", "logloss", "ece"),
    "differences": ("auc",),
    "slices": ("mrr", "hits@10", "auc"),
}


def filled(page: str, report: Mapping[str, Any]) -> str:
    """The page with every table made anew. Raises `SystemExit` for a place without figures."""
    rows = rows_of(report)
    whole = {"made": lambda told: made(told["header"]), "hybrid": hybrid, "erasure": erasure}

    def fill(place: re.Match[str]) -> str:
        kind, split = place.groups()
        inside = whole[kind](report) if kind in whole else table(kind, split, rows)
        head = place.group().partition("\n")[0]
        return f"{head}\n{inside}\n<!-- end -->"

    return _PLACE.sub(fill, page)


def made(header: Mapping[str, Any]) -> str:
    """Commit and machine, in a sentence."""
    machine = header["machine"]
    return (
        f"One run of `make demo` at commit `{header['commit']}`, seed 0, on {machine['cores']} "
        f"cores\n({machine['processor']}, {machine['memory_gib']} GiB), Python {machine['python']}."
    )


def erasure(report: Mapping[str, Any]) -> str:
    """What became of the person who was erased, a point for each sentence."""
    if "erasure" not in report:
        raise SystemExit("the report has no figures of erasure")
    return "\n".join(f"- {sentence.strip()}" for sentence in forget.lines(report["erasure"]))


def hybrid(report: Mapping[str, Any]) -> str:
    """Bytes and tier of each part, then what an answer spends on which."""
    words = report.get("hybrid")
    if words is None:
        raise SystemExit("the report has no figures of hybrid")
    own = [row for row in rows_of(report) if row.split == "demo"]
    value = {(row.metric, row.model): row.value for row in own}
    lines = [["part", "rows", "as trained", "as served", "tier"], ["---"] * 5]
    for part in words["tables"]:
        name = part["name"]
        held = [
            f"{value[f'id_table_{how}_bytes', name]:,.0f} bytes, {part[how]}"
            for how in ("trained", "served")
        ]
        lines.append([name, f"{value['id_table_rows', name]:,.0f}", *held, part["tier"]])
    upper = f"{value['upper_model_bytes', 'upper_model']:,.0f} bytes"
    lines.append(["upper model", "", upper, upper, words["upper"]["tier"]])
    return "\n".join([*(_line(cells) for cells in lines), "", _times(value, words)])


def _times(value: Mapping[tuple[str, str], float], words: Mapping[str, Any]) -> str:
    """In a sentence, and whether any of it was on a GPU in another."""
    [many] = {model for metric, model in value if metric == "hybrid_answer_p50_ms"}
    answer, lookups, upper = (
        value[f"hybrid_{part}_p50_ms", many] for part in ("answer", "lookups", "upper")
    )
    gpu = gpu_line(words)
    return (
        f"An answer of {many} candidates takes {answer:.1f} ms without HTTP, of which lookups are\n"
        f"{lookups:.2f} ms and the upper model {upper:.2f} ms (each a median of its own; it is "
        f"computed by {words['upper']['by']}).\n"
        f"{gpu[0].upper()}{gpu[1:]}."
    )


def table(kind: str, split: str, rows: Sequence[Row]) -> str:
    """The table of one place."""
    if kind not in _METRICS:
        raise SystemExit(f"a place should be one of {', '.join(_METRICS)}, received {kind!r}")
    if kind == "slices":
        found = _slices(split, rows)
    else:
        only = {"ranking": False, "differences": True}.get(kind)
        found = _models(split, _METRICS[kind], only, rows)
    if len(found) == 1:
        raise SystemExit(f"the report has no figures of {kind} {split}")
    head, *body = found
    return "\n".join(_line(cells) for cells in (head, ["---"] * len(head), *body))


def _models(
    split: str, metrics: Sequence[str], differences: bool | None, rows: Sequence[Row]
) -> list[list[str]]:
    """Models down, metrics across; only differences, only others, or both."""
    cells = {(row.model, row.metric): figure(row) for row in rows if row.split == split}
    names = dict.fromkeys(row.model for row in rows if row.split == split)
    wanted = [
        name
        for name in names
        if (name, metrics[0]) in cells and differences in (None, " - " in name)
    ]
    return [
        ["model", *(_NAMES[metric] for metric in metrics)],
        *([name, *(cells.get((name, metric), "") for metric in metrics)] for name in wanted),
    ]


def _slices(prefix: str, rows: Sequence[Row]) -> list[list[str]]:
    """Metrics and models down, slices across."""
    own = [
        row
        for row in rows
        if row.split.startswith(prefix)
        and row.metric in _METRICS["slices"]
        and " - " not in row.model
        and row.model != "constant"
    ]
    cells = {(row.metric, row.model, row.split): figure(row) for row in own}
    splits = list(dict.fromkeys(row.split for row in own))
    what = prefix.rpartition("/")[2].rstrip("=")
    return [
        ["", *(f"{what} {split.removeprefix(prefix)}" for split in splits)],
        *(
            [f"{_NAMES[metric]}, {model}", *(cells.get((metric, model, s), "") for s in splits)]
            for metric, model in dict.fromkeys((row.metric, row.model) for row in own)
        ),
    ]


def figure(row: Row) -> str:
    """A value and its interval; differences with their sign."""
    sign = "+" if " - " in row.model else ""
    if row.lo is None or row.hi is None:
        return f"{row.value:{sign}.4f}"
    return f"{row.value:{sign}.4f} [{row.lo:{sign}.4f}, {row.hi:{sign}.4f}]"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", type=Path, required=True, help="what make demo wrote")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    report = json.loads(options.report.read_text())
    options.page.write_text(filled(options.page.read_text(), report))


if __name__ == "__main__":
    main()
