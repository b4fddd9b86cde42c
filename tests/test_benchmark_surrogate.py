"""benchmarks/problems/surrogate.py: a table of trainings that follow formulas is served as the formulas say."""

import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.models import network_config
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.pareto import dominates
from cnn_lstm_hyperopt.search import random_configuration
from cnn_lstm_hyperopt.training.cost_model import TERMS

EPOCHS = 16
GRID = [0.25, 0.5, 0.75, *range(1, EPOCHS + 1)]
TOLD = [1 / 3, 0.5, 5 / 6, *range(1, EPOCHS + 1)]
"""As it is told with six steps an epoch."""
N, AGAIN = 90, 18
SLOW = 1.4
"""All take this much more than the cost model says."""


@pytest.fixture(scope="module")
def surrogate_of(imported: Callable[[str], ModuleType]) -> ModuleType:
    """The module."""
    return imported("problems.surrogate")


def final(params: dict[str, Any]) -> float:
    """Accuracy that a configuration ends at."""
    return 0.56 + 0.03 * (math.log10(params["training.learning_rate"]) + 5) + 0.03 * params["lstm.bidirectional"]


def speeds(factor: float) -> dict[str, Any]:
    """Of a machine; the second one is twice as slow."""
    each = [factor * speed for speed in (1e-4, 1e-9, 1e-11, 1e-11, 1e-9, 1e-11, 1e-11, 1e-9, 1e-8)]
    return {
        "device": "x",
        "measured": "2026-01-01",
        "speeds": {"float32": each},
        "evaluation": {"float32": 0.3},
        "process_mb": 500.0,
        "error": 0.05,
        "terms": list(TERMS),
    }


