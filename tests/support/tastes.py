"""A graph of two tastes, dials under which it is learned in a moment, and what is trained apart."""

from kge.config import TransRAConfig

#: Users of two tastes: u0-u3 click f0-f3, u4-u7 click f4-f7, each without one film of the taste.
EDGES = [(f"u{u}", "click", f"f{f}") for u in range(8) for f in range(8) if u // 4 == f // 4]
WITHHELD = [(f"u{n}", "click", f"f{n}") for n in range(8)]
EDGES = [edge for edge in EDGES if edge not in WITHHELD]
EDGES += [(f"f{n}", "genre", f"t{n // 4}") for n in range(8)]
SMALL = TransRAConfig(
    dim=8, relation_dim=8, block=8, batch=8, epochs=60.0, anchors_per_type=2, nearest_anchors=2
)
ARMS = {
    "all": {},
    "own tails": {"tails": "own"},
    "still tails": {"tails": "still"},
    "low rank": {"projection": "low_rank", "projection_rank": 3},
    "blocks": {"projection": "block", "projection_blocks": 2},
    "transposes": {"tails": "still", "inverse": "transpose"},
    "transposed blocks": {
        "tails": "still",
        "inverse": "transpose",
        "projection": "block",
        "projection_blocks": 2,
    },
    "transr": {"gate_edges": 0.0, "bias": False, "reciprocal": False, "loss": "margin"},
    "no reciprocal, own tails": {"bias": False, "reciprocal": False, "tails": "own"},
    "drawn": {"candidates": "any", "negatives": 6},
    "adam": {"optimizer": "adam", "learning_rate": 0.01},
}
