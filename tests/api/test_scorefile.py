"""A file of pairs becomes parts: in its order, once each, and never of two runs."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from loops import silent

from api import scorefile
from api.errors import FileUnreadable, Invalid
from api.pairs import REASONS, STATES, Answering, Ids, PairScores
from api.scorefile import Columns, Done, Run, run_of, score_file

VERSIONS = {"bundle": "b", "index": "i", "ranker": "r"}
HEADS = ["u1", "u2", "u1", None, "u3", "u2", "u4"]
TAILS = ["7", "5", "3", "2", "gone", "1", "9"]


def ids_of(ids: Ids) -> list[str | None]:
    return [None if code < 0 else ids.names[code] for code in ids.codes.tolist()]


def score(heads: Ids, candidates: Ids) -> Answering:
    """A candidate's name is its probability in hundredths; one that is no number has none."""
    reasons = [
        "id missing" if head is None else None if str(name).isdigit() else "retired"
        for head, name in zip(ids_of(heads), ids_of(candidates), strict=True)
    ]
    told = [
        np.nan if why else int(str(name)) / 100
        for why, name in zip(reasons, ids_of(candidates), strict=True)
    ]
    why = np.array([REASONS.index(reason) for reason in reasons], dtype=np.int8)
    cold = STATES.index("cold")
    known, others = (
        np.array([-1 if name is None else number for name in ids_of(ids)], dtype=np.int8)
        for ids, number in ((heads, STATES.index("learned")), (candidates, cold))
    )
    return lambda: PairScores(
        probabilities={"ctr": np.array(told)}, why=why, heads=known, candidates=others
    )


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seven rows in row groups of three; parts have two."""
    monkeypatch.setattr(scorefile, "PART_ROWS", 2)
    table = pa.table({"other": range(7), "head": HEADS, "candidate": TAILS})
    pq.write_table(table, tmp_path / "pairs.parquet", row_group_size=3)
    return tmp_path / "pairs.parquet"


def described(file: Path) -> Run:
    return run_of(file, Columns(), position=None, versions=VERSIONS)


def scores_of(folder: Path) -> dict[str, list]:
    parts = [pq.read_table(part) for part in sorted(folder.glob("part-*.parquet"))]
    assert [part.num_rows for part in parts] == [2, 2, 2, 1]
    return pa.concat_tables(parts).to_pydict()


EXPECTED = {
    "head": HEADS,
    "candidate": TAILS,
    "ctr": [0.07, 0.05, 0.03, None, None, 0.01, 0.09],
    "reason": [None, None, None, "id missing", "retired", None, None],
    "head_state": [*["learned"] * 3, None, *["learned"] * 3],
    "candidate_state": ["cold"] * 7,
}


def test_parts_have_the_rows_of_the_file_in_its_order(file: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    done = score_file(
        file,
        tmp_path / "to",
        described(file),
        score,
        lambda rows, of, _note: told.append((rows, of)),
    )
    assert done == Done(rows=7, resumed=0, unscored=2, parts=4)
    assert told == [(0, 7), (2, 7), (4, 7), (6, 7), (7, 7)]
    assert scores_of(tmp_path / "to") == EXPECTED


@pytest.mark.parametrize("whole", [0, 1, 2, 3])
def test_what_ended_early_goes_on_behind_its_last_part(
    file: Path, tmp_path: Path, whole: int
) -> None:
    """Rows of whole parts are not scored again, whatever row group they lie in."""
    calls: list[int] = []

    def breaking(heads: Ids, candidates: Ids) -> Answering:
        if len(calls) == whole:
            raise KeyboardInterrupt
        calls.append(len(heads.codes))
        return score(heads, candidates)

    to = tmp_path / "to"
    with pytest.raises(KeyboardInterrupt):
        score_file(file, to, described(file), breaking, silent)
    assert len(list(to.glob("part-*.parquet"))) == whole
    (to / "part-000003.parquet.unfinished").write_bytes(b"half of it")
    seen: list[str | None] = []

    def watching(heads: Ids, candidates: Ids) -> Answering:
        seen.extend(ids_of(candidates))
        return score(heads, candidates)

    done = score_file(file, to, described(file), watching, silent)
    assert done == Done(rows=7, resumed=2 * whole, unscored=2, parts=4)
    assert seen == TAILS[2 * whole :]
    assert scores_of(to) == EXPECTED


def test_a_part_is_begun_before_the_one_in_front_of_it_is_waited_for(
    file: Path, tmp_path: Path
) -> None:
    steps: list[str] = []

    def watching(heads: Ids, candidates: Ids) -> Answering:
        number = sum(step.startswith("begun") for step in steps)
        steps.append(f"begun {number}")
        answering = score(heads, candidates)

        def answer() -> PairScores:
            steps.append(f"asked {number}")
            return answering()

        return answer

    score_file(file, tmp_path / "to", described(file), watching, silent)
    assert steps == [
        *("begun 0", "begun 1", "asked 0", "begun 2", "asked 1", "begun 3", "asked 2", "asked 3"),
    ]
    assert scores_of(tmp_path / "to") == EXPECTED


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary("int8", "string")])
def test_an_empty_id_is_none_and_kinds_of_text_are_alike(tmp_path: Path, kind: pa.DataType) -> None:
    columns = {"head": ["u1", "", None, "u1"], "candidate": ["7", "5", "3", "2"]}
    table = pa.table({name: pa.array(ids, pa.string()).cast(kind) for name, ids in columns.items()})
    pq.write_table(table, tmp_path / "kinds.parquet")
    run = described(tmp_path / "kinds.parquet")
    score_file(tmp_path / "kinds.parquet", tmp_path / "to", run, score, silent)
    found = pq.read_table(tmp_path / "to" / "part-000000.parquet").to_pydict()
    assert found == {
        **columns,
        "ctr": [0.07, None, None, 0.02],
        "reason": [None, "id missing", "id missing", None],
        "head_state": ["learned", None, None, "learned"],
        "candidate_state": ["cold"] * 4,
    }


def test_a_part_that_was_begun_is_kept_where_the_next_cannot_be_read(tmp_path: Path) -> None:
    """The second row group has an id that is no text in UTF-8."""
    heads = pa.array([b"u1", b"u2", b"\xff", b"u4"], pa.binary()).view(pa.string())
    table = pa.table({"head": heads, "candidate": ["7", "5", "3", "2"]})
    pq.write_table(table, tmp_path / "broken.parquet", row_group_size=2)
    run = dataclasses.replace(described(tmp_path / "broken.parquet"), part_rows=2)
    with pytest.raises(FileUnreadable, match="cannot be read"):
        score_file(tmp_path / "broken.parquet", tmp_path / "to", run, score, silent)
    assert [part.name for part in (tmp_path / "to").glob("part-*")] == ["part-000000.parquet"]


def test_a_run_that_is_through_scores_nothing_again(file: Path, tmp_path: Path) -> None:
    score_file(file, tmp_path / "to", described(file), score, silent)

    def never(_heads: Ids, _candidates: Ids) -> Answering:
        raise AssertionError

    done = score_file(file, tmp_path / "to", described(file), never, silent)
    assert done == Done(rows=7, resumed=7, unscored=2, parts=4)


def test_no_folder_holds_two_runs(file: Path, tmp_path: Path) -> None:
    score_file(file, tmp_path / "to", described(file), score, silent)
    newer = run_of(file, Columns(), position=None, versions={**VERSIONS, "ranker": "s"})
    with pytest.raises(Invalid, match=r"another run, which differs in versions; "):
        score_file(file, tmp_path / "to", newer, score, silent)
    placed = run_of(file, Columns(), position=1, versions=VERSIONS)
    with pytest.raises(Invalid, match=r"which differs in position; "):
        score_file(file, tmp_path / "to", placed, score, silent)
    pq.write_table(pa.table({"head": HEADS[:4], "candidate": TAILS[:4]}), file)
    with pytest.raises(Invalid, match=r"which differs in bytes, modified_ns, rows; "):
        score_file(file, tmp_path / "to", described(file), score, silent)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(Invalid, match="should be an empty folder or one of this run"):
        score_file(file, tmp_path / "full", described(file), score, silent)
    with pytest.raises(Invalid, match="should be a folder, received the file"):
        score_file(file, file, described(file), score, silent)
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"


def test_a_file_without_rows_has_no_parts(tmp_path: Path) -> None:
    empty = pa.table({"head": pa.array([], pa.string()), "candidate": pa.array([], pa.string())})
    pq.write_table(empty, tmp_path / "empty.parquet")
    run = described(tmp_path / "empty.parquet")
    done = score_file(tmp_path / "empty.parquet", tmp_path / "to", run, score, silent)
    assert done == Done(rows=0, resumed=0, unscored=0, parts=0)


@pytest.mark.parametrize(
    ("columns", "kind", "says"),
    [
        (Columns("user"), FileUnreadable, "has no column 'user'; it has other, head, candidate"),
        (
            Columns("other"),
            FileUnreadable,
            "other of .* should be text, as ids are, received int64",
        ),
        (Columns("ctr"), Invalid, "should not be called ctr"),
    ],
)
def test_columns_that_hold_no_ids_are_refused(
    file: Path, columns: Columns, kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        run_of(file, columns, position=None, versions=VERSIONS)


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs.parquet").write_text("user,film\n")
    for file in (tmp_path / "pairs.parquet", tmp_path / "missing.parquet"):
        with pytest.raises(FileUnreadable, match="cannot be read"):
            described(file)
