"""benchmarks/problems/surrogate.py interpolates a table of trainings whose formulas are known."""

import json
import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

import surrogate as validation
from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.models import network_config
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.pareto import dominates
from cnn_lstm_hyperopt.search import random_configuration
from cnn_lstm_hyperopt.training.cost_model import EARLIER_TERMS
from problems.surrogate import Facts, Surrogate, kept

EPOCHS = 16
GRID = [0.25, 0.5, 0.75, *range(1, EPOCHS + 1)]
REPORTED = [1 / 3, 0.5, 5 / 6, *range(1, EPOCHS + 1)]  # with six steps an epoch
N, REPEATED = 90, 18
SLOW = 1.4  # every training takes this many times the predicted seconds
SHAPE = {"input_dim": 11, "n_classes": 2, "has_regression": True}


def final(params):
    """Accuracy after all epochs."""
    return 0.56 + 0.03 * (math.log10(params["training.learning_rate"]) + 5) + 0.03 * params["lstm.bidirectional"]


def speeds(factor):
    each = [factor * speed for speed in (1e-4, 1e-9, 1e-11, 1e-11, 1e-9, 1e-11, 1e-11, 1e-9, 1e-8)]
    return {
        "device": "x",
        "measured": "2026-01-01",
        "process_mb": 500.0,
        "error": 0.05,
        "terms": list(EARLIER_TERMS),
        "speeds": {"float32": each},
        "evaluation": {"float32": 0.3},
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files as benchmarks/record.py writes them."""
    folder = tmp_path_factory.mktemp("recorded")
    about = {
        "machines": {"first": speeds(1.0), "second": speeds(2.0)},
        "epochs": EPOCHS,
        "training_windows": 1000,
        "chance": 0.55,
        "independent_validation_windows": 1400,
        "lookback": 16,
        **SHAPE,
    }
    (folder / "made.json").write_text(json.dumps(about), encoding="utf-8")
    space = load_settings(None, environment={}).search_space
    facts, random, rows, curves = Facts(about, space), np.random.default_rng(3), [], []
    for number in range(N + REPEATED):
        of = -1 if number < N else 5 * (number - N)
        params = random_configuration(space, 0, number if of < 0 else of)
        machine = ("first", "second")[number % 2]
        state = "dear" if number % 10 == 9 and of < 0 else "whole"
        drift = (0.8, 1.0, 1.25)[number // 2 % 3]  # pace of the machine at that time; median 1
        own = SLOW * drift * facts.seconds(params, facts.machines[machine])
        rows.append(
            {"number": number, "kind": "random" if of < 0 else "again", "of": of, "params": json.dumps(params)}
            | {"state": state, "machine": machine, "yardstick_seconds": 0.05 * drift}
        )
        offset = random.normal(0, 0.004)
        for epoch, reported in list(zip(GRID, REPORTED, strict=True))[: None if state == "whole" else 4]:
            score = 0.55 + (final(params) - 0.55) * (1 - math.exp(-epoch / 3)) / (1 - math.exp(-EPOCHS / 3)) + offset
            seconds = own * (epoch + 0.5) / (EPOCHS + 0.5)
            curves.append({"number": number, "epoch": reported, "score": score, "loss": 1 / epoch, "seconds": seconds})
    pd.DataFrame(rows).to_parquet(folder / "made_configurations.parquet")
    pd.DataFrame(curves).to_parquet(folder / "made_curves.parquet")
    return folder


@pytest.fixture(scope="module")
def surrogate(folder):
    return Surrogate("made", folder)


def test_only_full_trainings_count_and_repetitions_are_pairs_of_one_configuration(surrogate):
    recorded = surrogate.recorded
    assert len(recorded.params) == N - N // 10 + REPEATED
    assert recorded.accuracy.shape == recorded.seconds.shape == (len(recorded.params), len(GRID))
    # Expensive configurations have no full training to make a pair with.
    assert len(recorded.again) == sum(5 * k % 10 != 9 for k in range(REPEATED))
    assert all(recorded.params[first] == recorded.params[second] for first, second in recorded.again)


def test_seconds_are_those_of_the_first_machine(surrogate):
    facts, recorded = surrogate.facts, surrogate.recorded
    expected = [SLOW * facts.seconds(params, facts.reference) for params in recorded.params]
    np.testing.assert_allclose(recorded.seconds[:, -1], expected, rtol=1e-6)


def test_interpolated_truth_follows_the_formulas(surrogate):
    configurations = [random_configuration(surrogate.space, 7, number) for number in range(150)]
    truth = [surrogate.truth(params) for params in configurations]
    assert spearmanr([each[0] for each in truth], [final(params) for params in configurations]).statistic > 0.85
    expected = [SLOW * surrogate.facts.seconds(params, surrogate.facts.reference) for params in configurations]
    np.testing.assert_allclose([each[1] for each in truth], expected, rtol=1e-6)
    for params, each in zip(configurations[:5], truth, strict=False):
        network = build_network(network_config(params, **SHAPE), seed=0, device=torch.device("cpu"))
        assert each[2] == pytest.approx(4e-6 * sum(weight.numel() for weight in network.parameters()), rel=1e-9)


def test_the_reference_front_covers_all_recorded_configurations_above_chance(surrogate):
    rows = [surrogate.truth(params) for params in surrogate.configurations]
    assert len(rows) == N + REPEATED
    useful = [row for row in rows if row[0] > surrogate.chance]
    best = {a for a in useful if not any(dominates((-b[0], *b[1:]), (-a[0], *a[1:])) for b in useful)}
    assert {tuple(row) for row in surrogate.reference_front().tolist()} == best


def test_measured_values_depend_on_the_seed_alone(surrogate):
    params = random_configuration(surrogate.space, 3, 1)
    one, again, other = (list(surrogate.evaluate(params, seed)) for seed in (1, 1, 2))
    assert one == again != other
    for measured in (one, other):
        assert [epoch for epoch, *_ in measured] == GRID
        assert all(before[2] < after[2] for before, after in pairwise(measured))
        assert {size for *_, size in measured} == {surrogate.truth(params)[2]}


def test_noise_is_as_large_as_that_of_the_repetitions(surrogate):
    """Offsets of 0.004, the same at all epochs; two of a pair differ by √2 of it."""
    noise = []
    for number in range(20):
        params = random_configuration(surrogate.space, 3, number)
        scores = np.array([[score for _, score, *_ in surrogate.evaluate(params, seed)] for seed in range(100)])
        assert np.corrcoef(scores[:, 0], scores[:, -1])[0, 1] > 0.9
        noise.append(scores[:, -1] - surrogate.truth(params)[0])
    assert abs(np.mean(noise)) < 0.0005
    assert 0.003 < np.std(noise) < 0.0055


def test_kept_is_the_accuracy_at_the_smallest_loss_so_far():
    random = np.random.default_rng(3)
    for _ in range(50):
        accuracy, loss = random.random(12), random.integers(0, 8, 12) / 8.0
        assert kept(accuracy, loss).tolist() == [accuracy[np.argmin(loss[:end])] for end in range(1, 13)]


@pytest.mark.slow
def test_the_validation_table_has_a_row_a_model_and_ranks_seconds_perfectly(folder, capsys):
    validation.main(["--problem", "made", "--folder", str(folder)])
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    table = {row[0]: row[1:] for row in rows}
    assert list(table)[2:] == [*validation.MODELS, "the cost model alone", "repeated"]
    assert all(len(cells) == len(validation.EPOCHS) + 1 for name, cells in table.items() if "---" not in name)
    trees, repeated = table["trees (what is served)"], table["repeated"]
    assert trees[-1] == "1.00, 1.00"
    assert float(trees[-2].split(", ")[1]) > 0.6
    assert float(repeated[-2].split(", ")[1]) > 0.85
    with pytest.raises(SystemExit):
        validation.main(["--problem", "other", "--folder", str(folder)])
