"""results.json and trials.csv: keys as the specification names them, figures against brute force."""

import csv
import io
import json
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_lstm_hyperopt.config import PARAMETERS
from cnn_lstm_hyperopt.pipeline.results.search_results import (
    cost_model_facts,
    environment,
    search_facts,
    search_results,
)
from cnn_lstm_hyperopt.pipeline.results.trials_csv import COLUMNS, trials_csv
from cnn_lstm_hyperopt.search import SkillThreshold, State, front_hypervolume, hypervolume_history
from cnn_lstm_hyperopt.search.pruners import is_exempt
from cnn_lstm_hyperopt.search.pruning_stats import false_prunes, seconds_saved

SKILL = SkillThreshold(0.5, 100)  # needs 0.60


@pytest.fixture
def records(make_record):
    return [
        make_record(0, values=(0.55, 1.0, 1.0), curve=[0.5, 0.55]),
        make_record(1, values=(0.70, 4.0, 2.0)),
        make_record(2, state=State.PRUNED, reason="median: accuracy 0.5", curve=[0.4, 0.5], seconds=2.0),
        make_record(3, state=State.FAIL, reason='RuntimeError: boom, "quoted"'),
        make_record(4, values=(0.80, 5.0, 3.0), retry_of=3),
        make_record(5, values=(0.65, 9.0, 9.0)),
        make_record(6, state=State.PRUNED, reason="limit: projected", seconds=1.0),
        make_record(7, state=State.RUNNING),
    ]


def rows_of(records, space, skill=SKILL, train_share=1.0):
    """Rows of trials.csv."""
    return list(csv.DictReader(io.StringIO(trials_csv(records, space, skill, train_share=train_share))))


def strict(tree):
    """What strict JSON holds of it."""
    return json.loads(json.dumps(tree, allow_nan=False))


def test_results_have_the_keys_of_the_specification_and_the_ranked_front(records, space):
    results = strict(search_results("my study", records, SKILL, space))
    assert list(results) == ["study_name", "n_trials_completed", "best_trials", "optimization_history", "timestamp"]
    assert (results["study_name"], results["n_trials_completed"]) == ("my study", 6)
    assert datetime.fromisoformat(results["timestamp"]).tzinfo is not None
    best, keys = results["best_trials"], {"trial_number", "values", "params", "rank", "above_chance"}
    found = [(b["rank"], b["trial_number"], b["values"], b["above_chance"]) for b in best]
    assert found == [(1, 4, [0.8, 5.0, 3.0], True), (2, 1, [0.7, 4.0, 2.0], True)]
    assert [set(b) for b in best] == [keys, keys]
    params = best[0]["params"]
    assert params["cnn.dropout"] == 0.25
    assert isinstance(params["cnn.filter_sizes"], list)
    assert {k: v for k, v in records[4].params.items() if k != "cnn.filter_sizes"}.items() <= params.items()


def test_history_has_a_row_for_each_finished_trial(records, make_record, space):
    history = search_results("x", records, SKILL, space)["optimization_history"]
    assert [row["trial_number"] for row in history] == [0, 1, 2, 4, 5, 6]
    assert [row["best_accuracy"] for row in history] == [0.55, 0.7, 0.7, 0.8, 0.8, 0.8]
    assert [row["front_size"] for row in history] == [1, 1, 1, 2, 2, 2]
    expected = {"trial_number": 2, "state": "PRUNED", "values": None, "best_accuracy": 0.7, "front_size": 1}
    assert history[2] == expected
    (row,) = search_results("x", [make_record(0, state=State.PRUNED)], SKILL, space)["optimization_history"]
    assert row["best_accuracy"] is None


@pytest.mark.parametrize(
    ("metric", "name", "values"),
    [("mcc", "mcc", [-0.2, 0.1, 0.4]), ("log_loss", "negative_log_loss", [-3.0, -0.69, -0.6])],
)
def test_results_name_the_metric_of_the_study(make_record, space, plan, metric, name, values):
    skill = SkillThreshold.on(metric, [[0, 1] * 500])
    records = [make_record(i, values=(value, 1.0 + i, 1.0)) for i, value in enumerate(values)]
    history = search_results("x", records, skill, space)["optimization_history"]
    assert [row[f"best_{name}"] for row in history] == values
    assert not any("best_accuracy" in row for row in history)
    facts = strict(search_facts(records, replace(plan, skill=skill)))
    assert (facts["metric"], facts["skill_gate"]["metric"]) == (metric, metric)
    assert facts["skill_gate"]["threshold"] == skill.threshold
    assert facts["hypervolume"]["reference"][name] == skill.chance
    assert facts["hypervolume"]["space"][0] == name.replace("_", " ")
    assert facts["hypervolume"]["value"] > 0
    rows = rows_of(records, space, skill)
    assert [float(row[name]) for row in rows] == values
    assert "accuracy" not in rows[0]


