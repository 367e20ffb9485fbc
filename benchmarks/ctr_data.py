"""A file of clicks as codes on disk: a row of numbers per click, made once and then mapped.

Takes a source, gives `Clicks`; never holds a field of all rows as text. Codes of a field: 0 for
what TRAIN has too seldom, then its values by falling frequency in TRAIN.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import ctr_spans
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ctr_sources import Block, Source, SourceError, blocks
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

#: Values of a field that are counted at the same time; beyond, the rarest are forgotten.
MOST_VALUES = 4_000_000
#: Clusters that rows are put into for the bootstrap, at most: more say no more and cost memory.
MOST_CLUSTERS = 5_000
_COUNTED = ("user_rate", "user_rows", "item_rate", "item_rows")


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How a source becomes codes."""

    #: per_user_time or global_time
    split: str = "per_user_time"
    #: TRAIN rows that a value needs for an embedding of its own.
    min_rows: int = 2


class Clicks(NamedTuple):
    """n rows of F fields, on disk."""

    #: [n, F]
    codes: NDArray[np.int32]
    label: NDArray[np.int8]
    span: NDArray[np.int8]
    #: What the bootstrap draws: the user, or a group of rows.
    cluster: NDArray[np.int32]
    #: Ones of the row's user before it; 0 where nobody knows whose rows they are.
    history: NDArray[np.int64]
    #: field -> how many codes it has, in the order of the columns of `codes`
    sizes: Mapping[str, int]
    #: users, or rows
    clustered_by: str

    def rows(self, span: int) -> NDArray[np.int64]:
        return np.flatnonzero(self.span == span)


class _Heads(NamedTuple):
    """What is known of every row before its fields are read."""

    label: NDArray[np.int8]
    user: NDArray[np.int64] | None
    item: NDArray[np.int64] | None
    time: NDArray[np.int64]


def digest(source: Source, encoding: Encoding) -> str:
    """Of what the file holds, wherever it lies, and of how it is read."""
    with source.file.open("rb") as stream:
        whole = hashlib.file_digest(stream, "sha256")
    told = asdict(source) | asdict(encoding) | {"file": None, "shares": ctr_spans.SHARES}
    whole.update(json.dumps(told, sort_keys=True).encode())
    return whole.hexdigest()[:12]


def encoded(source: Source, encoding: Encoding, work: Path, key: str) -> Clicks:
    """The codes of a file, from the folder `work`/`key`, where they are made the first time."""
    folder = work / key
    if not folder.exists():
        half = work / f"{key}.half"
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        _encode(source, encoding, half)
        half.rename(folder)
    told = json.loads((folder / "fields.json").read_text())
    columns = (np.load(folder / f"{n}.npy", mmap_mode="r") for n in Clicks._fields[:5])
    return Clicks(*columns, told["sizes"], told["clustered_by"])


def _encode(source: Source, encoding: Encoding, folder: Path) -> None:
    heads = _heads(source)
    same = np.zeros(len(heads.label), np.int64)
    own = heads.user if encoding.split == "per_user_time" else None
    span = ctr_spans.spans(same if own is None else own, heads.time)
    fields = [*source.fields, *source.numbers, *source.ends]
    known = _known(source, fields, span == ctr_spans.TRAIN, encoding.min_rows)
    counted = _counted(heads, span)
    sizes = {name: 1 + len(values) for name, values in known.items()}
    sizes |= {name: 1 + int(column.max()) for name, column in counted.items()}
    codes = open_memmap(
        folder / "codes.npy", mode="w+", dtype=np.int32, shape=(len(span), len(sizes))
    )
    for place, name in enumerate(counted, len(fields)):
        codes[:, place] = counted[name]
    start = 0
    for block in _fields(source, fields):
        stop = start + len(block[fields[0]])
        for place, name in enumerate(fields):
            codes[start:stop, place] = _codes(block[name], known[name])
        start = stop
    codes.flush()
    np.save(folder / "label.npy", heads.label)
    np.save(folder / "span.npy", span)
    np.save(folder / "cluster.npy", clusters(heads.user, len(span)))
    past = (
        same if heads.user is None else ctr_spans.ones_before(heads.user, heads.time, heads.label)
    )
    np.save(folder / "history.npy", past)
    by = "rows" if heads.user is None else "users"
    told = {"sizes": sizes, "clustered_by": by}
    (folder / "fields.json").write_text(json.dumps(told, indent=1))


def _heads(source: Source) -> _Heads:
    """Label, user, item and time of all rows. Raises `SourceError`."""
    wanted = {"label": source.label, "user": source.user, "item": source.item, "time": source.time}
    columns = {part: name for part, name in wanted.items() if name}
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    parts: dict[str, list[np.ndarray]] = {part: [] for part in columns}
    for block in blocks(source, list(dict.fromkeys(columns.values()))):
        for part, name in columns.items():
            if part in ("user", "item"):
                made = _numbered(block[name], users if part == "user" else items)
            else:
                made = _as_numbers(block[name], name)
            parts[part].append(made)
    whole = {part: np.concatenate(made) for part, made in parts.items() if made}
    if "label" not in whole or not len(whole["label"]):
        raise SourceError(f"{source.file.name} should have rows, received none")
    if np.isnan(whole["label"]).any():
        raise SourceError(f"column {source.label} should hold a number in every row")
    time = whole.get("time", np.arange(len(whole["label"])))
    if np.isnan(time).any():
        raise SourceError(f"column {source.time} should hold a number in every row")
    label = (whole["label"] >= source.positive).astype(np.int8)
    return _Heads(label, whole.get("user"), whole.get("item"), time.astype(np.int64))


