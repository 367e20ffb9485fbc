"""A server answers without the trainer: importing the app leaves PyKEEN and pandas alone."""

import subprocess
import sys


def test_the_app_does_not_import_the_trainer() -> None:
    code = (
        "import sys, api.app; "
        "print([m for m in ('pykeen', 'pandas', 'kge.train', 'ranking.train', 'api.jobs.retrain')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
