"""Which figures of a job's notes the page draws as curves."""

import pytest

from api.routes.jobs import StepOut
from api.ui import curves


@pytest.mark.parametrize(
    ("note", "figures"),
    [
        ("click, loss 2.310", {"loss": 2.31}),
        ("loss 1.5e-05", {"loss": 1.5e-05}),
        ("loss -2E+3, rows 17", {"loss": -2000.0, "rows": 17.0}),
        ("topic: click, loss 2.3, validation MRR 0.1234", {"loss": 2.3, "MRR": 0.1234}),
        ("member 2 of 3, click, loss 1", {"member": 2.0, "loss": 1.0}),
        ("12 clients, 0.5 MiB down, 0.1 MiB up, valid AUC 0.7000", {"AUC": 0.7}),
        ("the farthest DE is 0.123 from their mean.", {"is": 0.123}),
        ("it ended at loss 2.5.", {"loss": 2.5}),
        ("bundle 12ab34cd, version 1.2.3, loss 1e999, loss nan", {}),
        ("rows 1,234", {}),
        ("", {}),
    ],
)
def test_every_figure_of_a_note_is_read(note: str, figures: dict[str, float]) -> None:
    assert curves.figures(note) == figures


def test_each_figure_is_a_curve_of_its_step() -> None:
    seen: curves.Curves = {}
    step = StepOut(step="embed", state="running", done=1, total=9, note="", updated_at=0)
    for done, note in ((1, "loss 3, MRR 0.1"), (1, "loss 3, MRR 0.1"), (4, "loss 2e-1, MRR 0.2")):
        curves.note(seen, [step.model_copy(update={"done": done, "note": note})])
    assert seen == {"embed: loss": [(1, 3.0), (4, 0.2)], "embed: MRR": [(1, 0.1), (4, 0.2)]}
