"""A directory as a run leaves it after its search, made by the search itself on a function that trains nothing."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.config import Params, Settings, dump_settings, load_settings
from cnn_lstm_hyperopt.reporting.results import search_facts, search_results
from cnn_lstm_hyperopt.search import Cost, Limits, SkillGate, Study, StudyPlan, StudyStorage, optimise

GATE = SkillGate(0.55, 2000)


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


def searched(folder: Path, n_trials: int, *, name: str = "cheap", sampler: str = "random", **more: Any) -> Path:
    """Searches so many trials in ``folder``, with a ``results.json`` of what a search writes; ``more`` goes over it."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = load_settings(
        {"study": {"name": name, "n_trials": n_trials}, "training": {"max_epochs": 10}, "save_dir": str(folder)}
    )
    (folder / "config.yaml").write_text(dump_settings(settings), encoding="utf-8")
    storage = StudyStorage(
        folder / "study.db", create=name, attributes={"skill_gate": asdict(GATE), "n_trials": n_trials}
    )
    plan = plan_of(settings, n_trials, sampler)
    study = Study(storage, plan)
    optimise(study, evaluate)
    records = study.records()
    storage.close()
    results = {**search_results(name, records, GATE, plan.space), **search_facts(records, plan), **more}
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return folder


def plan_of(settings: Settings, n_trials: int, sampler: str) -> StudyPlan:
    """Of the whole space, with the median pruner."""
    return StudyPlan(
        space=settings.space,
        sampler=settings.sampler.model_copy(update={"type": sampler}),
        pruner=settings.pruner.model_copy(update={"n_startup_trials": 5, "n_warmup_steps": 2}),
        seed=settings.study.seed,
        n_trials=n_trials,
        max_epochs=settings.training.max_epochs,
        limits=Limits(),
        gate=GATE,
        cost=lambda params: Cost(1.0, size(params)),
    )