triples = st.tuples(st.integers(55, 70).map(lambda k: k / 100), st.integers(1, 5), st.integers(1, 5))


@settings(deadline=None, max_examples=60)
@given(values=st.lists(triples, max_size=12))
def test_the_front_equals_brute_force_after_every_trial(make_record, space, values):
    """Where no trial beats chance, the front is that of all complete trials and is marked."""
    records = [make_record(i, values=v) for i, v in enumerate(values)]
    records.append(make_record(len(values), state=State.PRUNED, curve=[0.59]))
    results = search_results("x", records, SKILL, space)
    history = results["optimization_history"]
    for n in range(1, len(values) + 1):
        skilled = [v for v in values[:n] if v[0] > 0.6] or values[:n]
        front = [
            v for v in skilled if not any(w[0] >= v[0] and w[1] <= v[1] and w[2] <= v[2] and w != v for w in skilled)
        ]
        assert history[n - 1]["front_size"] == len(front)
    if values:
        found = [(*trial["values"], trial["above_chance"]) for trial in results["best_trials"]]
        assert sorted(found) == sorted((*value, value[0] > 0.6) for value in front)


def test_facts_count_states_reasons_and_seconds(make_record, records, plan):
    with_one_cut_off = [*records, make_record(8, state=State.WAITING)]
    counts = {"COMPLETE": 4, "PRUNED": 2, "FAIL": 1, "RUNNING": 1, "WAITING": 1}
    assert search_facts(with_one_cut_off, plan)["counts"] == counts
    facts = strict(search_facts(records, plan))
    assert facts["counts"] == {**counts, "WAITING": 0}
    assert facts["pruned_by"] == {"limit": 1, "median": 1}
    assert facts["training_seconds"] == sum(r.seconds for r in records)
    assert facts["metric"] == "accuracy"
    threshold = {
        "chance": 0.5,
        "n_validation": 100,
        "overlap": 1,
        "metric": "accuracy",
        "error": None,
        "dependence": 1.0,
    }
    assert facts["skill_gate"] == {**threshold, "threshold": pytest.approx(0.6)}
    volume, (value, reference) = facts["hypervolume"], front_hypervolume(records, SKILL)
    assert (volume["value"], volume["reference"]) == (value, reference)
    assert list(reference) == ["accuracy", "training_seconds", "size_mb"]
    assert volume["space"] == ["accuracy", "ln seconds", "ln MB"]
    history = hypervolume_history(records, SKILL)
    assert volume["history"] == [dict(zip(("trials", "seconds", "value"), row, strict=True)) for row in history]
    assert len(volume["history"]) > 1
    assert volume["history"][-1]["value"] == pytest.approx(value)
    for unknown in (facts["pruning"]["seconds_saved"], facts["pruning"]["wrongly_pruned"]):  # few trials: null, and why
        assert [unknown[key] for key in ("estimate", "low", "high")] == [None] * 3
        assert unknown["why"]
    assert [facts["pruning"]["wrongly_pruned"][key] for key in ("exempt_would_have_ended", "of_these_on_front")] == [
        0,
        0,
    ]


def test_an_empty_study_has_empty_results(plan, space):
    results = search_results("x", [], SKILL, space)
    assert (results["n_trials_completed"], results["best_trials"], results["optimization_history"]) == (0, [], [])
    assert rows_of([], space) == []
    facts = strict(search_facts([], plan))
    assert facts["counts"] == {"COMPLETE": 0, "PRUNED": 0, "FAIL": 0, "RUNNING": 0, "WAITING": 0}
    assert (facts["hypervolume"]["value"], facts["hypervolume"]["history"]) == (0.0, [])
    pruning = facts["pruning"]
    assert (pruning["pruned_by"], pruning["seconds_spent"], pruning["exempt"]) == ({}, 0, 0)


@pytest.fixture
def pruned_study(make_record):
    """Ten complete trials of six epochs, one of them exempt, two ended by the pruner."""
    records = [make_record(i, values=(0.7, 6.0, 2.0), curve=6 * [0.7], seconds=6.0) for i in range(10)]
    attributes = {"would_have_ended": {"epoch": 2.0, "reason": "median: x"}}
    records.append(make_record(10, values=(0.8, 6.0, 2.0), curve=6 * [0.8], seconds=6.0, attributes=attributes))
    records += [make_record(i, state=State.PRUNED, reason="median: x", curve=2 * [0.6], seconds=2.0) for i in (11, 12)]
    return records


