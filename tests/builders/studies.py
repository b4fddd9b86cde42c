"""A directory as a run leaves it after its search, made by the search itself on a function that trains nothing."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.config import Params, Settings, dump_settings, load_settings
from cnn_lstm_hyperopt.pipeline.results.search_results import search_facts, search_results
from cnn_lstm_hyperopt.search import Cost, Limits, SkillThreshold, Study, StudyPlan, StudyStorage, optimise

SKILL = SkillThreshold(0.55, 2000)


def evaluate(params: Params, seed: int) -> Iterator[tuple[float, float, float, float]]:
    """Accuracy that the learning rate decides, reached the sooner the wider the LSTM, whose width costs seconds and MB."""
    rate = math.log10(float(params["training.learning_rate"]))
    best = 0.5 + 0.2 * math.exp(-((rate + 3) ** 2)) + 0.002 * (seed % 7)
    width = int(params["lstm.hidden_dim"])
    for epoch in range(1, 11):
        yield epoch, best - 0.2 / (epoch * math.log2(width)), epoch * width / 50, size(params)


def size(params: Params) -> float:
    """MB."""
    return int(params["lstm.hidden_dim"]) / 100 + int(params["cnn.num_filters"]) / 500


def searched(
    folder: Path,
    n_trials: int,
    *,
    name: str = "cheap",
    sampler: str = "random",
    metric: str = "accuracy",
    space: dict[str, Any] | None = None,
    pruner: str = "median",
    skill: SkillThreshold | None = None,
    **more: Any,
) -> Path:
    """Searches so many trials in ``folder``, with a ``results.json`` of what a search writes; ``more`` goes over it."""
    folder.mkdir(parents=True, exist_ok=True)
    study = {"name": name, "n_trials": n_trials, "metric": metric}
    chosen = {"study": study, "training": {"max_epochs": 10}, "save_dir": str(folder)}
    settings = load_settings(chosen if space is None else {**chosen, "search_space": space})
    skill = skill or (SKILL if metric == "accuracy" else replace(SKILL, chance=0.5, metric=metric, error=0.025))
    (folder / "config.yaml").write_text(dump_settings(settings), encoding="utf-8")
    attributes = {"skill_gate": asdict(skill), "n_trials": n_trials}
    storage = StudyStorage(folder / "study.db", create=name, metric=metric, attributes=attributes)
    plan = plan_of(settings, n_trials, sampler, skill, pruner=pruner)
    study = Study(storage, plan)
    optimise(study, evaluate)
    records = study.records()
    storage.close()
    results = {**search_results(name, records, skill, plan.space), **search_facts(records, plan), **more}
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return folder


def plan_of(
    settings: Settings, n_trials: int, sampler: str, skill: SkillThreshold = SKILL, *, pruner: str = "median"
) -> StudyPlan:
    """Of the settings' space."""
    return StudyPlan(
        space=settings.search_space,
        sampler=settings.sampler.model_copy(update={"type": sampler}),
        pruner=settings.pruner.model_copy(update={"type": pruner, "n_startup_trials": 5, "n_warmup_steps": 2}),
        seed=settings.study.seed,
        n_trials=n_trials,
        max_epochs=settings.training.max_epochs,
        limits=Limits(),
        skill=skill,
        cost=lambda params: Cost(1.0, size(params)),
    )


def plant_finals(folder: Path, *, names: tuple[str, str], loaders: bool = False) -> None:
    """A ``data.json``, of bars or of DataLoaders, and the first of the front as a model that was retrained and tested.

    Args:
        folder: of :func:`searched`.
        names: of the two classes; symbol and feature are named like the first.
        loaders: whether the data came from DataLoaders.
    """
    name = names[0]
    data: dict[str, Any] = {"lookback": 12, "horizon": 5, "class_names": list(names), "value_name": None}
    data["splits"] = {part: {"windows": 200, "class_shares": [0.5, 0.5]} for part in ("train", "validation", "test")}
    data |= {"warnings": [name], "sha256": "0" * 64}
    if loaders:
        data |= {"source": "DataLoaders", "target": "y_class", "features": 3}
    else:
        problem = {"severity": "warning", "text": names[1]}
        bars = {"bars": 900, "first": "2020-01-02", "last": "2023-08-01", "problems": [problem]}
        data |= {"source": name, "target": "triple_barrier", "features": [name, "ret_1", "rsi"]}
        data |= {"purge": {"train": "as far as each label looks", "validation": 5}, "survivorship": "not known"}
        windows = {"train": 200, "validation": 200, "test": 200, "purged": 10}
        data |= {"best_attainable_accuracy": None, "symbols": {name: bars}, "windows": {name: windows}}
    (folder / "data.json").write_text(json.dumps(data), encoding="utf-8")

    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    first = results["best_trials"][0]
    group = {"group": name, "n": 200, "accuracy": 0.61, "balanced_accuracy": 0.6, "majority_share": 0.52}
    scores = {"test_class_acc": 0.61, "test_class_acc_interval": [0.57, 0.65]}
    scores |= {"test_score": 0.21, "test_score_interval": [0.15, 0.27]}
    bins = [(0.5, 0.6, 150, 0.55, 0.57), (0.6, 0.7, 50, 0.64, 0.7)]
    calibration = [dict(zip(("low", "high", "n", "confidence", "right"), each, strict=True)) for each in bins]
    groups = {"by_symbol": [group], "by_year": [{**group, "group": "2023"}]}
    model = {"model_rank": 1, "trial_number": first["trial_number"], "config_params": first["params"]}
    model |= {"training_results": {"best_epoch": 3, "epochs": 5.0}}
    model |= {"test_metrics": {**scores, "calibration": calibration, **groups}}
    model |= {"latency": {"batch_1_ms": 1.25, "batch_256_ms": 64.0, "threads": 2, "device": "cpu"}}
    model |= {"seeds": [{"seed": 1, "validation_score": 0.63, "test_score": 0.61}]}
    (folder / "results.json").write_text(json.dumps({**results, "retrained_models": [model]}), encoding="utf-8")
    saved = folder / "retrained_model_1"
    saved.mkdir()
    rows = [f"2023-01-{1 + k % 28:02d},{k % 2},{(k // 2) % 2}" for k in range(200)]
    (saved / "predictions.csv").write_text("\n".join(["date,label,class", *rows]) + "\n", encoding="utf-8")
