"""The C library's heap, in a process of its own: one for all threads, and room that goes back."""

import subprocess
import sys

#: Heaps of the process, once eight threads have asked for memory at the same time.
_COUNT = """
import ctypes, tempfile, threading
from api import heap
{first}
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]
together = threading.Barrier(8)
def work():
    together.wait()
    held = [bytes(2_000) for _ in range(100)]
    together.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
with tempfile.NamedTemporaryFile() as file:
    opened = libc.fopen(file.name.encode(), b"w")
    libc.malloc_info(0, opened)
    libc.fclose(opened)
    print(file.read().decode().count("<heap nr="))
"""
#: MiB of the process before pieces of memory go, when they have, and when room was given back.
_ROOM = """
from api import heap
def mib():
    line = next(line for line in open("/proc/self/status") if line.startswith("RssAnon"))
    return int(line.split()[1]) // 1024
heap.share()
held = [bytes(3_000) for _ in range(50_000)]
full = mib()
held = held[-1:]
freed = mib()
heap.give_back()
print(full, freed, mib())
"""


def _run(program: str) -> list[int]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return [int(word) for word in done.stdout.split()]


def test_threads_share_one_heap() -> None:
    assert _run(_COUNT.format(first="heap.share()")) == [1]
    [apart] = _run(_COUNT.format(first=""))
    assert apart > 1, "else it is no dial"


def test_what_nobody_has_goes_back() -> None:
    full, freed, after = _run(_ROOM)
    assert freed > full - 20, "the library keeps it, below what is held"
    assert after < full - 100