def test_pruning_is_summed_up_with_its_intervals(pruned_study, plan):
    """Beyond epoch 2 of 10, all took 4 of the 8 seconds left: 4 s were saved by each of the two."""
    pruning = strict(search_facts(pruned_study, plan))["pruning"]
    assert pruning["pruned_by"] == {"median": 2}
    assert pruning["seconds_spent"] == 11 * 6 + 2 * 2
    saved = seconds_saved(pruned_study, 10, 0)
    assert pruning["seconds_saved"] == {"estimate": saved[0], "low": saved[1], "high": saved[2], "why": None}
    assert saved[0] == pytest.approx(8.0)
    share = false_prunes(pruned_study, plan.skill).share
    counts = {"exempt_would_have_ended": 1, "of_these_on_front": 1}
    assert pruning["wrongly_pruned"] == {"estimate": 1.0, "low": share[1], "high": 1.0, "why": None, **counts}
    assert pruning["exempt"] == sum(is_exempt(plan.seed, n) for n in range(13))


def test_a_prediction_is_held_against_the_epochs_that_were_measured(make_record):
    """Predicted was a second for each of ten epochs."""
    speeds = SimpleNamespace(device="a device", measured="2026-11-24")
    measured = {"estimated_seconds": 10.0, "epochs": 5.0, "measured_seconds": 9.0}
    records = [
        make_record(0, state=State.PRUNED, attributes={"epochs": 1.0}),
        make_record(1, values=(0.7, 20.0, 1.0), attributes=measured),
        make_record(2, state=State.FAIL, attributes={"estimated_seconds": 10.0}),
    ]
    facts = cost_model_facts(speeds, records, 10)["measured_to_predicted"]
    assert facts["trials"] == 1
    assert facts["median"] == pytest.approx(1.8)


def test_environment_names_versions_device_and_seed():
    facts = strict(environment("cpu", 7))
    assert (facts["device"], facts["seed"]) == ("cpu", 7)
    assert {"torch", "optuna", "numpy", "cnn-lstm-hyperopt"} <= set(facts["packages"])


def test_the_table_has_a_row_for_each_trial_and_a_column_for_each_parameter(records, make_record, space):
    cut = make_record(8, state=State.PRUNED, reason="median: x", curve=[0.4, 0.6, 0.5])  # its loss is 1 − accuracy
    rows = rows_of([*records, cut], space)
    assert list(rows[0]) == [*COLUMNS, *PARAMETERS]
    assert [int(row["number"]) for row in rows] == list(range(9))
    assert [row["state"] for row in rows] == [record.state.value for record in (*records, cut)]
    assert rows[3]["reason"] == 'RuntimeError: boom, "quoted"'
    assert [row["retry_of"] for row in rows] == ["", "", "", "", "3", "", "", "", ""]
    assert [row["above_chance"] for row in rows] == ["False", "True", "", "", "True", "True", "", "", ""]
    assert [row["accuracy"] for row in rows] == ["0.55", "0.7", "0.5", "", "0.8", "0.65", "", "", "0.6"]
    for row, record in zip(rows, (*records, cut), strict=True):  # fixed parameters have values, inactive ones none
        assert (row["cnn.dropout"], row["augmentation.switch"]) == ("0.25", "False")
        assert row["cnn.filter_sizes"] == str([int(size) for size in record.params["cnn.filter_sizes"].split("-")])
        inactive = set(PARAMETERS) - {*record.params, "cnn.dropout", "augmentation.switch"}
        inactive -= {name for name, spec in PARAMETERS.items() if spec.earlier is not None}
        assert {row[name] for name in inactive} <= {""}
        assert float(row["training.learning_rate"]) == record.params["training.learning_rate"]


def test_projections_are_scaled_to_all_training_windows_and_origins_have_columns(make_record, space):
    seconds, would = {"seconds": 3.0, "projected_seconds": 6.0}, {"epoch": 3.0, "reason": "front: at epoch 3, x"}
    attributes = {"epochs": 2.5, "memory_mb": 100.5, "origin": "enqueued", "would_have_ended": would}
    record = make_record(0, values=(0.7, 3.0, 1.0), attributes=attributes, **seconds)
    row, plain = rows_of([record, make_record(1, values=(0.7, 3.0, 1.0))], space, train_share=0.25)
    names = ("training_seconds", "projected_seconds", "projected_full_seconds", "epochs", "memory_mb", "size_mb")
    assert [float(row[name]) for name in names] == [3.0, 6.0, 24.0, 2.5, 100.5, 1.0]
    names = ("origin", "would_have_ended_epoch", "would_have_ended_reason")
    assert [row[name] for name in names] == ["enqueued", "3.0", "front: at epoch 3, x"]
    assert [plain[name] for name in names] == ["", "", ""]
