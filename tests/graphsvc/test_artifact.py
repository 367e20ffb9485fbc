"""Artifacts: named by content, whole or not there at all, and one wrong byte is refused."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from graphsvc.artifact import MANIFEST, Artifact, ArtifactStore, Recipe
from graphsvc.errors import ArtifactDamaged, ArtifactFormat, ArtifactMissing, GraphError
from graphsvc.ids import canonical_json

ROOT = Path(__file__).parents[2]
SEAL_MANY = """
import sys
from pathlib import Path
from graphsvc.artifact import ArtifactStore, Recipe
store = ArtifactStore(Path(sys.argv[1]))
for text in sys.argv[2:]:
    with store.draft() as folder:
        (folder / "data.txt").write_text(text)
        print(store.seal(folder, Recipe(kind="bundle")).digest)
"""
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


def test_sweeping_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "store")
    assert store.sweep() == 0  # no folder yet
    sealed = seal(store)
    killed = store.root / ".draft-killed"
    killed.mkdir()
    (killed / "half.txt").write_text("half")
    with store.draft() as busy:  # whoever writes it holds it
        assert store.sweep() == 1
        assert busy.exists()
    assert not killed.exists()
    assert store.open("bundle", sealed.digest) == sealed
    assert store.sweep() == 0


def test_a_draft_is_nobodys_as_soon_as_its_process_is_killed(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "store")
    code = (
        "import pathlib, sys, time; from graphsvc.artifact import ArtifactStore\n"
        "with ArtifactStore(pathlib.Path(sys.argv[1])).draft() as folder:\n"
        "    print(folder, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(store.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writing:
        assert writing.stdout is not None
        draft = Path(writing.stdout.readline().strip())
        assert store.sweep() == 0
        assert draft.exists()
        writing.kill()
    assert store.sweep() == 1
    assert not draft.exists()


def test_what_became_of_an_artifact_opens_in_its_stead(tmp_path: Path) -> None:
    first = ArtifactStore(tmp_path)
    former, present = seal(first), seal(first, "other")
    first.remove("bundle", former.digest)
    first.remove("bundle", former.digest)  # harmless to repeat
    assert not former.path.exists()
    with pytest.raises(ArtifactMissing):
        first.open("bundle", former.digest)
    told = {former.digest: present.digest}
    assert ArtifactStore(tmp_path, told.get).open("bundle", former.digest) == present


@pytest.mark.parametrize("damage", ["changed", "missing", "manifest changed", "manifest missing"])
def test_sealing_again_repairs(tmp_path: Path, damage: str) -> None:
    store = ArtifactStore(tmp_path)
    sealed = seal(store)
    path = sealed.path / (MANIFEST if "manifest" in damage else "data.txt")
    if "missing" in damage:
        path.unlink()
    else:
        path.write_text("{}")
    assert seal(store) == sealed
    assert store.open("bundle", sealed.digest).file("data.txt").read_text() == "hello"
    assert [entry.name for entry in tmp_path.iterdir()] == ["bundle"]


def test_sealing_again_leaves_what_is_whole(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    before = (seal(store).path / "data.txt").stat().st_ino
    assert (seal(store).path / "data.txt").stat().st_ino == before


@pytest.mark.parametrize("damaged", [False, True])
def test_processes_that_seal_the_same_content_at_once(tmp_path: Path, damaged: bool) -> None:
    store = ArtifactStore(tmp_path)
    texts = [str(number) for number in range(40)]
    if damaged:
        for text in texts:
            (seal(store, text, Recipe(kind="bundle")).path / "data.txt").write_text("x")
    command = [sys.executable, "-c", SEAL_MANY, str(tmp_path), *texts]
    processes = [subprocess.Popen(command, cwd=ROOT, text=True, stdout=-1) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs[0] == outputs[1]
    for text, digest in zip(texts, outputs[0].split(), strict=True):
        assert store.open("bundle", digest).file("data.txt").read_text() == text
    assert [entry.name for entry in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize("digest", ["", "short", "../" * 20 + "x" * 4, "A" * 64, "0" * 64])
def test_what_is_no_digest_opens_nothing(tmp_path: Path, digest: str) -> None:
    with pytest.raises(ArtifactMissing):
        ArtifactStore(tmp_path).open("bundle", digest)


def test_a_digest_of_another_kind_is_named(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    with store.draft() as draft:
        (draft / "a.txt").write_text("a")
        sealed = store.seal(draft, Recipe(kind="bundle"))
    with pytest.raises(ArtifactMissing, match="of kind snapshot, it is one of kind bundle"):
        store.open("snapshot", sealed.digest)


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="snapshot, bundle, index, ranker, report"):
        ArtifactStore(tmp_path).open("model", "0" * 64)