def _numbered(values: pa.Array, known: dict[str, int]) -> NDArray[np.int64]:
    """A number per distinct text, by its first appearance."""
    told = values.dictionary_encode()
    numbers = [known.setdefault(text, len(known)) for text in told.dictionary.to_pylist()]
    return np.array(numbers, np.int64)[told.indices.to_numpy(zero_copy_only=False)]


def _as_numbers(values: pa.Array, name: str) -> np.ndarray:
    """float64; NaN where there is nothing. Raises `SourceError`."""
    told = values.dictionary_encode()
    try:
        numbers = [float(text) if text else np.nan for text in told.dictionary.to_pylist()]
    except ValueError as error:
        raise SourceError(f"column {name} should hold numbers: {error}") from error
    return np.array(numbers, np.float64)[told.indices.to_numpy(zero_copy_only=False)]


def _fields(source: Source, fields: Sequence[str]) -> Iterator[Block]:
    """The fields of all rows as texts, block by block; numbers as the names of their buckets."""
    asked = dict.fromkeys([*source.fields, *source.numbers, *source.ends.values()])
    for block in blocks(source, list(asked)):
        made: dict[str, pa.Array] = {name: block[name] for name in source.fields}
        for name in source.numbers:
            told = block[name].dictionary_encode()
            named = bucket_names(_as_numbers(told.dictionary, name))
            made[name] = pa.array(named, pa.string()).take(told.indices)
        for name, column in source.ends.items():
            made[name] = pc.utf8_slice_codeunits(block[column], start=-2)
        yield {name: made[name] for name in fields}


def bucket_names(values: np.ndarray) -> list[str]:
    """The name of each number's bucket: v up to 2, from there on floor(ln(v)^2); "" for nothing.

    As winners of Criteo's contest did it: buckets become wider as numbers grow.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        steps = np.where(values > 2, np.floor(np.log(values) ** 2), np.floor(values))
    large = values > 2
    return [
        "" if np.isnan(step) else f"{'l' if big else 's'}{int(step)}"
        for step, big in zip(steps, large, strict=True)
    ]


def _known(
    source: Source, fields: Sequence[str], train: np.ndarray, min_rows: int
) -> dict[str, dict[str, int]]:
    """Field -> value -> code, of the values that TRAIN has often enough."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in fields}
    forgotten = dict.fromkeys(fields, 0)
    start = 0
    for block in _fields(source, fields):
        stop = start + len(block[fields[0]])
        chosen = pa.array(train[start:stop])
        for name in fields:
            for told in block[name].filter(chosen).value_counts().to_pylist():
                counts[name][told["values"]] += told["counts"]
            if len(counts[name]) > MOST_VALUES:
                forgotten[name] += 1
                counts[name] = forget(counts[name], forgotten[name])
        start = stop
    known = {}
    for name, seen in counts.items():
        often = sorted((-count, value) for value, count in seen.items() if count >= min_rows)
        known[name] = {value: code for code, (_, value) in enumerate(often, 1)}
    return known


def forget(counts: Counter[str], at_most: int) -> Counter[str]:
    """Without the values that were seen so seldom: memory stays bounded, rare values go first."""
    return Counter({value: count for value, count in counts.items() if count > at_most})


def _codes(values: pa.Array, known: Mapping[str, int]) -> NDArray[np.int32]:
    told = values.dictionary_encode()
    codes = [known.get(text, 0) for text in told.dictionary.to_pylist()]
    return np.array(codes, np.int32)[told.indices.to_numpy(zero_copy_only=False)]


def _counted(heads: _Heads, span: NDArray[np.int8]) -> dict[str, NDArray[np.int32]]:
    """Fields of counters, where it is known who and what; none elsewhere."""
    if heads.user is None or heads.item is None:
        return {}
    columns: list[Any] = []
    for key in (heads.user, heads.item):
        columns += ctr_spans.pasts(key, heads.time, heads.label, span)
    return dict(zip(_COUNTED, columns, strict=True))


def clusters(user: NDArray[np.int64] | None, count: int) -> NDArray[np.int32]:
    """What a bootstrap draws: whole users, or rows where nobody knows whose they are.

    Beyond `MOST_CLUSTERS` of them, as many groups of them, put together by chance.
    """
    key = np.arange(count) if user is None else user
    distinct = int(key.max()) + 1
    if distinct <= MOST_CLUSTERS:
        return key.astype(np.int32)
    group = np.random.default_rng(0).integers(MOST_CLUSTERS, size=distinct)
    return group[key].astype(np.int32)
