"""`make test` looks at the page where there is a browser, and says so where there is none."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _would_run(chromium: str) -> str:
    asked = ["make", "--no-print-directory", "--dry-run", "test", f"CHROMIUM={chromium}"]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_the_page_is_looked_at_where_there_is_a_browser() -> None:
    run = _would_run("chromium")
    assert '-m "not slow" tests' in run
    assert "left out" not in run


def test_what_is_left_out_is_said_with_how_to_get_it() -> None:
    run = _would_run("")
    assert '-m "not slow and not browser" tests' in run
    assert run.splitlines()[-1].startswith('echo "the browser tests were left out')
    assert "apt-get install chromium" in run
