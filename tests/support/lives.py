"""`make lives`: many long random lives, one after the other, on both databases by turns.

Takes how many operations, and a seed; prints each life and writes a JSON summary. Life n has the
seed `seed + n` and, if n is odd, PostgreSQL. So a run that was stopped goes on with `--first n`,
and life n alone is lived again with `--first n` and 1,250 * (n + 1) operations.
"""

import argparse
import json
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import postgres_server
from play import play

#: Operations, kills and retrains of one life.
LIFE, KILLS, RETRAINS = 1_250, 8, 4


def main() -> int:
    """Live; the exit code is 1 if any life was not what the oracle says."""
    asked = _arguments()
    postgres_server.sweep()
    server = postgres_server.start()
    lives = []
    try:
        for number in range(asked.first, -(-asked.operations // LIFE)):
            lives.append(_live(server, asked.seed + number, number))
            asked.json.write_text(json.dumps(_summary(asked, lives), indent=2) + "\n")
    finally:
        server.stop()
    total = _summary(asked, lives)
    sys.stdout.write(f"{json.dumps(total | {'lives': len(lives)}, indent=2)}\n")
    return 1 if total["failed"] else 0


def _live(server: postgres_server.Postgres, seed: int, number: int) -> dict[str, Any]:
    kind = ("sqlite", "postgresql")[number % 2]
    url = server.create() if number % 2 else ""
    folder = Path(tempfile.mkdtemp(prefix="lives-"))
    told: dict[str, Any] = {"life": number, "seed": seed, "database": kind, "failed": None}
    try:
        summary = play(folder, url, seed=seed, operations=LIFE, kills=KILLS, retrains=RETRAINS)
        sys.stdout.write(f"life {number} on {kind}, {summary}\n")
        told |= summary.as_json()
        shutil.rmtree(folder)
    except Exception as error:  # noqa: BLE001  the next life may say more
        traceback.print_exc()
        notes = " ".join(getattr(error, "__notes__", []))
        told["failed"] = f"{str(error)[:2000]} {notes}"
    sys.stdout.flush()
    if url:
        server.drop(url)
    return told


def _summary(asked: argparse.Namespace, lives: list[dict[str, Any]]) -> dict[str, Any]:
    mix: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    for life in lives:
        mix.update(life.get("mix", {}))
        verdicts.update(life.get("verdicts", {}))
    return {
        "seed": asked.seed,
        **{
            name: sum(life.get(name, 0) for life in lives)
            for name in ("operations", "kills", "events", "seconds")
        },
        "failed": [life for life in lives if life["failed"]],
        "mix": dict(sorted(mix.items())),
        "verdicts": dict(sorted(verdicts.items())),
        "lives": lives,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="begin with this life")
    parser.add_argument("--json", type=Path, default=Path("lives.json"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
