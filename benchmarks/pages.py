"""A benchmark's report as a Markdown page.

Takes a report, its cells, and words about it; gives text and a header; never measures anything.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from api.provenance import header
from graphsvc.report import Row

#: From here on figures have no decimals.
_MANY = 1000


def page(
    title: str,
    words: str,
    command: str,
    rows: Sequence[Row],
    header: Mapping[str, Any],
    *,
    models: str,
    aims: str = "",
) -> str:
    """Title, words, machine, and a table of the rows that stand for all runs.

    `header` is that of the report; `models` is what the rows' models are; `aims` a section of what
    was to be reached.
    """
    lines = [
        f"# {title}",
        "",
        words.strip(),
        "",
        measured(command, header),
        "",
        *([aims, "", "## All figures", ""] if aims else []),
        f"| metric | {models} | where | value | 95 % interval (t) | unit |",
        "|---|---|---|--:|---|---|",
    ]
    lines += [f"| {' | '.join(cells)} |" for cells in cells_of(rows)]
    return "\n".join(lines) + "\n"


def header_of(cells: Iterable[Mapping[str, Any]], dials: Mapping[str, Any]) -> dict[str, Any]:
    """A report's header: commits and machines are those of the cells.

    Cells may have been measured by several of either, at different times. Of older ones no more
    than the processor was recorded: the rest is taken from the machine that writes the page.
    """
    head, told = header(dials), list(cells)
    head["commit"] = ", ".join(sorted({cell["commit"] for cell in told}))
    for name, here in head["machine"].items():
        of = [cell.get("machine", {}).get(name, here) for cell in told]
        head["machine"][name] = of[0] if len(set(of)) == 1 else "; ".join(sorted(map(str, set(of))))
    head["machine"]["processor"] = "; ".join(sorted({processor_of(cell) for cell in told}))
    return head


def processor_of(cell: Mapping[str, Any]) -> str:
    """On what a cell was measured."""
    return str(cell.get("processor", "a processor that was not recorded"))


def measured(command: str, header: Mapping[str, Any]) -> str:
    """What was run, of which commit and on which machine, as a sentence."""
    machine = header["machine"]
    return (
        f"Measured by `{command}` at commit {header['commit']} on {machine['cores']} cores "
        f"({machine['processor']}), {machine['memory_gib']} GiB, Python {machine['python']}."
    )


def table(names: Sequence[str], lines: Iterable[Sequence[str]], *, left: int) -> str:
    """A Markdown table; all but the first `left` columns are aligned to the right."""
    aligned = "|".join("---" if place < left else "--:" for place in range(len(names)))
    shown = [f"| {' | '.join(cells)} |" for cells in (names, *lines)]
    return "\n".join([shown[0], f"|{aligned}|", *shown[1:]])


def cells_of(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Metric, model, split, value, interval, unit of each figure."""
    return [
        (
            row.metric,
            row.model,
            row.split,
            figure(row.value),
            "" if row.lo is None or row.hi is None else f"{figure(row.lo)} to {figure(row.hi)}",
            row.unit,
        )
        for row in told(rows)
    ]


def figure(value: float) -> str:
    """A number as pages show it."""
    return f"{value:,.0f}" if abs(value) >= _MANY else f"{value:.4g}"


def told(rows: Sequence[Row]) -> list[Row]:
    """One row per figure: of those with several runs, the one over all of them."""
    whole = {(row.metric, row.model, row.split) for row in rows if row.seed == "all"}
    return [
        row
        for row in rows
        if row.seed == "all" or (row.seed == 0 and (row.metric, row.model, row.split) not in whole)
    ]
