"""RetailRocket's shop: what visitors viewed, put into the cart and bought.

Takes the zip file or its folder, gives raw events. The files hold no times, so times are made: one
second per row, first all views, then all additions to a cart, then all purchases, in the order of
the files. Whatever depends on time, a split or a decay, means nothing on it.
"""

import io
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from graphsvc.errors import DatasetMissing

#: The first row's time: 2015-05-01, about when the data was collected.
START = 1_430_438_400

_FILES = {
    "view": "view_ecommerce.dat",
    "add_to_cart": "add_to_cart_ecommerce.dat",
    "purchase": "purchase_ecommerce.dat",
}

#: Visitors are persons; a view is what is shown, an addition to the cart the outcome.
RETAILROCKET_SCHEMA: dict[str, Any] = {
    "name": "shop",
    "entities": {"visitor": {"person": True}, "item": {"person": False}},
    "relations": {
        name: {"head": "visitor", "tail": "item", "source": "onsite", "weight": weight}
        for name, weight in (("view", 1.0), ("add_to_cart", 2.0), ("purchase", 4.0))
    },
    "observations": {},
    "label": {"exposure": "view", "outcome": "add_to_cart", "window_minutes": 1440.0},
}


def retailrocket(source: Path) -> Iterator[dict[str, Any]]:
    """The events of the schema `RETAILROCKET_SCHEMA`. Raises `DatasetMissing`."""
    time = START
    for name, file in _FILES.items():
        with ExitStack() as stack:
            for row, line in enumerate(_opened(source, file, stack)):
                cells = line.split()
                if row == 0 and not cells[0].isdecimal():
                    continue  # the names of the columns
                visitor, item = cells[:2]
                time += 1
                yield {
                    "event_id": f"rr-{name}-{visitor}-{item}",
                    "event_name": name,
                    "event_time": time,
                    "action_source": "onsite",
                    "actor": {"type": "visitor", "id": visitor},
                    "object": {"type": "item", "id": item},
                }


def _opened(source: Path, file: str, stack: ExitStack) -> TextIO:
    if source.is_dir():
        found = sorted(source.rglob(file))
        if found:
            return stack.enter_context(found[0].open(encoding="utf-8"))
    elif zipfile.is_zipfile(source):
        archive = stack.enter_context(zipfile.ZipFile(source))
        names = [name for name in archive.namelist() if name.endswith(f"/{file}") or name == file]
        if names:
            return io.TextIOWrapper(stack.enter_context(archive.open(names[0])), encoding="utf-8")
    listed = ", ".join(_FILES.values())
    raise DatasetMissing(f"{source.name} should be a zip file or a folder with {listed}")
