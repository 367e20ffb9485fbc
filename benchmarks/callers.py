"""Many clients of a server at once, each of which asks again as soon as it has its answer.

Takes a server and bodies of requests, gives how long each answer took; never counts the calls by
which connections and caches come to be. Beside them somebody may post events at a steady rate.
"""

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection

from served import Server

#: Calls of each client before the clock starts.
_WARM = 20


def ask(connection: HTTPConnection, running: Server, path: str, body: bytes) -> float:
    """The seconds until a request is answered. Raises `SystemExit` where it is refused."""
    start = time.perf_counter()
    connection.request("POST", path, body=body, headers=running.headers)
    answer = connection.getresponse()
    told = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{answer.status}: {told[:500].decode(errors='replace')}")
    return time.perf_counter() - start


@contextmanager
def posting(running: Server, bodies: Sequence[bytes], *, every: float) -> Iterator[list[float]]:
    """Post a body of events every so many seconds until the block ends; gives what each took."""
    spent: list[float] = []
    ended = threading.Event()

    def work() -> None:
        with closing(running.connect()) as connection:
            for body in itertools.cycle(bodies):
                if ended.wait(every):
                    return
                spent.append(ask(connection, running, "/v1/events", body))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield spent
    finally:
        ended.set()
        thread.join()
    if not spent:
        raise SystemExit("no events were posted: the block ended before the first were due")


def at_once(
    running: Server, path: str, bodies: Sequence[bytes], *, clients: int, seconds: float
) -> list[float]:
    """So many clients for so many seconds: the seconds of every answer that came within them."""
    spent: list[float] = []
    failed: list[BaseException] = []
    ends = [0.0]

    def begin() -> None:
        ends[0] = time.monotonic() + seconds

    together = threading.Barrier(clients, action=begin)

    def work(number: int) -> None:
        own: list[float] = []
        try:
            with closing(running.connect()) as connection:
                for call in range(_WARM):
                    ask(connection, running, path, bodies[(number + call * clients) % len(bodies)])
                together.wait()
                call = _WARM
                while time.monotonic() < ends[0]:
                    body = bodies[(number + call * clients) % len(bodies)]
                    own.append(ask(connection, running, path, body))
                    call += 1
            spent.extend(own)
        except BaseException as error:  # noqa: BLE001  told by the caller
            failed.append(error)
            together.abort()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise next(
            (e for e in failed if not isinstance(e, threading.BrokenBarrierError)), failed[0]
        )
    return spent
