"""The data of trials as one file that all workers map into memory: the windows exist once, however many read them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from cnn_lstm_hyperopt.data.dataset import TrialData
from cnn_lstm_hyperopt.data.windows import Windows

_FACTS = ("n_classes", "has_regression", "value_mean", "value_std")


def save_trial_data(path: Path, data: TrialData) -> None:
    """Writes the windows of trials (training and validation; never the test period)."""
    names = sorted({*data.train.symbols.tolist(), *data.validation.symbols.tolist()})
    tensors: dict[str, Tensor] = {"series": data.train.series}
    for split, windows in (("train", data.train), ("validation", data.validation)):
        tensors[f"{split}.starts"] = windows.starts
        tensors[f"{split}.labels"] = windows.labels
        tensors[f"{split}.dates"] = torch.from_numpy(windows.dates.astype(np.int64))
        tensors[f"{split}.symbols"] = torch.from_numpy(np.searchsorted(names, windows.symbols))
        if windows.values is not None:
            tensors[f"{split}.values"] = windows.values
        if windows.series is not data.train.series:
            tensors[f"{split}.series"] = windows.series
    facts: dict[str, Any] = {
        **{name: getattr(data, name) for name in _FACTS},
        "lookback": data.train.lookback,
        "dates": data.train.dates.dtype.str,
        "symbols": names,
    }
    beside = path.with_name(path.name + ".part")
    save_file({name: t.contiguous() for name, t in tensors.items()}, beside, metadata={"facts": json.dumps(facts)})
    beside.replace(path)


def load_trial_data(path: Path) -> TrialData:
    """The inverse of :func:`save_trial_data`."""
    with safe_open(path, framework="pt") as file:
        facts = json.loads(file.metadata()["facts"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict

    def windows(split: str) -> Windows:
        return Windows(
            series=tensors.get(f"{split}.series", tensors["series"]),
            starts=tensors[f"{split}.starts"],
            lookback=facts["lookback"],
            labels=tensors[f"{split}.labels"],
            values=tensors.get(f"{split}.values"),
            dates=tensors[f"{split}.dates"].numpy().astype(facts["dates"]),
            symbols=np.array(facts["symbols"])[tensors[f"{split}.symbols"].numpy()],
        )

    return TrialData(train=windows("train"), validation=windows("validation"), **{name: facts[name] for name in _FACTS})
