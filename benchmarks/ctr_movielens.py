"""MovieLens-100k as one table: ratings with what is known of users and films.

Takes the folder of the five files, gives a CSV in the work folder and its source; never ships the
data, whose owners ask that it is not passed on.
"""

import csv
from pathlib import Path

from ctr_sources import Source
from grid import digest_of

from graphsvc.datasets.movielens import LIKED

NAMES = (
    "user",
    "item",
    "age",
    "gender",
    "occupation",
    "year",
    "genre",
    "genres",
    "rating",
    "time",
)


def movielens(folder: Path, work: Path) -> Source:
    """Eight fields; a rating of at least 4 is a click."""
    held = digest_of(folder / f"ml-100k.{part}" for part in ("inter", "user", "item"))
    file = work / f"ml-100k-{held}.csv"
    if not file.exists():
        work.mkdir(parents=True, exist_ok=True)
        half = file.with_suffix(".half")
        _join(folder, half)
        half.rename(file)
    return Source(
        file=file,
        label="rating",
        positive=LIKED,
        fields=NAMES[:8],
        user="user",
        item="item",
        time="time",
    )


def _join(folder: Path, file: Path) -> None:
    users = {user: (str(int(age) // 5), *told) for user, age, *told in _read(folder, "user")}
    items = {}
    for item, _title, year, genres in _read(folder, "item"):
        half_decade = str(int(year) // 5) if year.isdecimal() else ""
        items[item] = (half_decade, genres.split(" ")[0], genres)
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(NAMES)
        for user, item, rating, time in _read(folder, "inter"):
            age, gender, occupation = users[user][:3]
            writer.writerow(
                (user, item, age, gender, occupation, *items[item], rating, int(float(time)))
            )


def _read(folder: Path, part: str) -> list[list[str]]:
    with (folder / f"ml-100k.{part}").open(encoding="utf-8", newline="") as stream:
        rows = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        next(rows)  # the names of the columns
        return list(rows)
