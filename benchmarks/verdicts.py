"""Whether a ranker that is not trained again kept its AUC when its bundle was refreshed.

Takes the rows of `benchmarks/refresh.py`, gives verdicts and a table of them; never measures
anything. A change is paired: one ranker, the same rows, two bundles.
"""

from collections.abc import Iterator, Mapping, Sequence

from pages import table
from paired import OVER_USERS

from graphsvc.report import Row
from kge.train import FRAME_KEPT

#: AUC may fall by so much.
MARGIN = 0.002
#: What has to fall by more, or the margin says nothing: vectors of another frame.
HAVE_TO_FALL = ("re-init", "TransR, re-init")
KEPT, FELL, OPEN = "kept", "fell", "not decided"

_WORDS = f"""
## Kept, or fell

`kept`: both 95 % intervals of `auc_change` lie wholly above -{MARGIN:g}, that over seeds and that
over users of the mean of all seeds; `fell`: both lie below; `{OPEN}`: neither. All refreshes
together are kept where each is, and fell where each did. In brackets: how many seeds say the same,
each by its own bootstrap over users. A ranker whose `auc_lift` is not above 0
by the same intervals reads nothing from its vectors, and keeps nothing by it.
"""


def verdict(rows: Sequence[Row]) -> str:
    """Of one change, by both of its intervals; a row without one decides nothing."""
    if all(row.lo is not None and row.lo > -MARGIN for row in rows):
        return KEPT
    if all(row.hi is not None and row.hi < -MARGIN for row in rows):
        return FELL
    return OPEN


def verdicts(rows: Sequence[Row]) -> dict[str, dict[str, str]]:
    """`way / arm` -> refresh, or `all` -> verdict; refreshes in their order."""
    told: dict[str, dict[str, str]] = {}
    for row in _whole(rows, "auc_change"):
        asked = _alike(rows, row)
        told.setdefault(row.model, {})[row.split.removeprefix("refresh=")] = verdict(asked)
    return {name: each | {"all": _together(list(each.values()))} for name, each in told.items()}


def _together(each: Sequence[str]) -> str:
    return each[0] if len(set(each)) == 1 else OPEN


def _alike(rows: Sequence[Row], row: Row) -> list[Row]:
    """A figure over all seeds: with its interval over them, and with that over users."""
    metrics = (row.metric, row.metric + OVER_USERS)
    every = (one for one in rows if one.seed == "all" and one.metric in metrics)
    return [one for one in every if (one.split, one.model) == (row.split, row.model)]


def refused(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Way -> the refreshes, of any seed, that the service would not take for the same frame."""
    told: dict[str, list[str]] = {}
    for row in rows:
        if row.metric == "frame_kept" and row.seed != "all" and row.value < FRAME_KEPT:
            where = f"{row.split.removeprefix('refresh=')} of seed {row.seed} ({row.value:.3f})"
            told.setdefault(row.model, []).append(where)
    return told


def section(rows: Sequence[Row]) -> str:
    """What a page says of all this; nothing without a chain."""
    told = verdicts(rows)
    if not told:
        return ""
    return "\n\n".join([_WORDS.strip(), _table(rows, told), *_sentences(rows, told)])


def _table(rows: Sequence[Row], told: Mapping[str, Mapping[str, str]]) -> str:
    changes = {(row.model, row.split): row for row in _whole(rows, "auc_change")}
    lifts = {row.model: row for row in _whole(rows, "auc_lift")}
    refreshes = [name for name in next(iter(told.values())) if name != "all"]
    lines = []
    for name, each in told.items():
        seen = _alike(rows, lifts[name])
        above = "yes" if all(one.lo is not None and one.lo > 0 for one in seen) else "no"
        wholes = {n: changes[name, f"refresh={n}"] for n in each if n != "all"}
        shown = [
            f"{wholes[n].value:+.4f} {each[n]}{_alone(rows, wholes[n])}" if n in each else ""
            for n in refreshes
        ]
        lines.append((name, above, *shown, each["all"]))
    names = ("way / how the ranker reads vectors", "lift above 0")
    return table((*names, *(f"refresh {n}" for n in refreshes), "all"), lines, left=1)


def _alone(rows: Sequence[Row], whole: Row) -> str:
    """How many seeds say the same as all of them, each by its own interval over users."""
    same = (whole.metric, whole.split, whole.model)
    seeds = [one for one in rows if (one.metric, one.split, one.model) == same]
    seeds = [one for one in seeds if one.seed != "all"]
    agree = sum(verdict([one]) == verdict(_alike(rows, whole)) for one in seeds)
    return f" ({agree}/{len(seeds)})" if len(seeds) > 1 else ""


def _sentences(rows: Sequence[Row], told: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    for name, each in told.items():
        if name.rpartition(" / ")[0] in HAVE_TO_FALL:
            said = (
                "as it has to"
                if each["all"] == FELL
                else "so by this ranker the margin is not shown to notice another frame"
            )
            yield f"`{name}` is vectors of another frame: {each['all']}, {said}."
    for way, where in refused(rows).items():
        yield (
            f"The service would refuse the chain of `{way}`: `frame_kept` is below {FRAME_KEPT:g} "
            f"at refresh {', '.join(where)}, so it is another frame, beside which no ranker of "
            f"before is promoted."
        )


def _whole(rows: Sequence[Row], metric: str) -> list[Row]:
    return [row for row in rows if row.metric == metric and row.seed == "all"]
