"""Fingerprint of a study: the settings and the hash of the data that must be the same when the study is resumed."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from cnn_lstm_hyperopt.config import Fixed, SearchSpace, Settings, TrainingSettings
from cnn_lstm_hyperopt.config.schema.constraints import ConstraintSettings
from cnn_lstm_hyperopt.config.schema.training import MIN_PATIENCE, SMALL_DATA
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.errors import SaveDirError, Violation
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.search import StudyStorage, TrialRecord, with_fixed
from cnn_lstm_hyperopt.search.study_space import read_description
from cnn_lstm_hyperopt.space.parameters import Specs
from cnn_lstm_hyperopt.space.search_space import ARCHITECTURE, ARCHITECTURES
from cnn_lstm_hyperopt.utils.nested import flattened
from cnn_lstm_hyperopt.utils.text import counted, shown_names

TRAINED_EARLIER = {"training.warmup_epochs": 0.0, "training.weight_averaging": "none"}
"""Values of settings that earlier versions lacked."""
ADAM_DECAY = "adam_decay"
"""Key of the study attribute that says how the optimiser ``adam`` applies weight decay. Earlier versions stored no such key."""
SELECT, CONSTRAINTS = "features.select", "constraints"
CLASS_WEIGHTS, MIN_EPOCH_STEPS, SPACE = "training.class_weights", "training.min_epoch_steps", "search_space"
PATIENCE, TIME_OBJECTIVE = "training.min_patience", "study.time_objective"
DATA = "data.sha256"


def require_same(storage: StudyStorage, settings: Settings, dataset: Dataset, device: torch.device) -> None:
    """Compare the stored fingerprint of a study with the fingerprint of the current settings and data.

    Raises:
        SaveDirError: the fingerprints differ. The error has one violation for each setting that differs.
    """
    before = _stored_fingerprint(storage, settings, dataset)
    changed = _differences(before, fingerprint(settings, dataset, device))
    if DATA in changed and (symbols := _changed_symbols(settings, dataset, before.get(DATA))):
        changed[DATA] = f"{DATA}: {symbols}"
    if changed:
        what = "data" if set(changed) == {DATA} else "settings"
        raise SaveDirError(
            f"{settings.save_dir} was made with other {what}, so its trials can't be compared with new ones:\n  "
            + "\n  ".join(changed.values())
            + "\nundo these changes, or choose another --save-dir",
            violations=[Violation(key, "study-differs") for key in changed],
        )


def fingerprint(settings: Settings, dataset: Dataset, device: torch.device) -> dict[str, Any]:
    """Return the settings and the hash of the data that must not change when a study is resumed.

    The folder of the bars may change.
    """
    return {
        "study.seed": settings.study.seed,
        "study.metric": settings.study.metric,
        TIME_OBJECTIVE: settings.study.time_objective,
        **flattened(json.loads(settings.data.model_dump_json(exclude={"data_dir", "features_seconds"})), "data."),
        "data.cv_folds": _resolved_folds(settings, dataset),
        **flattened(json.loads(settings.training.model_dump_json(exclude={"device"})), "training."),
        CLASS_WEIGHTS: _resolved_class_weights(settings.training, settings.study.metric),
        **flattened(settings.search_space.as_dict(), f"{SPACE}.", levels=2),
        SELECT: settings.features.select,
        **flattened(json.loads(settings.constraints.model_dump_json()), f"{CONSTRAINTS}."),
        DATA: dataset.description["sha256"],
        "training.device": device.type,
    }


def _resolved_folds(settings: Settings, dataset: Dataset) -> int:
    """Return the number of folds. ``auto`` and the number that it stands for have the same fingerprint."""
    return len(dataset.folds) if settings.data.source == "loaders" else settings.data.bar_folds


def _resolved_class_weights(training: TrainingSettings, metric: str) -> str:
    """Return the setting ``training.class_weights``. If its effect equals that of ``auto``, return ``auto``.

    So both settings have the same fingerprint.
    """
    if training.balances_classes(metric) == METRICS[metric].balances_classes:
        return "auto"
    return training.class_weights


def _stored_fingerprint(storage: StudyStorage, settings: Settings, dataset: Dataset) -> dict[str, Any]:
    """Return the stored fingerprint of a study.

    If the stored number of folds is ``auto``, it is replaced by the number used. Studies of earlier versions had no class
    weights and lack some parameters; their architecture is ``classic``.
    """
    made_with = dict(storage.attribute("made_with"))
    made_with.setdefault(f"{SPACE}.{ARCHITECTURE}", ARCHITECTURES[0])
    specs = settings.search_space.specs
    for name in _lacking(made_with, specs):
        made_with[f"{SPACE}.{name}"] = {"fixed": specs[name].earlier}
    # the number of steps has no effect on a study of an earlier version, which has one pass an epoch
    earlier = {MIN_EPOCH_STEPS: settings.training.min_epoch_steps, SELECT: False, **TRAINED_EARLIER}
    earlier |= {f"{CONSTRAINTS}.{name}": None for name in ConstraintSettings.model_fields}
    made_with = {**earlier, **made_with}
    if CLASS_WEIGHTS not in made_with:
        none = TrainingSettings(class_weights="none")
        made_with[CLASS_WEIGHTS] = _resolved_class_weights(none, made_with["study.metric"])
    if made_with.get("data.cv_folds") == "auto":
        if settings.data.source != "loaders":
            made_with["data.cv_folds"] = 1
        elif settings.data.cv_folds == "auto":
            made_with["data.cv_folds"] = len(dataset.folds)
    return made_with


def with_stored_space(settings: Settings, storage: StudyStorage) -> Settings:
    """Return the settings with the search space of a stored study.

    In a study of an earlier version, new parameters have the value of this version.
    """
    space = settings.search_space
    space = space.of_earlier_version(_lacking(storage.attribute("made_with"), space.specs))
    return settings.model_copy(update={SPACE: space})


def with_new_patience(settings: Settings, dataset: Dataset) -> Settings:
    """Return the settings of a new study with a number instead of ``auto`` as minimum patience.

    On small data, the number is that of all epochs of the longest training.
    """
    small = dataset.fold_windows < SMALL_DATA
    epochs = max(settings.training.max_epochs, settings.retrain.full_epochs)
    return _with_patience(settings, epochs if small else MIN_PATIENCE)


def with_stored_patience(settings: Settings, storage: StudyStorage) -> Settings:
    """Return the settings with the minimum patience of a stored study instead of ``auto``."""
    return _with_patience(settings, storage.attribute("made_with").get(PATIENCE, MIN_PATIENCE))


def with_new_time_objective(settings: Settings) -> Settings:
    """Return the settings of a new study with a time objective instead of ``auto``.

    Workers on other machines, whose speeds differ, can run trials of a study on a cluster or on a database server.
    """
    one_machine = settings.ray_address is None and settings.study.storage is None
    return _with_time_objective(settings, "measured" if one_machine else "estimated")


def with_stored_time_objective(settings: Settings, storage: StudyStorage) -> Settings:
    """Return the settings with the time objective of a stored study instead of ``auto``."""
    return _with_time_objective(settings, str(storage.attribute("made_with").get(TIME_OBJECTIVE, "measured")))


def _with_time_objective(settings: Settings, objective: str) -> Settings:
    if settings.study.time_objective != "auto":
        return settings
    study = settings.study.model_copy(update={"time_objective": objective})
    return settings.model_copy(update={"study": study})


def _with_patience(settings: Settings, patience: int) -> Settings:
    if settings.training.min_patience != "auto":
        return settings
    training = settings.training.model_copy(update={"min_patience": patience})
    return settings.model_copy(update={"training": training})


def _lacking(made_with: Mapping[str, Any], specs: Specs) -> list[str]:
    """Return the parameters that the earlier version that made a study did not have."""
    return [name for name, spec in specs.items() if spec.earlier is not None and f"{SPACE}.{name}" not in made_with]


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    return {
        key: f"{key}: {before.get(key)} → {now.get(key)}"
        for key in {**before, **now}
        if before.get(key) != now.get(key)
    }


def _changed_symbols(settings: Settings, dataset: Dataset, stored: Any) -> str:
    """Return which symbols have other bars than in the study's ``data.json``; empty if that is not known.

    Args:
        stored: hash of the study's data.
    """
    try:
        description = read_description(settings.save_dir)
    except SaveDirError:  # the difference of the hashes is shown
        return ""
    before, now = description.get("symbols"), dataset.description.get("symbols")
    if description.get("sha256") != stored or not isinstance(before, Mapping) or not isinstance(now, Mapping):
        return ""
    both = [symbol for symbol in before if symbol in now]
    found = {
        "other bars of": [symbol for symbol in both if before[symbol].get("sha256") != now[symbol].get("sha256")],
        "no more bars of": [symbol for symbol in before if symbol not in now],
        "new bars of": [symbol for symbol in now if symbol not in before],
    }
    return "; ".join(f"{what} {shown_names(symbols)}" for what, symbols in found.items() if symbols)


def without_effect(records: Sequence[TrialRecord], space: SearchSpace) -> list[str]:
    """Return a warning for each parameter that an earlier version searched although the parameter had no effect."""
    fixed = {name: domain.value for name, domain in space.domains.items() if isinstance(domain, Fixed)}
    names: Counter[str] = Counter()
    for record in records:
        names.update(set(record.params) - set(space.active({**fixed, **record.params})))
    return [
        f"{counted(count, 'trial')} of an earlier version {'has' if count == 1 else 'have'} a value for {name}, which has no"
        " effect there; they still count, and new trials omit it"
        for name, count in sorted(names.items())
    ]


def decoupled_adam(storage: StudyStorage, records: Sequence[TrialRecord], space: SearchSpace) -> list[str]:
    """Return a warning if trials were trained by an earlier version in which ``adam`` used decoupled weight decay."""
    count = sum(with_fixed(space, record.params).get("training.optimizer") == "adam" for record in records)
    if storage.attribute(ADAM_DECAY) is not None or not count:
        return []
    return [
        f"{counted(count, 'trial')} of an earlier version {'was' if count == 1 else 'were'} trained with adam when it decoupled"
        " the weight decay, as adamw does; adam adds it to the gradient now, so new trials with adam differ from them"
    ]
