"""Work that hands over what it has made before it returns.

Takes work that cannot be paused, such as a parser that calls back; gives what it hands over, one by
one. It runs in a thread beside, and waits there while enough lies ready.
"""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from queue import Full, Queue
from threading import Event, main_thread
from typing import TypeVar

Made = TypeVar("Made")
#: Hands one over; False if nobody waits for it any more, so the work should end.
Hand = Callable[[Made], bool]
_LOOK_SECONDS = 0.1


def handed(work: Callable[[Hand[Made]], None], *, ready: int) -> Generator[Made, None, None]:
    """What `work` hands over; at most `ready` of it lies between the two. Raises what it raises."""
    between: Queue[list[Made]] = Queue(ready)  # an empty list is the end
    gone = Event()

    def put(ones: list[Made]) -> bool:
        # Whoever forgets to close this should not keep the process from ending.
        while not gone.is_set() and main_thread().is_alive():
            try:
                between.put(ones, timeout=_LOOK_SECONDS)
            except Full:
                continue
            return True
        return False

    def run() -> None:
        try:
            work(lambda one: put([one]))
        finally:
            put([])

    with ThreadPoolExecutor(1, thread_name_prefix="read") as beside:
        running = beside.submit(run)
        try:
            while ones := between.get():
                yield ones[0]
        finally:
            gone.set()
        running.result()
