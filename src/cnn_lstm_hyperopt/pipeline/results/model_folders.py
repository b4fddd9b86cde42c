"""Folders of the retrained models and their ensemble.

The folders are written under temporary names and renamed when complete.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnn_lstm_hyperopt.inference.metadata import ModelDescription
from cnn_lstm_hyperopt.inference.model import DESCRIPTION
from cnn_lstm_hyperopt.inference.network_files import WEIGHTS
from cnn_lstm_hyperopt.inference.predictor import predictions_frame
from cnn_lstm_hyperopt.pipeline.ensemble_selection import Blend
from cnn_lstm_hyperopt.pipeline.results.final_results import METRICS_FILE, PREDICTIONS
from cnn_lstm_hyperopt.pipeline.results.refit_folder import has_versions, keep_refit, keep_versions
from cnn_lstm_hyperopt.pipeline.results.training_record import write_training_record
from cnn_lstm_hyperopt.pipeline.retraining import Retrained
from cnn_lstm_hyperopt.pipeline.test_evaluation import TestResult, Verdict
from cnn_lstm_hyperopt.run_dir.paths import (
    ENSEMBLE,
    ENSEMBLE_FILE,
    MODEL_CARD,
    ensemble_folder,
    model_folder,
    model_folders,
)
from cnn_lstm_hyperopt.utils.atomic_io import flush_folder, remove_folder, write_json
from cnn_lstm_hyperopt.utils.spreadsheets import csv_frame


@dataclass(frozen=True)
class _Written:
    """Test results to be written to the folder of one model.

    Attributes:
        place: path of the model's folder.
        entry: entry of the model in results.json.
        result: test result of the model.
        about: the model's description.
    """

    place: Path
    entry: dict[str, Any]
    result: TestResult
    about: ModelDescription


def save_models(save_dir: Path, retrained: Sequence[Retrained], blend: Blend | None = None) -> None:
    """Write the networks and descriptions of all models to folders with temporary names.

    So a later error can't lose the models.
    """
    for each in retrained:
        folder = _emptied(_beside(model_folder(save_dir, each.finalist.rank)))
        each.model.save(folder)
        write_training_record(folder, each)
    if blend is not None:
        blend.ensemble.save(_emptied(_beside(ensemble_folder(save_dir))))


def write_retrained(
    save_dir: Path,
    retrained: Sequence[Retrained],
    verdict: Verdict,
    entries: Sequence[dict[str, Any]],
    *,
    ensemble: dict[str, Any] | None = None,
    cards: Mapping[str, str] | None = None,
) -> None:
    """Add metrics and test predictions to the folders that :func:`save_models` wrote, then give the folders their final names.

    Folders of an earlier retraining are deleted. A user's folder of the same name is renamed, for example to
    ``ensemble.kept``, and so is the folder of another model that updates gave versions. Other programs see only complete folders,
    because folders are renamed and never changed in place.

    Args:
        save_dir: the results directory.
        retrained: finalists, in order of rank.
        verdict: test results of the finalists.
        entries: entries of results.json, one for each finalist.
        ensemble: entry of the ensemble in results.json; None if there is no ensemble.
        cards: texts of the model cards, by name of the model's folder.
    """
    about = retrained[0].kept.model.description
    written = [
        _Written(model_folder(save_dir, each.finalist.rank), entry, result, about)
        for each, result, entry in zip(retrained, verdict.finalists, entries, strict=True)
    ]
    if ensemble is not None and verdict.ensemble is not None:
        written.append(_Written(ensemble_folder(save_dir), ensemble, verdict.ensemble, about))
    for each in written:
        _complete(each, verdict, (cards or {}).get(each.place.name))
    places = {each.place for each in written}
    for old in model_folders(save_dir):
        has_lost_versions = has_versions(old) and not has_versions(_beside(old))
        if not _is_ours(old) or has_lost_versions:
            if old in places or has_lost_versions:
                old.rename(_free_name(old))
            continue
        aside = save_dir / f".{old.name}.old"
        remove_folder(aside)
        old.rename(aside)
    for each in written:
        _beside(each.place).rename(each.place)
    for old in model_folders(save_dir, rf"\.(retrained_model_\d+|{ENSEMBLE})\.(part|old)"):
        remove_folder(old)


def _is_ours(folder: Path) -> bool:
    """Return True if this program wrote a folder. A user may have a folder of the same name."""
    return any((folder / name).is_file() for name in (METRICS_FILE, DESCRIPTION, ENSEMBLE_FILE))


def _free_name(folder: Path) -> Path:
    names = itertools.chain([f"{folder.name}.kept"], (f"{folder.name}.kept.{n}" for n in itertools.count(2)))
    return next(place for name in names if not (place := folder.with_name(name)).exists())


def _complete(written: _Written, verdict: Verdict, card: str | None) -> None:
    folder = _beside(written.place)
    write_json(folder / METRICS_FILE, written.entry)
    _write_predictions(folder / PREDICTIONS, verdict, written)
    if card is not None:
        (folder / MODEL_CARD).write_text(card, encoding="utf-8", newline="\n")
    keep_refit(written.place, folder, written.entry)
    keep_versions(written.place, folder, written.entry)
    flush_folder(folder)


def holds_model(save_dir: Path, entry: dict[str, Any]) -> bool:
    """Return True if a model's folder is complete and its metrics equal the model's entry in results.json."""
    networks = entry.get("networks", [WEIGHTS])  # entries of earlier versions have one network
    return _is_whole(model_folder(save_dir, entry["model_rank"]), entry, (*networks, DESCRIPTION, PREDICTIONS))


def holds_ensemble(save_dir: Path, entry: Any) -> bool:
    """Return True if the ensemble's folder is complete and its metrics equal the ensemble's entry in results.json."""
    if not isinstance(entry, dict) or not isinstance(entry.get("members"), list):
        return False
    members = [
        f"member_{number}/{name}" for number in range(1, len(entry["members"]) + 1) for name in (WEIGHTS, DESCRIPTION)
    ]
    return _is_whole(ensemble_folder(save_dir), entry, (ENSEMBLE_FILE, PREDICTIONS, *members))


def _is_whole(folder: Path, entry: dict[str, Any], files: Sequence[str]) -> bool:
    try:
        stored = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(stored == json.loads(json.dumps(entry))) and all((folder / name).is_file() for name in files)


def _beside(place: Path) -> Path:
    return place.with_name(f".{place.name}.part")


def _emptied(folder: Path) -> Path:
    """Delete a folder if it exists, create an empty folder at the same path, and return the path."""
    remove_folder(folder)
    folder.mkdir()
    return folder


def _write_predictions(path: Path, verdict: Verdict, written: _Written) -> None:
    windows, predictions, unit = verdict.windows, written.result.predictions, written.about.own_unit
    frame = predictions_frame(windows.dates, predictions, written.about.class_names, unit)
    frame.insert(1, "symbol", windows.symbols)
    frame.insert(2, "label", windows.labels.numpy())
    if verdict.period_of is not None:
        frame.insert(2, "period", verdict.period_of)
    if windows.values is not None:
        frame["target"] = windows.values.numpy()
        if unit is not None:
            frame[f"target_{unit.column}"] = unit.convert(windows.values.numpy().astype(np.float64))
    if written.result.conformal is not None:
        written.result.conformal.conformal.add_columns(frame, predictions, unit)
    csv_frame(frame).to_csv(path, index=False)
