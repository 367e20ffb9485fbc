"""FuxiCTR's DCNv2 and MaskNet on the split that `ctr_flops.py --peers` wrote.

    python3 -m venv .venv/fuxictr
    .venv/fuxictr/bin/pip install torch==2.13.0 fuxictr==2.3.10
    git clone https://github.com/reczoo/FuxiCTR CHECKOUT
    .venv/fuxictr/bin/python benchmarks/ctr_fuxictr.py --checkout CHECKOUT --split SPLIT --out PAGE

`--peers` says where SPLIT and PAGE are. Takes the split and a checkout, whose model zoo the package
does not carry; gives `fuxictr.json` beside the page, with digests of the files that were read. Runs
in the environment of `fuxictr_tasks.py` and imports nothing of this repository.
"""

import argparse
import hashlib
import importlib.util
import json
import math
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuxictr.features import FeatureMap
from fuxictr.pytorch.torch_utils import seed_everything
from sklearn.metrics import log_loss, roc_auc_score

LABEL = "label"
NAMES = ("DCNv2", "MaskNet")


class Batches:
    """A span as FuxiCTR reads it: a dictionary of columns per batch."""

    def __init__(self, codes: Any, label: Any, names: list[str], batch: int, shuffle: bool) -> None:
        self.codes, self.label = codes.astype(np.int64), label.astype(np.float32)
        self.names, self.batch, self.shuffle = names, batch, shuffle

    def __len__(self) -> int:
        return math.ceil(len(self.label) / self.batch)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        count = len(self.label)
        order = np.random.permutation(count) if self.shuffle else np.arange(count)
        for start in range(0, count, self.batch):
            rows = order[start : start + self.batch]
            columns = torch.from_numpy(self.codes[rows])
            made = {name: columns[:, place] for place, name in enumerate(self.names)}
            yield made | {LABEL: torch.from_numpy(self.label[rows])}


def feature_map(told: dict[str, Any]) -> Any:
    made = FeatureMap("split", "")
    made.features = {
        name: {"source": "", "type": "categorical", "vocab_size": size}
        for name, size in told["sizes"].items()
    }
    made.labels = [LABEL]
    made.num_fields = len(made.features)
    made.total_features = sum(told["sizes"].values())
    made.default_emb_dim = told["embedding"]
    made.set_column_index()
    return made


def zoo(checkout: Path, name: str) -> Any:
    """A model of the zoo, whose folders all have packages of the same name."""
    file = _file(checkout, name)
    spec = importlib.util.spec_from_file_location(f"zoo_{name}", file)
    if spec is None or spec.loader is None:
        raise SystemExit(f"--checkout should hold {file.relative_to(checkout)}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def digest(checkout: Path, name: str) -> str:
    """Of the file that a model was read from: a checkout may have been changed."""
    return hashlib.sha256(_file(checkout, name).read_bytes()).hexdigest()[:12]


def _file(checkout: Path, name: str) -> Path:
    return checkout / "model_zoo" / name / "src" / f"{name}.py"


def dials_of(name: str, told: dict[str, Any], folder: str) -> dict[str, Any]:
    shared = {
        "model_id": name,
        "gpu": -1,
        "learning_rate": told["learning_rate"],
        "embedding_dim": told["embedding"],
        "net_dropout": 0,
        "optimizer": "adam",
        "loss": "binary_crossentropy",
        "task": "binary_classification",
        "metrics": ["logloss", "AUC"],
        "monitor": "AUC",
        "monitor_mode": "max",
        "early_stop_patience": told["patience"],
        "reduce_lr_on_plateau": False,
        "save_best_only": True,
        "model_root": folder,
        "verbose": 0,
    }
    if name == "DCNv2":
        return shared | {
            "model_structure": "stacked",
            "num_cross_layers": told["layers"],
            "stacked_dnn_hidden_units": [told["hidden"]],
        }
    return shared | {
        "model_type": "ParallelMaskNet",
        "parallel_num_blocks": told["blocks"],
        "parallel_block_dim": told["block_width"],
        "reduction_ratio": 1,
        "dnn_hidden_units": [told["hidden"]],
        "emb_layernorm": False,
        "net_layernorm": True,
    }


def scores(model: Any, batches: Batches) -> Any:
    model.eval()
    with torch.no_grad():
        parts = [model.forward(batch)["y_pred"].reshape(-1) for batch in batches]
    return torch.cat(parts).double().numpy()


def measure(model_class: Any, name: str, told: dict[str, Any], split: Any, seed: int) -> Any:
    seed_everything(seed=seed)
    names, batch = list(told["sizes"]), told["batch"]
    train, valid, test = (
        Batches(split[f"{s}_codes"], split[f"{s}_label"], names, batch, shuffle=s == "train")
        for s in ("train", "valid", "test")
    )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "split").mkdir()
        model = model_class(feature_map(told), **dials_of(name, told, folder))
        model.fit(train, epochs=told["epochs"], validation_data=valid, max_gradient_norm=1e9)
        seen, asked = scores(model, valid), scores(model, test)
    return {
        "peer": name,
        "seed": seed,
        "valid_auc": float(roc_auc_score(valid.label, seen)),
        "auc": float(roc_auc_score(test.label, asked)),
        "logloss": float(log_loss(test.label, asked)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", type=Path, required=True, help="folder that --peers wrote")
    parser.add_argument("--checkout", type=Path, required=True, help="of FuxiCTR, for its zoo")
    parser.add_argument("--out", type=Path, required=True, help="folder of the page")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    told = json.loads((options.split / "split.json").read_text())
    with np.load(options.split / "split.npz", allow_pickle=False) as kept:
        split = {name: kept[name] for name in kept.files}
    runs = []
    for name in NAMES:
        for seed in told["seeds"]:
            runs.append(measure(zoo(options.checkout, name), name, told, split, seed))
            print(json.dumps(runs[-1]), flush=True)
    versions = {p: version(p) for p in ("fuxictr", "torch")}
    versions |= {f"{name}.py": digest(options.checkout, name) for name in NAMES}
    found = {"key": told["key"], "versions": versions, "runs": runs}
    (options.out / "fuxictr.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
