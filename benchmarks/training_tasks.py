"""What processes of the training benchmark do: train for a while, and tell how fast that was.

Takes a file of triples and dials, gives plain numbers; never decides what is compared. A *positive*
is a triple whose one end is asked for, against negatives: PyKEEN's loop draws which end, ours asks
for each in turn, so a pass of ours over all triples has twice as many.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from apart import held_mib, peak_mib
from popular import graph_of_triples
from products import operations

from kge.blocks import BlockSampler
from kge.config import TransRAConfig
from kge.learner import Learner
from kge.model import build_model
from kge.progress import Progress
from kge.rivals.pykeen_loop import train_pykeen
from kge.rivals.pykeen_models import RECIPES, Recipe
from kge.train import Training
from kge.triples import Graph


def pykeen_recipe(dim: int, batch: int, negatives: int) -> Recipe:
    """TransR in PyKEEN's loop with Adam and its default sampler, which is its quickest."""
    sizes = {"dim": dim, "batch": batch, "negatives": negatives}
    return replace(RECIPES["transr"], sampler="basic", **sizes)


def speed_of_pykeen(
    *,
    graph: dict[str, Any],
    dim: int,
    batch: int,
    negatives: int,
    seconds: float,
    warm: int,
) -> dict[str, Any]:
    """Positives per second of PyKEEN's own TransR loop, and its peak of memory."""
    made = opened(**graph)
    begin, before = time.perf_counter(), held_mib()
    loop = train_pykeen(made, pykeen_recipe(dim, batch, negatives), share=_endless)
    told = _paced(loop, begin, seconds, warm)
    edges = len(made.head)
    last = (edges - 1) % batch + 1  # of an epoch, whose last batch is what is left
    sizes = [batch] * ((edges - 1) // batch) + [last]
    steps = range(warm, warm + told["steps"])
    positives = sum(sizes[step % len(sizes)] for step in steps)
    return {
        **told,
        **_memory(before),
        "positives_per_second": positives / told["seconds"],
        "epoch_seconds": edges / positives * told["seconds"],
        "threads": torch.get_num_threads(),
    }


def speed_of_transra(
    *, graph: dict[str, Any], dials: dict[str, Any], seconds: float, warm: int
) -> dict[str, Any]:
    """The same of the trainer of this project, and its matrix products per second."""
    made, config = opened(**graph), TransRAConfig(**dials)
    begin, before = time.perf_counter(), held_mib()
    training = Training(made, config)
    told = _paced(training.steps(_endless), begin, seconds, warm)
    memory = _memory(before)
    # A second sampler gives the same batches: those that were timed are counted afterwards.
    timed = islice(BlockSampler(made, config), warm, warm + told["steps"])
    positives, count, candidates = 0, 0, 0.0
    for batch in timed:
        positives += sum(len(block.tail) for block in batch.blocks)
        count += operations(batch, config)
        candidates += float(np.mean([len(drawn.rows) for drawn in batch.candidates.values()]))
    return {
        **told,
        **memory,
        "positives_per_second": positives / told["seconds"],
        "epoch_seconds": 2 * len(made.head) / positives * told["seconds"],
        "operations_per_second": count / told["seconds"],
        "candidates": candidates / told["steps"],
        "threads": torch.get_num_threads(),
    }


def cost_of_epoch(
    *, graph: dict[str, Any], dials: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Seconds that a round over the edges takes, each in both directions.

    A whole round of batches is made and thrown away; then batches are learned for `seconds`, and
    what they took is put in proportion to a round's positives. What comes once in a round, such as
    shuffling, is so counted once, however much of a round the time is enough for.
    """
    made, config = opened(**graph), TransRAConfig(**dials)
    begin = time.perf_counter()
    learner, sampler = Learner(made, build_model(made, config), config), BlockSampler(made, config)
    setup = time.perf_counter() - begin
    sampling, positives = _round(sampler)
    learning, learned, steps = 0.0, 0, 0
    for batch in BlockSampler(made, config):
        begin = time.perf_counter()
        learner.learn(batch, 1.0, np.random.default_rng(steps))
        steps += 1
        if steps == 1:  # meets cold caches
            continue
        learning += time.perf_counter() - begin
        learned += sum(len(block.tail) for block in batch.blocks)
        if learning > seconds:
            break
    rest = learning * positives / learned
    return {
        "epoch_seconds": sampling + rest,
        "sampling_seconds": sampling,
        "learning_seconds": rest,
        "setup_seconds": setup,
        "positives": positives,
        "learned": learned,
        "peak_mib": peak_mib(),
        "threads": torch.get_num_threads(),
    }


def _round(sampler: BlockSampler) -> tuple[float, int]:
    """Seconds in which all batches of the first round are made, and their positives."""
    begin = time.perf_counter()
    ended, positives = begin, 0
    for batch in sampler:
        if sampler.state()["round"]:
            break
        positives += sum(len(block.tail) for block in batch.blocks)
        ended = time.perf_counter()
    return ended - begin, positives


def opened(*, file: str, entities: int, relations: int) -> Graph:
    """The graph whose triples a file holds."""
    return graph_of_triples(np.load(Path(file)), entities=entities, relations=relations)


def _endless(_step: int) -> float:
    """Training goes on until nobody asks for a further step."""
    return 0.0


def _paced(
    loop: Iterator[Progress], begin: float, seconds: float, warm: int
) -> dict[str, float | int]:
    """Steps for so many seconds after the first ones, which make buffers and threads."""
    for _ in range(warm):
        next(loop)
    since, steps = time.perf_counter(), 0
    while (spent := time.perf_counter() - since) < seconds or not steps:
        next(loop)
        steps += 1
    return {"steps": steps, "seconds": spent, "setup_seconds": since - begin}


def _memory(before: float) -> dict[str, float]:
    """The peak of this process, and how much of it came after `before`."""
    return {"peak_mib": peak_mib(), "own_mib": peak_mib() - before}
