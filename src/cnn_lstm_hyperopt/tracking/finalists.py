"""Retrained models as runs: what the test period said of each, its files, and the model in MLflow's PyTorch flavour."""

import hashlib
from collections.abc import Iterator
from typing import Any

from mlflow.exceptions import MlflowException

from cnn_lstm_hyperopt.inference.model import DESCRIPTION, WEIGHTS
from cnn_lstm_hyperopt.run_dir.paths import model_folder
from cnn_lstm_hyperopt.tracking.content import finalist_content
from cnn_lstm_hyperopt.tracking.flavour import MODEL, log_pytorch_model
from cnn_lstm_hyperopt.tracking.refusals import Refusals
from cnn_lstm_hyperopt.tracking.runs import FINALIST, Known, Runs
from cnn_lstm_hyperopt.tracking.source import Snapshot
from cnn_lstm_hyperopt.tracking.target import Target

_SUPERSEDED = "superseded"
_FOLDER = "retrained_model"


def entries_of(snapshot: Snapshot) -> list[dict[str, Any]]:
    """What ``results.json`` says of each retrained model that is whole, by rank."""
    entries = (snapshot.results or {}).get("retrained_models") or []
    return [
        entry
        for entry in entries
        if all(
            (model_folder(snapshot.save_dir, entry["model_rank"]) / name).is_file() for name in (WEIGHTS, DESCRIPTION)
        )
    ]


def count_written(runs: Runs, snapshot: Snapshot) -> int:
    """Of the retrained models, before any of them is looked at more closely."""
    known = runs.of_kind(FINALIST).values()
    whole = sum(each.ended and MODEL in each.tags and each.tags.get(_SUPERSEDED) != "true" for each in known)
    return min(whole, len(entries_of(snapshot)))


def mirror_finalists(runs: Runs, study: Known, snapshot: Snapshot, target: Target, refusals: Refusals) -> Iterator[int]:
    """Writes those that are missing; yields, after each, how many are written by then.

    Models of an earlier retraining stay, with a tag that says so.
    """
    current = set()
    best: Known | None = None
    done = 0
    for entry in entries_of(snapshot):
        folder = model_folder(snapshot.save_dir, entry["model_rank"])
        key = _key(entry, (folder / WEIGHTS).read_bytes())
        current.add(key)
        known = runs.find(FINALIST, key)
        if known is None or not known.ended or MODEL not in known.tags:
            known = None
            with refusals.of(f"model {entry['model_rank']}"):
                known = _finalist(runs, study, snapshot, target, entry, key)
        if known is not None:
            best = best or known
            done += 1
            yield done
    for key, known in runs.of_kind(FINALIST).items():
        if (superseded := key not in current) or _SUPERSEDED in known.tags:
            runs.tag(known, {_SUPERSEDED: str(superseded).lower()})
    if best is not None and target.register_as is not None:
        with refusals.of(f"the registered model {target.register_as}"):
            _register(runs, best, target.register_as)


def _finalist(runs: Runs, study: Known, snapshot: Snapshot, target: Target, entry: dict[str, Any], key: str) -> Known:
    rank, number = entry["model_rank"], entry["trial_number"]
    folder, moment = model_folder(snapshot.save_dir, rank), snapshot.ended_at(number)
    name = f"retrained model {rank} (trial {number})"
    known = runs.get_or_make(FINALIST, key, name=name, began=moment, parent=study.run_id)
    runs.write(known, finalist_content(entry, snapshot.results or {}, moment))
    runs.client.log_artifacts(known.run_id, str(folder), _FOLDER)
    log_pytorch_model(runs, known, folder, target)
    runs.end(known, "FINISHED", int((folder / WEIGHTS).stat().st_mtime * 1000))
    return known


def _key(entry: dict[str, Any], weights: bytes) -> str:
    return f"{entry['model_rank']}-{entry['trial_number']}-{hashlib.sha256(weights).hexdigest()[:16]}"


def _register(runs: Runs, best: Known, name: str) -> None:
    """The best model is a version of the registered one, once."""
    client = runs.client
    try:  # to look for it first would do for most names only, and another run may make it meanwhile
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    if name in {version.name for version in client.search_model_versions(f"run_id = '{best.run_id}'")}:
        return
    model_id = best.tags[MODEL]
    source = client.get_logged_model(model_id).artifact_location
    client.create_model_version(name, source, best.run_id, await_creation_for=0, model_id=model_id)
