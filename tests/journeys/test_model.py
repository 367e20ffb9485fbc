"""Nothing is lost: random lives of a real service, killed again and again, against an oracle.

Together 1,000 operations and 16 kills; `make lives` lives longer. To live one again:
`MODEL_SEED=<seed> pytest tests/journeys/test_model.py`.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from play import KINDS, play

OPERATIONS, KILLS, RETRAINS = 500, 8, 2


@pytest.mark.slow_as("postgresql")
def test_a_random_life_is_what_the_oracle_says(
    database_url: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    seed = int(os.environ.get("MODEL_SEED") or time.time_ns() % 10**9)
    url = database_url if database_url.startswith("postgresql") else ""
    summary = play(tmp_path, url, seed=seed, operations=OPERATIONS, kills=KILLS, retrains=RETRAINS)
    record_property("said", str(summary))  # printed at the end, see tests/conftest.py
    assert (summary.operations, summary.kills) == (OPERATIONS, KILLS)
    # Everything that there is to do was done, and every verdict was given.
    assert {"accepted", "duplicate", "conflict", "late", "opted_out", "erased"} <= set(
        summary.verdicts
    )
    assert set(summary.mix) >= KINDS
    assert summary.events > OPERATIONS
