"""ID rows that go on from those of a sealed ranker, with what was remembered of them."""

import dataclasses

import numpy as np
import pytest
import torch
from loops import finish
from quick import BY_ADAGRAD as CONFIG
from safetensors.torch import load_file

from graphsvc.snapshot import Span
from ranking.carrying import REMEMBERED, carried_rows, going_on, remembered, resume
from ranking.errors import NotCarried, TableMismatch
from ranking.idtables.quantized import quantized
from ranking.optimizer import make_optimizer
from ranking.tables import plan_tables
from ranking.train import train

#: Nothing moves, so that rows end where they begin.
STILL = dataclasses.replace(
    CONFIG,
    ids=dataclasses.replace(CONFIG.ids, adagrad_rate=1e-12),
    training=dataclasses.replace(CONFIG.training, epochs=1, learning_rate=1e-12),
)


def trained_on(examples, config=CONFIG, known=(None, None)):
    tables = plan_tables(examples, config, known=known)
    return finish(train(examples, config, tables=tables))[1]


@pytest.fixture
def former(examples, seal):
    """A ranker and what was sealed of it."""
    trained = trained_on(examples)
    return trained, seal(trained)


@pytest.fixture
def known_of(leaning, examples):
    """What a sealed ranker gives the next one."""

    def find(sealed, rows=examples, **without):
        return carried_rows(leaning.store, sealed.digest, rows, without=without)

    return find


def test_rows_slots_and_sums_go_on(former, known_of, examples):
    trained, sealed = former
    heads, tails = known_of(sealed)
    sides = ((heads, trained.head_ids, "head"), (tails, trained.tail_ids, "tail"))
    for found, placement, side in sides:
        own = len(placement.exclusive)
        table = getattr(trained.model, f"{side}_table")
        assert found.placement.exclusive == placement.exclusive
        assert torch.equal(found.rows, table.weight.detach()[:own])
        assert float(found.states["sum"].min()) > 0
    after = trained_on(examples, STILL, known=(heads, tails))
    assert (after.head_ids, after.tail_ids) == (trained.head_ids, trained.tail_ids)
    own = len(after.head_ids.exclusive)
    torch.testing.assert_close(after.model.head_table.weight.detach()[:own], heads.rows)
    # Hashed rows stay behind, and begin anew.
    assert float(after.model.head_table.weight.detach()[own:].abs().max()) < 1e-6
    assert bool((after.remembered["head_table.sum"][:own] >= heads.states["sum"]).all())


def test_sums_are_those_of_the_epoch_that_was_kept(examples, seal):
    """The third epoch is the worst by far: of ten, patience ends it behind the best."""
    dials = dataclasses.replace(CONFIG.training, epochs=6, patience=3, learning_rate=0.05)
    config = dataclasses.replace(CONFIG, training=dials)
    trained = trained_on(examples, config)
    best = trained.trace[-1]["best_epoch"]
    assert best < len(trained.trace), "else the last epoch is the one that is kept"
    until = dataclasses.replace(dials, epochs=best)
    again = trained_on(examples, dataclasses.replace(config, training=until))
    for name, state in trained.remembered.items():
        assert torch.equal(state, again.remembered[name])
    assert set(load_file(seal(trained).artifact.file(REMEMBERED))) == {
        "head_table.sum",
        "tail_table.sum",
    }


def test_who_resumes_moves_as_if_nothing_had_happened(former, known_of, examples):
    """A row that was seen often takes smaller steps, also in the slot of another ranker."""
    trained, sealed = former
    heads, tails = known_of(sealed)
    tables = plan_tables(examples, CONFIG, known=(heads, tails))
    model = trained.model
    optimizer = make_optimizer(model, tables.dials(CONFIG))
    resume(model, (tables.heads, tables.tails), tables.known)
    own = len(tables.heads.exclusive)
    assert torch.equal(remembered(model)["head_table.sum"][:own], heads.states["sum"])
    before = model.head_table.weight.detach().clone()
    (model.head_table.mover.look_up(torch.tensor([0])) * 3.0).sum().backward()
    optimizer.step()
    step = CONFIG.ids.adagrad_rate * 3.0 / float((heads.states["sum"][0] + 9.0).sqrt() + 1e-8)
    moved = before[0] - model.head_table.weight.detach()[0]
    torch.testing.assert_close(moved, torch.full((4,), step), rtol=1e-4, atol=1e-7)


