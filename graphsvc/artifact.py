"""A sealed artifact: an immutable folder that is named by the digest of its manifest.

Takes a draft folder, gives a sealed one; never edits what is sealed. The bytes live under
`<root>/<kind>/<digest>/`, the manifest holds the digest of every file, and the artifact's own
digest is the digest of the manifest: two levels of a Merkle tree, so one wrong byte is found.
Nothing in a manifest depends on the clock: the same inputs give the same digest.
"""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any

from graphsvc.errors import (
    ArtifactDamaged,
    ArtifactFormat,
    ArtifactMissing,
    GraphError,
    NoSpace,
)
from graphsvc.ids import DIGEST, canonical_json, digest_of_file, digest_of_json

FORMAT = 1
KINDS = ("snapshot", "bundle", "index", "ranker", "report", "table", "forward", "erasure", "map")
MANIFEST = "manifest.json"
_DRAFT = ".draft-"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What an artifact was made from: the part of a manifest that its maker chooses."""

    kind: str
    #: kind of parent -> digest, e.g. {"snapshot": "3f..."}.
    parents: Mapping[str, str] = field(default_factory=dict)
    #: Every dial that was used, so that the artifact is its own experiment record.
    dials: Mapping[str, Any] = field(default_factory=dict)
    #: What only the room that made it understands (shapes, names, watermark, frame).
    payload: Mapping[str, Any] = field(default_factory=dict)
    #: Measured quality, e.g. {"auc": 0.78}; shown in listings.
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Artifact:
    """An opened artifact: where it lies and what its manifest says."""

    kind: str
    digest: str
    path: Path
    manifest: Mapping[str, Any]

    @property
    def parents(self) -> Mapping[str, str]:
        return self.manifest["parents"]

    @property
    def dials(self) -> Mapping[str, Any]:
        return self.manifest["dials"]

    @property
    def payload(self) -> Mapping[str, Any]:
        return self.manifest["payload"]

    @property
    def metrics(self) -> Mapping[str, Any]:
        return self.manifest["metrics"]

    def file(self, name: str) -> Path:
        """The path of one of its files; raises `ArtifactMissing` for a name it does not hold."""
        if name not in self.manifest["files"]:
            raise ArtifactMissing(f"{self.kind} {self.digest} holds no file {name!r}")
        return self.path / name


class ArtifactStore:
    """The folder under which all artifacts lie.

    `successor`: what became of an artifact that is not there any more, if anything did; it is
    opened in its stead, so that whoever began with the former digest goes on.
    """

    def __init__(
        self, root: Path, successor: Callable[[str], str | None] = lambda _digest: None
    ) -> None:
        self.root = root
        self._successor = successor

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """A folder beside the artifacts to write into; gone afterwards unless it was sealed.

        Raises `NoSpace` where the disk is full.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        held = None
        while held is None:  # whoever sweeps at this very moment may have been faster
            folder = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=self.root))
            held = _hold(folder)
        try:
            yield folder
        except OSError as error:
            if error.errno in _FULL:
                raise NoSpace(
                    f"an artifact could not be written ({error.strerror}); nothing of it was kept, "
                    "so make room and resume what made it"
                ) from error
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(held)

    def sweep(self) -> int:
        """Remove the drafts of processes that were killed: their number.

        Whoever writes a draft holds its folder, and the system lets go of that with the process.
        """
        removed = 0
        for folder in self.root.glob(f"{_DRAFT}*"):
            held = _hold(folder)
            if held is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(held)
                removed += not folder.exists()
        return removed

    def remove(self, kind: str, digest: str) -> None:
        """Delete an artifact's bytes; harmless to repeat. What has them open reads on."""
        path = self.path(kind, digest)
        if path.is_dir():
            # Out of its place in one step: nobody opens half of it.
            with self.draft() as gone:
                path.rename(gone / digest)

    def every(self) -> Iterator[tuple[str, str]]:
        """(kind, digest) of all that lies there, whoever knows of it."""
        for kind in KINDS:
            for path in sorted((self.root / kind).glob("*")):
                yield kind, path.name

    def seal(
        self, draft: Path, recipe: Recipe, known: Mapping[str, Mapping[str, Any]] | None = None
    ) -> Artifact:
        """Name a draft by its content and rename it into place.

        `known`: what a manifest says of files that are in it as they are in another artifact.
        Sealing twice is harmless, also by two processes at once; it repairs what was damaged.
        """
        known = known or {}
        _known_kind(recipe.kind)
        manifest = {
            "format": FORMAT,
            "kind": recipe.kind,
            "parents": dict(recipe.parents),
            "dials": dict(recipe.dials),
            "payload": dict(recipe.payload),
            "metrics": dict(recipe.metrics),
            "files": {
                path.name: known.get(path.name)
                or {"sha256": digest_of_file(path), "bytes": path.stat().st_size}
                for path in sorted(draft.iterdir())
            },
        }
        body = canonical_json(manifest)
        digest = digest_of_json(manifest)
        if not self._is_whole(recipe.kind, digest):
            (draft / MANIFEST).write_bytes(body)
            _sync_folder(draft)
            _put(draft, self.path(recipe.kind, digest))
        return self.open(recipe.kind, digest, verify=False)

    def open(self, kind: str, digest: str, *, verify: bool = True) -> Artifact:
        """Open by kind and digest.

        `verify` reads every byte and compares; leave it on wherever bytes come from disk.
        Raises `ArtifactMissing`, `ArtifactDamaged` or `ArtifactFormat`.
        """
        # First: the former one may be there still, and gone in the middle of what is read of it.
        digest = self._successor(digest) or digest
        path = self.path(kind, digest)
        if not (path / MANIFEST).is_file():
            raise ArtifactMissing(self._missing(kind, digest))
        try:
            manifest = json.loads((path / MANIFEST).read_bytes())
            same = digest_of_json(manifest) == digest
        except ValueError:
            same = False
        if not same:
            raise ArtifactDamaged(f"the manifest of {kind} {digest} does not match its digest")
        if manifest["format"] != FORMAT:
            raise ArtifactFormat(
                f"{kind} {digest} has format {manifest['format']}, this version reads {FORMAT}"
            )
        if verify:
            _verify_files(path, manifest["files"])
        return Artifact(kind, digest, path, manifest)

    def path(self, kind: str, digest: str) -> Path:
        """Where an artifact lies, whether or not it exists."""
        _known_kind(kind)
        if not DIGEST.match(digest):
            raise ArtifactMissing(f"digest should be 64 hexadecimal digits, received {digest!r}")
        return self.root / kind / digest

    def _missing(self, kind: str, digest: str) -> str:
        """What is said where there is no such artifact; one of another kind is named."""
        for other in KINDS:
            if (self.path(other, digest) / MANIFEST).is_file():
                return f"{digest} should be a digest of kind {kind}, it is one of kind {other}"
        return (
            f"no {kind} {digest} under {self.root.name}/; `graphsvc artifacts --kind {kind}` lists "
            "those that there are"
        )

    def _is_whole(self, kind: str, digest: str) -> bool:
        try:
            self.open(kind, digest)
        except (ArtifactMissing, ArtifactDamaged):
            return False
        return True


def _known_kind(kind: str) -> None:
    if kind not in KINDS:
        raise GraphError(f"kind should be one of {', '.join(KINDS)}, received {kind!r}")


def _verify_files(path: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    for name, entry in files.items():
        file = path / name
        if not file.is_file() or digest_of_file(file) != entry["sha256"]:
            raise ArtifactDamaged(f"{name} of {path.parent.name} {path.name} is missing or changed")


def _put(draft: Path, target: Path) -> None:
    """Move a draft to its name, or its files into the folder that has the name already.

    Such a folder is damaged, or another process has just made it. Its files should have the very
    bytes of the draft's, so each is replaced in one step, whoever else does so or reads them.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft.chmod(0o755)
    try:
        draft.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        for path in sorted(draft.iterdir(), key=lambda path: path.name == MANIFEST):
            path.replace(target / path.name)
        _sync(target)
    _sync(target.parent)


def _hold(folder: Path) -> int | None:
    """Be the only one who has a folder, until the process ends; None where somebody else is."""
    try:
        held = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        flock(held, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        os.close(held)
        return None
    return held


def _sync_folder(folder: Path) -> None:
    for path in folder.iterdir():
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
