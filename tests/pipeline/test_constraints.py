"""Runs with constraints on real bars: measured values, results, resume, and a bound that no trial keeps."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer
from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.errors import ConfigError, EmptyFrontError, RunError, SaveDirError
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.pipeline.fingerprint import fingerprint, require_same
from cnn_lstm_hyperopt.pipeline.run import run
from cnn_lstm_hyperopt.pipeline.setup import prepare_new
from cnn_lstm_hyperopt.reporting.html import write_report
from cnn_lstm_hyperopt.reporting.status import status_facts, status_lines
from cnn_lstm_hyperopt.search import StudyStorage
from cnn_lstm_hyperopt.search.narrowing import narrow_study


def settings_of(tiny, **constraints):
    return load_settings({**tiny, "constraints": constraints}, environment={})


def rows_of(folder: Path):
    with (folder / "trials.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def calibration_error(table: pd.DataFrame) -> float:
    """Guo et al. 2017 by loops: 15 bins of the confidence (i / 15, (i + 1) / 15]."""
    rising = table["probability_1"].to_numpy(dtype=float)
    confidence, right = np.maximum(rising, 1 - rising), (rising > 0.5) == (table["label"] == 1)
    total = 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            total += inside.sum() / len(table) * abs(right[inside].mean() - confidence[inside].mean())
    return total


@pytest.mark.slow
def test_measured_constraints_are_stored_and_decide_the_front(tiny):
    """The bound of the second run is the median of the first run, so it breaks for half of the same trials."""
    settings = settings_of(tiny, latency_ms=60_000, calibration_error=1)
    run(settings, RunEvents(), resume=False)
    folder = settings.save_dir
    complete = [row for row in rows_of(folder) if row["state"] == "COMPLETE"]
    errors = [float(row["calibration_error"]) for row in complete]
    for row, error in zip(complete, errors, strict=True):
        table = pd.read_parquet(folder / "validation" / f"trial_{int(row['number']):05d}.parquet")
        assert error == pytest.approx(calibration_error(table), abs=1e-5)
        assert float(row["latency_ms"]) > 0
        assert (row["feasible"], row["broken_constraints"]) == ("True", "")
    bound = float(np.median(errors))
    again = settings_of({**tiny, "save_dir": f"{folder}_2"}, calibration_error=bound)
    results = run(again, RunEvents(), resume=False)
    found = {int(row["number"]): row for row in rows_of(again.save_dir) if row["state"] == "COMPLETE"}
    broken = {number for number, row in found.items() if float(row["calibration_error"]) > bound}
    assert broken
    assert {number for number, row in found.items() if row["feasible"] == "False"} == broken
    assert not broken & {trial["trial_number"] for trial in results["best_trials"]}
    assert not broken & set((results["picks"] or {}).values())
    assert {each["trial_number"] for each in results["constraints"]["infeasible"]} == broken
    assert set(status_facts(again.save_dir)["infeasible"]) == broken
    assert all(f"trial {number}" in " ".join(status_lines(again.save_dir)) for number in sorted(broken)[-1:])
    with pytest.raises(SaveDirError) as refused:
        run(settings_of({**tiny, "save_dir": str(again.save_dir)}, calibration_error=1), RunEvents(), resume=True)
    assert [violation.field for violation in refused.value.violations] == ["constraints.calibration_error"]


@pytest.mark.slow
def test_without_a_feasible_trial_the_run_names_the_nearest_one(tiny, tmp_path):
    settings = settings_of({**tiny, "study": {**tiny["study"], "n_trials": 4}}, calibration_error=1e-9)
    with pytest.raises(EmptyFrontError) as ended:
        run(settings, RunEvents(), resume=False)
    folder = settings.save_dir
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    nearest = results["constraints"]["nearest"]
    rows = [row for row in rows_of(folder) if row["state"] == "COMPLETE"]
    assert nearest == int(min(rows, key=lambda row: float(row["calibration_error"]))["number"])
    assert f"trial {nearest}:" in str(ended.value)
    assert results["best_trials"] == []
    assert results["verdict"] is None
    assert f"trial {nearest}:" in "\n".join(status_lines(folder))
    page = write_report(folder)
    assert f"trial {nearest}:" in Path(page or folder / "report.html").read_text(encoding="utf-8")
    with pytest.raises(RunError):
        narrow_study(folder, tmp_path / "narrowed.yaml")
    with pytest.raises(EmptyFrontError):  # nothing is left to run
        run(settings, RunEvents(), resume=True)


def test_a_study_without_stored_constraints_is_resumed_without_constraints(tiny, apple):
    """As studies of earlier versions are."""
    dataset, storage, device = apple(), StudyStorage.in_memory("x"), torch.device("cpu")
    made_with = fingerprint(settings_of(tiny), dataset, device)
    earlier = {key: value for key, value in made_with.items() if not key.startswith("constraints.")}
    assert len(earlier) == len(made_with) - 3
    storage.set_attribute("made_with", earlier)
    require_same(storage, settings_of(tiny), dataset, device)
    with pytest.raises(SaveDirError) as refused:
        require_same(storage, settings_of(tiny, size_mb=2), dataset, device)
    assert [violation.field for violation in refused.value.violations] == ["constraints.size_mb"]


@pytest.mark.parametrize(
    ("constraints", "field"),
    [
        ({"latency_ms": 0}, "constraints.latency_ms"),
        ({"calibration_error": 1.5}, "constraints.calibration_error"),
        ({"latency": 5}, "constraints.latency"),
        (5, "constraints"),
    ],
)
def test_python_refuses_bad_constraints(tmp_path, constraints, field):
    with pytest.raises(ConfigError) as refused:
        CNNLSTMHyperparameterOptimizer(config="demo", save_dir=tmp_path / "x", constraints=constraints, quiet=True)
    assert [violation.field for violation in refused.value.violations] == [field]


@pytest.mark.parametrize(("limit", "bound", "smaller"), [(3, 2, 2), (1, 2, 1), (None, 2, 2), (3, None, 3)])
def test_the_smaller_bound_of_the_size_limits_proposals(tiny, apple, limit, bound, smaller):
    settings = load_settings({**tiny, "limits": {"size_mb": limit}, "constraints": {"size_mb": bound}}, environment={})
    plan = prepare_new(settings, apple(), on_benchmark=lambda: None, recalibrate=False).plan
    assert plan.limits.size_mb == smaller
    assert plan.constraints == {}