def test_who_may_not_go_on_begins_anew(former, known_of, examples):
    trained, sealed = former
    gone, other = trained.head_ids.exclusive[:2]
    heads, tails = known_of(sealed, user={gone}, film=())
    assert heads.placement.exclusive[:2] == (None, other)
    assert tails.placement == known_of(sealed)[1].placement
    after = trained_on(examples, STILL, known=(heads, tails))
    # It takes the free slot, which is its own, without what is in the row.
    place = after.head_ids.exclusive.index(gone)
    assert not torch.allclose(after.model.head_table.weight.detach()[place], heads.rows[0])
    row = after.model.head_table.weight.detach()[1]
    torch.testing.assert_close(row, heads.rows[1])


@pytest.mark.parametrize("served", ["int8", "int4"])
def test_rows_go_on_as_they_are_served(examples, seal, known_of, served):
    dials = dataclasses.replace(CONFIG.ids, served=served)
    trained = trained_on(examples, dataclasses.replace(CONFIG, ids=dials))
    heads, _ = known_of(seal(trained))
    twin = quantized(trained.model.head_table.weight.detach(), {"int8": 8, "int4": 4}[served])
    assert torch.equal(heads.rows, twin.look_up(torch.arange(len(heads.rows))))


def test_another_optimizer_begins_anew(examples, seal, known_of):
    by_adamw = dataclasses.replace(CONFIG, ids=dataclasses.replace(CONFIG.ids, optimizer="adamw"))
    trained = trained_on(examples, by_adamw)
    sealed = seal(trained)
    assert not trained.remembered
    assert not (sealed.artifact.path / REMEMBERED).exists()
    heads, tails = known_of(sealed)
    assert heads.states == {}
    after = trained_on(examples, STILL, known=(heads, tails))
    own = len(after.head_ids.exclusive)
    torch.testing.assert_close(after.model.head_table.weight.detach()[:own], heads.rows)


def test_rows_of_another_width_or_space_are_refused(former, known_of, examples, seal):
    _, sealed = former
    wider = dataclasses.replace(CONFIG, ids=dataclasses.replace(CONFIG.ids, dim=8))
    with pytest.raises(TableMismatch, match=r"of 8 numbers, received \d+ of 4; rows go on in"):
        trained_on(examples, wider, known=known_of(sealed))
    begun = seal(trained_on(examples, dataclasses.replace(CONFIG, arm="initial")))
    with pytest.raises(NotCarried, match=r"begin at should be 0, .* received the embedding"):
        known_of(begun)
    turned = examples._replace(head_type="film", tail_type="user")
    with pytest.raises(NotCarried, match=r"heads should be film, .* received user"):
        known_of(sealed, rows=turned)


def test_rows_that_a_plan_has_narrowed_go_on_in_a_plan_that_narrows_them(examples, seal, known_of):
    """More numbers than there is memory for, in both trainings."""
    ids = dataclasses.replace(CONFIG.ids, dim=1 << 12, least_dim=1, memory_mib=1)
    narrow = dataclasses.replace(CONFIG, ids=ids)
    trained = trained_on(examples, narrow)
    dim = trained.config.ids.dim
    assert dim < 1 << 12
    after = trained_on(examples, narrow, known=known_of(seal(trained)))
    assert after.config.ids.dim == dim


def test_who_goes_on_was_taught_as_late_as_those_whose_rows_they_were(leaning, former, seal):
    """Also where its own TRAIN ended earlier: what it began with knows more."""
    trained, sealed = former
    until = sealed.artifact.payload["taught_until"]
    for own, latest in ((until - 5, until), (until + 5, until + 5)):
        later = trained._replace(taught_until=own)
        after = seal(going_on(leaning.store, later, sealed.digest))
        assert after.artifact.payload["taught_until"] == latest
        assert after.artifact.parents["rows_of"] == sealed.digest


def test_rows_that_were_taught_what_is_to_be_guessed_are_refused(former, known_of, examples):
    """A second earlier it would be the last second of TRAIN, which may be known."""
    _, sealed = former
    last = int(examples.rows[Span.TRAIN].time.max())
    assert sealed.artifact.payload["taught_until"] == last

    def valid_from(second):
        part = examples.rows[Span.VALID]
        time = np.maximum(part.time, second)
        time[0] = second
        return examples._replace(rows={**examples.rows, Span.VALID: part._replace(time=time)})

    assert known_of(sealed, rows=valid_from(last + 1))
    with pytest.raises(NotCarried, match=rf"until second {last}, .* whose first is of {last};"):
        known_of(sealed, rows=valid_from(last))