@pytest.fixture(scope="module")
def folder(surrogate_of: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What benchmarks/record.py would have written."""
    folder = tmp_path_factory.mktemp("recorded")
    about = {
        "machines": {"first": speeds(1.0), "second": speeds(2.0)},
        "epochs": EPOCHS,
        "training_windows": 1000,
        "chance": 0.55,
        "independent_validation_windows": 1400,
        "lookback": 16,
        "input_dim": 11,
        "n_classes": 2,
        "has_regression": True,
    }
    (folder / "made.json").write_text(json.dumps(about), encoding="utf-8")
    space = load_settings(None, environment={}).search_space
    facts = surrogate_of.Facts(about, space)
    luck = np.random.default_rng(3)
    rows, readings = [], []
    for number in range(N + AGAIN):
        of = -1 if number < N else 5 * (number - N)
        params = random_configuration(space, 0, number if of < 0 else of)
        machine = ("first", "second")[number % 2]
        state = "dear" if number % 10 == 9 and of < 0 else "whole"
        drift = (0.8, 1.0, 1.25)[number // 2 % 3]  # the machine's pace at the time, 1 in the median
        own = SLOW * drift * facts.seconds(params, facts.machines[machine])
        rows.append(
            {"number": number, "kind": "random" if of < 0 else "again", "of": of, "params": json.dumps(params)}
            | {"state": state, "machine": machine, "yardstick_seconds": 0.05 * drift}
        )
        offset = luck.normal(0, 0.004)
        for epoch, told in list(zip(GRID, TOLD, strict=True))[: None if state == "whole" else 4]:
            score = 0.55 + (final(params) - 0.55) * (1 - math.exp(-epoch / 3)) / (1 - math.exp(-EPOCHS / 3)) + offset
            seconds = own * (epoch + 0.5) / (EPOCHS + 0.5)
            readings.append({"number": number, "epoch": told, "score": score, "loss": 1 / epoch, "seconds": seconds})
    pd.DataFrame(rows).to_parquet(folder / "made_configurations.parquet")
    pd.DataFrame(readings).to_parquet(folder / "made_curves.parquet")
    return folder


@pytest.fixture(scope="module")
def surrogate(surrogate_of: ModuleType, folder: Path) -> Any:
    """Of that table."""
    return surrogate_of.Surrogate("made", folder)


def test_only_whole_trainings_count_and_repetitions_are_pairs_of_one_configuration(surrogate: Any) -> None:
    recorded = surrogate.recorded
    assert len(recorded.params) == N - N // 10 + AGAIN
    assert recorded.accuracy.shape == recorded.seconds.shape == (len(recorded.params), len(GRID))
    # Repetitions of configurations that were dear had no whole training to be a pair with.
    assert len(recorded.again) == sum(5 * k % 10 != 9 for k in range(AGAIN))
    assert all(recorded.params[first] == recorded.params[second] for first, second in recorded.again)


def test_seconds_of_all_machines_are_told_by_the_speeds_of_the_first(surrogate: Any) -> None:
    facts, recorded = surrogate.facts, surrogate.recorded
    wanted = [SLOW * facts.seconds(params, facts.reference) for params in recorded.params]
    np.testing.assert_allclose(recorded.seconds[:, -1], wanted, rtol=1e-6)


def test_the_truth_is_what_the_formulas_say(surrogate: Any) -> None:
    asked = [random_configuration(surrogate.space, 7, number) for number in range(150)]
    said = [surrogate.truth(params) for params in asked]
    assert spearmanr([each[0] for each in said], [final(params) for params in asked]).statistic > 0.85
    facts = surrogate.facts
    wanted = [SLOW * facts.seconds(params, facts.reference) for params in asked]
    np.testing.assert_allclose([each[1] for each in said], wanted, rtol=1e-6)
    for params, each in zip(asked[:5], said, strict=False):
        config = network_config(params, input_dim=11, n_classes=2, has_regression=True)
        network = build_network(config, seed=0, device=torch.device("cpu"))
        assert each[2] == pytest.approx(4e-6 * sum(weight.numel() for weight in network.parameters()), rel=1e-9)


def test_the_reference_front_is_that_of_all_that_was_recorded(surrogate: Any) -> None:
    """Of those that were trained for an epoch, too; nobody at chance is on it."""
    rows = [surrogate.truth(params) for params in surrogate.configurations]
    assert len(rows) == N + AGAIN
    useful = [row for row in rows if row[0] > surrogate.chance]
    best = {a for a in useful if not any(dominates((-b[0], *b[1:]), (-a[0], *a[1:])) for b in useful)}
    assert {tuple(row) for row in surrogate.reference_front().tolist()} == best


def test_readings_are_the_same_again_and_others_with_another_seed(surrogate: Any) -> None:
    params = random_configuration(surrogate.space, 3, 1)
    one, again, other = (list(surrogate.evaluate(params, seed)) for seed in (1, 1, 2))
    assert one == again != other
    for readings in (one, other):
        assert [epoch for epoch, *_ in readings] == GRID
        assert all(before[2] < after[2] for before, after in pairwise(readings))
        assert {size for *_, size in readings} == {surrogate.truth(params)[2]}


def test_noise_is_as_large_as_that_of_the_repetitions_and_the_truth_is_its_middle(surrogate: Any) -> None:
    """Offsets of 0.004, the same at all epochs; two of a pair differ by √2 of it."""
    noise = []
    for number in range(20):
        params = random_configuration(surrogate.space, 3, number)
        read = np.array([[score for _, score, *_ in surrogate.evaluate(params, seed)] for seed in range(100)])
        assert np.corrcoef(read[:, 0], read[:, -1])[0, 1] > 0.9
        noise.append(read[:, -1] - surrogate.truth(params)[0])
    assert abs(np.mean(noise)) < 0.0005
    assert 0.003 < np.std(noise) < 0.0055


def test_kept_is_the_accuracy_at_the_least_loss_so_far(surrogate_of: ModuleType) -> None:
    random = np.random.default_rng(3)
    for _ in range(50):
        accuracy, loss = random.random(12), random.integers(0, 8, 12) / 8.0
        said = surrogate_of.kept(accuracy, loss)
        for end in range(1, 13):
            assert said[end - 1] == accuracy[np.argmin(loss[:end])]


@pytest.mark.slow
def test_the_validation_has_a_row_a_model_and_sees_that_the_cost_model_is_right_but_for_a_factor(
    imported: Callable[[str], ModuleType], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    validation = imported("surrogate")
    validation.main(["--problem", "made", "--folder", str(folder)])
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    table = {row[0]: row[1:] for row in rows}
    assert list(table)[2:] == [*validation.MODELS, "the cost model alone", "repeated"]
    assert all(len(cells) == len(validation.EPOCHS) + 1 for name, cells in table.items() if "---" not in name)
    assert table["trees (what is served)"][-1] == "1.00, 1.00"  # all take SLOW times what is predicted
    trees, again = (float(table[name][-2].split(", ")[1]) for name in ("trees (what is served)", "repeated"))
    assert trees > 0.6
    assert again > 0.85
    with pytest.raises(SystemExit):
        validation.main(["--problem", "other", "--folder", str(folder)])
    assert "holds no other.json; record it with benchmarks/record.py" in capsys.readouterr().err
