"""The embed step: trains TransRA on a snapshot and seals the bundle.

Takes a digest and dials, gives a digest; owns what a training never sees: the clock, the disk, who
is told, and held-out edges, which are looked for now and then (`kge/validation.py`). A training
that is killed goes on from its last checkpoint when the step runs again.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import monotonic, time
from typing import TYPE_CHECKING

from api.errors import Invalid
from api.jobs.steps import Tick, Workshop
from graphsvc.ids import digest_of_json
from graphsvc.snapshot import Snapshot, open_snapshot
from kge.bundle import ALL, Bundle, open_bundle, seal_bundle
from kge.errors import CheckpointMismatch

if TYPE_CHECKING:  # these take seconds to import, and only this step needs them
    from kge.bundle import BundleArrays
    from kge.config import TransRAConfig
    from kge.curves import Point
    from kge.train import Progress, Training
    from kge.validation import Sample

_SECONDS_BETWEEN_CHECKPOINTS = 30.0
#: Two days: a job that was stopped longer ago trains anew when it is resumed.
_SECONDS_KEPT = 2 * 86_400.0
#: A curve has about as many points.
_POINTS = 200
_CURVE = "curve.png"


def embed(
    shop: Workshop,
    snapshot: str,
    *,
    seed: int,
    tick: Tick,
    job_id: str | None = None,
    previous: str | None = None,
    item_only: bool = False,
) -> str:
    """Train TransRA on a snapshot, whole and by facet, and seal the bundle with its curves.

    `previous`: the bundle to begin with and whose frame to keep; a facet that it does not have is
    trained from nothing. `item_only`: no edge of the type that sees exposures is learned from, and
    nobody of it is in the bundle: they are folded in wherever they act. It stays so in refreshes.
    """
    # PyKEEN makes folders when it is imported, by default in the home folder.
    os.environ.setdefault("PYSTOW_HOME", str(shop.settings.cache_dir / "pystow"))
    from kge.facets import check_groups, group_of
    from kge.memory import Room, size
    from kge.prior_edges import dials_of
    from kge.train import begin, begin_graph
    from kge.validation import sample_of

    shop.forget_examples()
    dials = replace(shop.settings.transra, seed=seed)
    room, groups = Room(shop.settings.memory), shop.settings.facets
    source = open_snapshot(shop.store, snapshot)
    item_only = item_only or was_item_only(shop, previous)
    without = source.interaction.head if item_only else ""
    begun = begin(source, dials, previous=_before(shop, previous), room=room, without=without)
    check_groups(graph := begun.graph, groups)

    def run(facet: str, training: "Training", *, choose: bool = False) -> _Learned:
        file = _checkpoint(shop, snapshot, facet, training)
        sample = sample_of(source, training.graph)
        run = _Run(facet, training, file, sample, source.artifact.path)
        return _learn(run, tick, source if choose else None)

    learned = [run("", begun, choose=previous is None and dials.prior_edges is None)]
    del begun  # its tables, of which no more than the arrays is needed while facets train
    for name, group in groups.items():
        own = group_of(graph, group)
        training = begin_graph(
            own,
            dials_of(own, dials, learned[0].config),
            previous=_before(shop, previous, facet=name),
            facet=name,
            room=replace(room, beside=size(graph) + sum(size(one.arrays) for one in learned)),
        )
        learned.append(run(name, training))
    return _seal(shop, snapshot, learned, job_id)


def _seal(shop: Workshop, snapshot: str, learned: "list[_Learned]", job_id: str | None) -> str:
    """Seal what all relations gave with the facets beside it; checkpoints are done with then."""
    from kge.facets import as_facet

    whole, *others = learned
    bundle = seal_bundle(
        shop.store,
        snapshot,
        replace(whole.arrays, facets={one.facet: as_facet(one.arrays) for one in others}),
        dials=asdict(whole.config),
        metrics=whole.metrics,
        reasons=whole.reasons,
        beside={one.picture_name: one.picture for one in learned},
    )
    digest = shop.record(bundle.artifact, job_id)
    for one in learned:
        one.file.unlink(missing_ok=True)
    return digest


def _before(shop: Workshop, digest: str | None, facet: str = ALL) -> Bundle | None:
    """The bundle to begin with, if it has that facet; opened each time, since it fills memory."""
    bundle = None if digest is None else open_bundle(shop.store, digest)
    return bundle if bundle is not None and (facet == ALL or facet in bundle.facets) else None


def was_item_only(shop: Workshop, digest: str | None) -> bool:
    """Whether a bundle was trained without those who see exposures; none was not."""
    from kge.train import LEFT_OUT

    if digest is None:
        return False
    payload = shop.store.open("bundle", digest, verify=False).payload
    return LEFT_OUT in payload.get("reasons", {})


def check_item_only(shop: Workshop, bundle: str) -> None:
    """Raise `Invalid` for a bundle that has learned from edges of those who see exposures."""
    if not was_item_only(shop, bundle):
        raise Invalid(
            "training.federated.kge should be all for this bundle, which was not trained with "
            "item_only, received 'item_only'"
        )


@dataclass(frozen=True)
class _Learned:
    """What is left of a training that has ended."""

    facet: str
    file: Path
    arrays: "BundleArrays"
    config: "TransRAConfig"
    metrics: Mapping[str, float]
    reasons: Mapping[str, str]
    picture: bytes

    @property
    def picture_name(self) -> str:
        return f"curve-{self.facet}.png" if self.facet else _CURVE


def _learn(run: "_Run", tick: Tick, source: Snapshot | None) -> _Learned:
    """Train to the end. `source`: where to find out what a prior weighs; None: it is known."""
    from kge.curves import picture
    from kge.prior_edges import choose_prior_edges

    for done in run.steps():
        tick(*done)
    training = run.training
    trained, reasons = training.trained(), dict(training.reasons)
    if source is not None and (choice := choose_prior_edges(trained, source)):
        trained = replace(trained, config=replace(trained.config, prior_edges=choice.value))
        reasons["prior_edges"] = choice.reason
    arrays, metrics = trained.arrays(), {"loss": training.loss}
    if (stayed := trained.frame_kept(arrays)) is not None:
        metrics["frame_kept"] = stayed
    return _Learned(
        facet=run.facet,
        file=run.file,
        arrays=arrays,
        config=trained.config,
        metrics=metrics | run.found,
        reasons=reasons,
        picture=picture(run.points),
    )


@dataclass
class _Run:
    """One training, its checkpoint and its curve."""

    #: empty: the one of all relations
    facet: str
    training: "Training"
    file: Path
    #: held-out edges to look for on the way; None where there are none
    sample: "Sample | None"
    #: Where its snapshot lies, for as long as nobody is erased from it.
    source: Path
    points: "list[Point]" = field(default_factory=list)

    @property
    def found(self) -> dict[str, float]:
        """The last validation MRR, if there is one."""
        looks = [point.mrr for point in self.points if point.mrr is not None]
        return {"validation_mrr": looks[-1]} if looks else {}

    def steps(self) -> Iterator[tuple[int, int, str]]:
        """Train to the end; steps done, their number, and what the last one was about."""
        self._go_on()
        saved, training, prefix = monotonic(), self.training, f"{self.facet}: " * bool(self.facet)
        for told in training.steps():
            self._follow(told)
            held_out = "".join(f", validation MRR {mrr:.4f}" for mrr in self.found.values())
            note = f"{prefix}{told.note}, loss {training.loss:.3f}{held_out}"
            yield told.step, told.total, note
            if monotonic() - saved > _SECONDS_BETWEEN_CHECKPOINTS:
                self._save()
                saved = monotonic()

    def _save(self) -> None:
        """Keep where the training is; not once somebody was erased from what it was begun with."""
        from kge.checkpoint import save

        if self.source.exists():
            save(self.training, self.file, {"points": self.points})
        if not self.source.exists():
            self.file.unlink(missing_ok=True)

    def _follow(self, told: "Progress") -> None:
        """Add what is known after a step to the curve, where a point of it is due."""
        from kge.curves import Point
        from kge.validation import due

        mrr, last = None, told.step == told.total
        if self.sample is not None and due(told.step, told.total):
            mrr = self.sample.mrr(self.training)
        if mrr is not None or told.step % max(1, told.total // _POINTS) == 0 or last:
            self.points.append(Point(told.step, self.training.loss, mrr))

    def _go_on(self) -> None:
        from kge.checkpoint import load
        from kge.curves import Point

        if self.file.exists():
            try:
                self.points = [Point(*point) for point in load(self.training, self.file)["points"]]
            except CheckpointMismatch:
                self.file.unlink()


def sweep_checkpoints(shop: Workshop) -> None:
    """Remove checkpoints of trainings that nobody went on with."""
    oldest = time() - _SECONDS_KEPT
    for file in _folder(shop).glob("*"):
        if file.stat().st_mtime < oldest:
            file.unlink(missing_ok=True)


def forget_checkpoints(shop: Workshop) -> None:
    """Remove all of them: rows of somebody may be in them who was erased.

    A training that runs writes none any more, where its snapshot had them: killed, it begins anew.
    """
    for file in _folder(shop).glob("*"):
        file.unlink(missing_ok=True)


def _folder(shop: Workshop) -> Path:
    return shop.settings.data_dir / "checkpoints"


def _checkpoint(shop: Workshop, snapshot: str, facet: str, training: "Training") -> Path:
    """Where a training of these parents and dials keeps its checkpoint."""
    from kge.train import LEFT_OUT

    told = [snapshot, facet, asdict(training.config), training.origin]
    told += [training.reasons[LEFT_OUT]] if LEFT_OUT in training.reasons else []
    name = digest_of_json(told)[:32]
    return _folder(shop) / f"{name}.safetensors"
