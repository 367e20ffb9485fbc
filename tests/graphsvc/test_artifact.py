"""Artifacts: named by content, whole or not there at all, and one wrong byte is refused."""

import hashlib
import json
from pathlib import Path

import pytest

from graphsvc.artifact import MANIFEST, Artifact, ArtifactStore, Recipe
from graphsvc.errors import ArtifactDamaged, ArtifactFormat, ArtifactMissing, GraphError
from graphsvc.ids import canonical_json

RECIPE = Recipe(kind="bundle", parents={"snapshot": "0" * 64}, dials={"dim": 2})


def seal(store: ArtifactStore, text: str = "hello", recipe: Recipe = RECIPE) -> Artifact:
    with store.draft() as folder:
        (folder / "data.txt").write_text(text)
        return store.seal(folder, recipe)


def test_the_digest_is_the_manifests_and_names_every_file(tmp_path: Path) -> None:
    sealed = seal(ArtifactStore(tmp_path))
    manifest = (sealed.path / MANIFEST).read_bytes()
    assert hashlib.sha256(manifest).hexdigest() == sealed.digest == sealed.path.name
    entry = json.loads(manifest)["files"]["data.txt"]
    assert entry == {"sha256": hashlib.sha256(b"hello").hexdigest(), "bytes": 5}


def test_the_same_content_has_the_same_name_and_anything_else_another(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    first = seal(store)
    assert seal(store).digest == first.digest
    assert seal(ArtifactStore(tmp_path / "elsewhere")).digest == first.digest
    assert seal(store, "hello!").digest != first.digest
    other = Recipe(kind="bundle", parents={"snapshot": "0" * 64}, dials={"dim": 3})
    assert seal(store, recipe=other).digest != first.digest


def test_it_opens_as_it_was_sealed(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    sealed = seal(store)
    opened = store.open("bundle", sealed.digest)
    assert opened == sealed
    assert opened.file("data.txt").read_text() == "hello"
    assert (opened.parents, opened.dials) == ({"snapshot": "0" * 64}, {"dim": 2})
    with pytest.raises(ArtifactMissing, match=r"other\.txt"):
        opened.file("other.txt")


@pytest.mark.parametrize("damage", ["data.txt", MANIFEST])
def test_one_wrong_byte_is_refused(tmp_path: Path, damage: str) -> None:
    store = ArtifactStore(tmp_path)
    sealed = seal(store)
    path = sealed.path / damage
    body = bytearray(path.read_bytes())
    body[-2] ^= 1
    path.write_bytes(bytes(body))
    with pytest.raises(ArtifactDamaged, match=sealed.digest):
        store.open("bundle", sealed.digest)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    sealed = seal(store)
    (sealed.path / "data.txt").unlink()
    with pytest.raises(ArtifactDamaged, match=r"data\.txt"):
        store.open("bundle", sealed.digest)


def test_another_format_is_refused_by_its_number(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    sealed = seal(store)
    body = canonical_json({**sealed.manifest, "format": 99})
    digest = hashlib.sha256(body).hexdigest()
    moved = sealed.path.rename(sealed.path.parent / digest)
    (moved / MANIFEST).write_bytes(body)
    with pytest.raises(ArtifactFormat, match="99"):
        store.open("bundle", digest)


def test_a_failed_draft_leaves_nothing(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)

    def fail_halfway() -> None:
        with store.draft() as folder:
            (folder / "half.txt").write_text("half")
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        fail_halfway()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("digest", ["", "short", "../" * 20 + "x" * 4, "A" * 64, "0" * 64])
def test_what_is_no_digest_opens_nothing(tmp_path: Path, digest: str) -> None:
    with pytest.raises(ArtifactMissing):
        ArtifactStore(tmp_path).open("bundle", digest)


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="snapshot, bundle, index, ranker, report"):
        ArtifactStore(tmp_path).open("model", "0" * 64)
