import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from kge.errors import BadTriples
from kge.files import read_names, read_triples

GOOD = "anna\tknows\tben\nben\tlives in\tRome\n"


def write(folder: Path, **parts: str | bytes) -> list[Path]:
    """train, valid and test; those not given are good."""
    paths = []
    for name in ("train", "valid", "test"):
        content = parts.get(name, GOOD)
        path = folder / f"{name}.tsv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        paths.append(path)
    return paths


def test_three_files_become_a_graph_and_rows_to_rank(tmp_path: Path):
    valid = "ben\tknows\tcleo\t2.5\n\n"
    test = "anna\tlikes\tben\ncleo\tlives in\tRome\n"
    data = read_triples(
        *write(tmp_path, train=GOOD + "zoe\tknows\tben\t0.5", valid=valid, test=test)
    )
    graph = data.graph
    assert graph.ids.tolist() == ["Rome", "anna", "ben", "cleo", "zoe"]
    assert [r.name for r in graph.relations] == ["knows", "lives in"]
    assert data.relation_names == ("knows", "lives in", "likes")
    assert data.train.tolist() == [[1, 0, 2], [2, 1, 0], [4, 0, 2]]
    assert graph.weight.tolist() == [1.0, 1.0, 0.5]
    assert data.valid.tolist() == [[2, 0, 3]]
    # `likes` is not in training: a number behind those that are
    assert data.test.tolist() == [[1, 2, 2], [3, 1, 0]]
    assert (data.unseen_relations, data.unseen_entities) == (("likes",), 1)
    assert graph.degree[3] == 0
    assert [tuple(t) for t in graph.types] == [("entity", 0, 5)]


def test_line_ends_and_marks_of_other_systems_do_not_matter(tmp_path: Path):
    foreign = b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()
    data = read_triples(*write(tmp_path, train=foreign))
    np.testing.assert_array_equal(data.train, data.valid)


@pytest.mark.parametrize(
    ("part", "content", "said"),
    [
        ("train", "", r"train\.tsv holds no triple"),
        ("valid", "\n \n", r"valid\.tsv holds no triple"),
        (
            "test",
            GOOD + "anna knows ben\n",
            r"test\.tsv, line 3 .* has 1 column .*'anna knows ben'",
        ),
        ("train", "a\tb\n", r"train\.tsv, line 1 .* has 2 columns"),
        ("train", "a\tb\tc\t1\t2\n", r"line 1 .* has 5 columns"),
        ("train", "a\t\tc\n", r"line 1 should name head, relation and tail"),
        ("train", "a\tb\tc\theavy\n", r"line 1 .* weight above 0 in column 4, received 'heavy'"),
        ("train", "a\tb\tc\t-1\n", r"weight above 0"),
        ("train", "a\tb\tc\tnan\n", r"weight above 0"),
        ("valid", GOOD.encode() + b"a\tb\tc\xff\n", r"valid\.tsv, line 3 is not UTF-8 \(byte 6\)"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, part: str, content: str | bytes, said: str):
    with pytest.raises(BadTriples, match=said):
        read_triples(*write(tmp_path, **{part: content}))


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    train, valid, _ = write(tmp_path)
    with pytest.raises(BadTriples, match=r"none\.tsv could not be opened: No such file"):
        read_triples(train, valid, tmp_path / "none.tsv")
    with pytest.raises(BadTriples, match="could not be opened: Is a directory"):
        read_triples(tmp_path, valid, valid)


def test_names_of_several_files_are_read_once_each(tmp_path: Path):
    for name, text in (("a", "x\tr\ty\ny\tr\tx\t2.5\n"), ("b", "x\tr\ty\n")):
        (tmp_path / name).write_text(text)
    found = read_names([tmp_path / "a", tmp_path / "b"])
    assert found.tolist() == [["x", "r", "y"], ["y", "r", "x"]]
    (tmp_path / "a").write_text("x\tr\n")
    with pytest.raises(BadTriples, match="a, line 1 should be head<TAB>relation<TAB>tail"):
        read_names([tmp_path / "a"])


def test_a_line_leaves_a_few_numbers_behind(tmp_path: Path):
    """Names are held once each, and no line is: 10 000 lines of 30 entities with long names."""
    name = "http://example.org/entity/of/a/longer/name/{}".format
    lines = [f"{name(n % 30)}\tr{n % 3}\t{name(n * 7 % 29)}\t0.5\n" for n in range(10_000)]
    paths = write(tmp_path, train="".join(lines))
    read_triples(*paths)
    for read in (lambda: read_triples(*paths).graph, lambda: read_names(paths)):
        tracemalloc.start()
        kept = read()
        held, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 80 * len(lines), read
        assert held > 0
        assert kept is not None
