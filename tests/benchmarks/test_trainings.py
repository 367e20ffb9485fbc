"""Retrains over REST: what is asked is what the service takes, and figures by hand."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import trainings

from api.jobs.requests import RetrainRequest


@pytest.mark.parametrize("model", trainings.ASKED)
def test_the_service_takes_what_is_asked(model: str):
    asked = RetrainRequest.model_validate(trainings._body(model))
    assert asked.arms == (trainings.ARM,)
    assert (asked.training is None) == (model == "plain")


def test_figures_of_a_retrain():
    cell = {
        "model": "federated and fair",
        "minutes": 2.0,
        "metrics": {"valid_auc": 0.7},
        "training": {
            "federated": {
                "auc": {"ctr": {"served": 0.7, "at_clients": 0.72}},
                "clients": 9,
                "rounds": 4,
                "bytes": {"down": 2 << 20, "up": 1 << 20},
            }
        },
        "certificate": {"groups": {"f": {"tau": 0.1, "times_base_rate": [0.5, 1.9]}}},
    }
    rows = {(row.metric, row.split): row.value for row in trainings.rows_of({"one": cell})}
    assert rows["valid_auc", "whole"] == 0.7
    assert rows["at_clients", "whole"] == 0.72
    assert (rows["bytes", "down"], rows["bytes", "up"]) == (2.0, 1.0)
    assert (rows["tau", "f"], rows["least", "f"], rows["most", "f"]) == (0.1, 0.5, 1.9)
