"""Data of trials as arrays: in a file that all workers of a machine map into memory, or in the memory of a cluster."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from cnn_lstm_hyperopt.data.trial_data import TrialData
from cnn_lstm_hyperopt.data.windows import Fold, Windows
from cnn_lstm_hyperopt.utils.atomic_io import written_beside

_FACTS = ("n_classes", "has_regression", "raw")


def save_trial_data(path: Path, data: TrialData) -> None:
    """Write the training and validation windows of each fold to a file. The test set is never written."""
    tensors, facts = _split(data)
    with written_beside(path) as beside:
        save_file({name: t.contiguous() for name, t in tensors.items()}, beside, metadata={"facts": json.dumps(facts)})


def load_trial_data(path: Path) -> TrialData:
    """Return the data of trials from the file that :func:`save_trial_data` wrote."""
    with safe_open(path, framework="pt") as file:
        facts = json.loads(file.metadata()["facts"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    return _joined(tensors, facts)


def arrays_of(data: TrialData) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the training and validation windows of each fold as arrays and a JSON value. The test set is not included."""
    tensors, facts = _split(data)
    return {name: tensor.contiguous().numpy() for name, tensor in tensors.items()}, facts


def trial_data_of(arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> TrialData:
    """Return the data of trials from the result of :func:`arrays_of`. The arrays are not copied and may be read-only."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # trials do not change their data
        return _joined({name: torch.from_numpy(array) for name, array in arrays.items()}, facts)


def _split(data: TrialData) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return all tensors of the data by name, and a JSON value with the other facts."""
    parts = {
        f"{number}.{split}": windows
        for number, fold in enumerate(data.folds)
        for split, windows in (("train", fold.train), ("validation", fold.validation))
    }
    names = sorted({str(name) for windows in parts.values() for name in np.unique(windows.symbols)})
    tensors: dict[str, Tensor] = {}
    owners: dict[int, str] = {}  # name of the part that stores each series; parts may share a series
    for part, windows in parts.items():
        tensors[f"{part}.starts"] = windows.starts
        tensors[f"{part}.labels"] = windows.labels
        tensors[f"{part}.dates"] = torch.from_numpy(windows.dates.astype(np.int64))
        tensors[f"{part}.symbols"] = torch.from_numpy(np.searchsorted(names, windows.symbols))
        if windows.values is not None:
            tensors[f"{part}.values"] = windows.values
        if windows.groups is not None:
            tensors[f"{part}.groups"] = torch.from_numpy(windows.groups)
        if owners.setdefault(id(windows.series), part) == part:
            tensors[f"{part}.series"] = windows.series
    first = data.folds[0].train
    facts: dict[str, Any] = {
        **{name: getattr(data, name) for name in _FACTS},
        "value_scales": [[fold.value_mean, fold.value_std] for fold in data.folds],
        "columns": data.columns,
        "lookback": first.lookback,
        "dates": {part: windows.dates.dtype.str for part, windows in parts.items()},
        "dated": {part: windows.dated for part, windows in parts.items()},
        "series": {part: owners[id(windows.series)] for part, windows in parts.items()},
        "symbols": names,
    }
    return tensors, facts


def _joined(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> TrialData:
    """Return the data from the result of :func:`_split`."""

    def windows(part: str) -> Windows:
        groups = tensors.get(f"{part}.groups")
        return Windows(
            series=tensors[f"{facts['series'][part]}.series"],
            starts=tensors[f"{part}.starts"],
            lookback=facts["lookback"],
            labels=tensors[f"{part}.labels"],
            values=tensors.get(f"{part}.values"),
            dates=tensors[f"{part}.dates"].numpy().astype(facts["dates"][part]),
            symbols=np.array(facts["symbols"])[tensors[f"{part}.symbols"].numpy()],
            dated=facts["dated"][part],
            groups=None if groups is None else groups.numpy(),
        )

    folds = tuple(
        Fold(windows(f"{number}.train"), windows(f"{number}.validation"), *scale)
        for number, scale in enumerate(facts["value_scales"])
    )
    columns = {group: tuple(places) for group, places in facts["columns"].items()}
    return TrialData(folds=folds, columns=columns, **{name: facts[name] for name in _FACTS})
