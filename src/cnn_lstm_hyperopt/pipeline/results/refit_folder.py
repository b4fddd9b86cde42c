"""Folder of the final refit, ``refit/`` in the folder of the tested model."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.inference.model import DESCRIPTION, SavedModel
from cnn_lstm_hyperopt.inference.refit import Refit, StoredRefit, refit_folder
from cnn_lstm_hyperopt.pipeline.results.model_card import escaped
from cnn_lstm_hyperopt.run_dir.paths import MODEL_CARD, VERSIONS, VERSIONS_FILE, model_folder
from cnn_lstm_hyperopt.utils.atomic_io import flush_folder, remove_folder, write_text
from cnn_lstm_hyperopt.utils.reading import MAX_JSON_BYTES, parse_json, read_text

_HEADING = "## Final refit"


def write_refit(folder: Path, model: SavedModel, entry: Mapping[str, Any], *, study: str) -> None:
    """Write the folder of the refit into ``folder``, and add a section about the refit to the tested model's card.

    The folder is written under a temporary name and renamed when complete. An earlier refit is replaced.
    """
    place = refit_folder(folder)
    beside, aside = folder / f".{place.name}.part", folder / f".{place.name}.old"
    for each in (beside, aside):
        remove_folder(each)
    model.save(beside)
    facts = Refit(entry["trained_until"], entry["epochs"], entry["windows"])
    head = f"# Final refit of model {entry['model_rank']} of the study {escaped(study)}"
    (beside / MODEL_CARD).write_text("\n".join([head, "", *_about(facts), ""]), encoding="utf-8", newline="\n")
    flush_folder(beside)
    if place.exists() or place.is_symlink():
        place.rename(aside)
    beside.rename(place)
    remove_folder(aside)
    _add_to_card(folder / MODEL_CARD, facts)


def keep_refit(before: Path, folder: Path, entry: Mapping[str, Any]) -> None:
    """Copy the refit of a model into a new folder of the same model. Do nothing if there is no refit, or if the model is another.

    Args:
        before: present folder of the model.
        folder: new folder of the model, with its networks and its card.
        entry: entry of the model in ``results.json``.
    """
    facts = _stored_facts(refit_folder(before))
    if facts is not None and _has_same_networks(before, folder, entry):
        shutil.copytree(refit_folder(before), refit_folder(folder))
        _add_to_card(folder / MODEL_CARD, facts)


def keep_versions(before: Path, folder: Path, entry: Mapping[str, Any]) -> None:
    """Copy the later versions of a model into a new folder of the same model. Do nothing if the model is another.

    The arguments are those of :func:`keep_refit`. The next update adds the history to the model card.
    """
    if has_versions(before) and _has_same_networks(before, folder, entry):
        if (before / VERSIONS).is_dir():
            shutil.copytree(before / VERSIONS, folder / VERSIONS)
        shutil.copy2(before / VERSIONS_FILE, folder / VERSIONS_FILE)


def has_versions(folder: Path) -> bool:
    """Return True if updates of the model in ``folder`` left a history."""
    return (folder / VERSIONS_FILE).is_file()


def _has_same_networks(before: Path, folder: Path, entry: Mapping[str, Any]) -> bool:
    names = entry.get("networks", ())
    if not names or not all((before / name).is_file() for name in names):
        return False
    return all((before / name).read_bytes() == (folder / name).read_bytes() for name in names)


def _about(facts: Refit) -> list[str]:
    return [
        facts.sentence,
        "",
        "The refit itself was not tested. Its temperature and decision weights are also those of the tested model, which is in"
        " the folder above. `predict`, `export` and `load_model` use the refit if you name the folder above. `--tested`, or"
        " `load_model(folder, tested=True)`, uses the tested model.",
    ]


def _add_to_card(path: Path, facts: Refit) -> None:
    """Add the section about the refit to the tested model's card. An earlier section is replaced."""
    if path.is_file():
        before = path.read_text(encoding="utf-8").split(f"\n{_HEADING}\n")[0].rstrip()
        lines = [
            before,
            "",
            _HEADING,
            "",
            f"In `refit/`. {facts.sentence} `predict` and `export` use the refit, or with `--tested` the tested model.",
            "",
        ]
        write_text(path, "\n".join(lines), make_folder=False)


def holds_refit(save_dir: Path, entry: Any, tested: Mapping[str, Any]) -> bool:
    """Return True if the refit of the tested model is complete and equals its entry in ``results.json``."""
    if not isinstance(entry, dict) or any(entry.get(key) != tested[key] for key in ("model_rank", "trial_number")):
        return False
    folder = refit_folder(model_folder(save_dir, tested["model_rank"]))
    facts = _stored_facts(folder)
    if facts is None or any(entry.get(key) != value for key, value in asdict(facts).items()):
        return False
    return all((folder / name).is_file() for name in entry["networks"])


def kept_refit(save_dir: Path, entry: Any, tested: Mapping[str, Any]) -> Any:
    """Return the entry of a refit if :func:`keep_refit` kept the refit when the tested model's folder was written; else None."""
    return entry if holds_refit(save_dir, entry, tested) else None


def kept_failure(failure: Any, tested: Mapping[str, Any], best_epochs: Sequence[int]) -> Any:
    """Return the entry of a failed refit if it is of the tested model; else None.

    Args:
        failure: entry ``refit_failure`` of ``results.json``.
        tested: entry of the tested model in ``results.json``.
        best_epochs: best epoch of each seed of the tested model.
    """
    of_model = {
        "model_rank": tested["model_rank"],
        "trial_number": tested["trial_number"],
        "best_epochs": [*best_epochs],
    }
    same = isinstance(failure, dict) and all(failure.get(key) == value for key, value in of_model.items())
    return failure if same else None


def _stored_facts(folder: Path) -> Refit | None:
    """Return the facts about the refit in a folder; None if the folder has no valid refit."""
    try:
        return StoredRefit.taken_from(parse_json(read_text(folder / DESCRIPTION, MAX_JSON_BYTES)))
    except ValueError:
        return None
