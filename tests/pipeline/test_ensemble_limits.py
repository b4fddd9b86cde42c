"""Ensembles within bounds on size and latency: members are left out until the bounds are kept, or there is no ensemble."""

from dataclasses import replace

import numpy as np
import pytest

from builders.finalists import SPACE, params, planted
from builders.models import untrained
from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.inference.metadata import ModelDescription
from cnn_lstm_hyperopt.metrics import score
from cnn_lstm_hyperopt.pipeline.calibration import held_out
from cnn_lstm_hyperopt.pipeline.ensemble_limits import EnsembleLimits
from cnn_lstm_hyperopt.pipeline.ensemble_selection import blend, blended
from cnn_lstm_hyperopt.pipeline.ensemble_weights import equal_weights
from cnn_lstm_hyperopt.search import random_configuration
from cnn_lstm_hyperopt.training.latency import window_milliseconds

LOOKBACK = 10


@pytest.fixture(scope="module")
def study(apple):
    """A dataset and three finalists with two untrained networks each."""
    dataset = apple(lookback=LOOKBACK)
    finalists = []
    for rank in (1, 2, 3):
        about = ModelDescription.of(dataset, random_configuration(SPACE, 0, rank), max_gap_days=10.0)
        finalists.append(planted(rank, *[untrained(about, seed=10 * rank + seed) for seed in (1, 2)]))
    return dataset, finalists


def networks_of(found):
    return [network for each in found.ensemble.members for network, _ in each.model.parts()]


def size_of_network(network):
    return network.config.cost(lookback=LOOKBACK).size_mb


def size_of(found):
    return sum(map(size_of_network, networks_of(found)))


def ensemble(study, limits, **facts):
    dataset, finalists = study
    predictions = [each.predictions(dataset.validation) for each in finalists]
    facts = {"selected_by": "log_loss", "method": "equal", "n_trials": 10**9, "limits": limits, **facts}
    return blend(finalists, predictions, dataset.validation, "log_loss", **facts)


@pytest.mark.parametrize("method", ["equal", pytest.param("stack", marks=pytest.mark.slow)])
def test_an_ensemble_keeps_its_bounds_and_says_what_it_leaves_out(study, method):
    dataset, finalists = study
    total = sum(2 * size_of_network(each.runs[0].model.parts()[0][0]) for each in finalists)
    for share in (1.0, 0.6):
        notes = []
        found = ensemble(study, EnsembleLimits(share * total, None, notes.append), method=method)
        assert size_of(found) <= share * total
        assert len(notes) == (size_of(ensemble(study, EnsembleLimits(), method=method)) > share * total)
        assert sum(each.weight for each in found.ensemble.members) == pytest.approx(1)
    assert dataset.test.times_opened == 0


def test_the_best_others_stay_if_one_is_left_out(study):
    """Brute force: of all ensembles of five of the six networks, the one with the best score of renormalised weights."""
    dataset, finalists = study
    whole = ensemble(study, EnsembleLimits())
    sizes = [size_of_network(each) for each in networks_of(whole)]
    found = ensemble(study, EnsembleLimits(sum(sizes) - min(sizes) / 2))
    said = [each for finalist in finalists for each in finalist.predictions(dataset.validation)]
    labels = dataset.validation.labels.numpy()

    def without(place):
        rest = [each.probabilities for number, each in enumerate(said) if number != place]
        return score("log_loss", labels, np.mean(rest, axis=0))

    worst = max(range(6), key=without)
    kept = {(each.model_rank, each.seed) for each in found.ensemble.members}
    assert kept == {(1 + place // 2, 1 + place % 2) for place in range(6) if place != worst}


def test_a_model_that_breaks_a_bound_alone_is_left_out_first(study):
    dataset, finalists = study
    large = untrained(
        ModelDescription.of(dataset, params() | {"lstm.hidden_dim": 64, "fusion.dim": 64}, max_gap_days=10.0)
    )
    runs = (replace(finalists[0].runs[0], model=large), *finalists[0].runs[1:])
    others = [replace(finalists[0], runs=runs), *finalists[1:]]
    bound = 0.99 * size_of_network(large.parts()[0][0])
    found = ensemble((dataset, others), EnsembleLimits(bound))
    assert [each.weight for each in found.ensemble.members] == pytest.approx([1 / 5] * 5)
    assert (1, 1) not in {(each.model_rank, each.seed) for each in found.ensemble.members}


def test_the_latency_of_all_members_keeps_its_bound_or_there_is_no_ensemble(study):
    whole = ensemble(study, EnsembleLimits())
    total = window_milliseconds(networks_of(whole), LOOKBACK)
    found = ensemble(study, EnsembleLimits(None, 1_000 * total))
    assert len(found.ensemble.members) == 6
    assert 0 < found.latency_ms <= 1_000 * total
    notes = []
    assert ensemble(study, EnsembleLimits(None, 1e-6, notes.append)) is None
    assert len(notes) == 1
    assert "latency_ms" in notes[0]


def test_bounds_of_the_settings_hold_for_the_ensemble_and_none_is_none(study, tiny):
    dataset, finalists = study
    known = held_out(finalists, dataset)

    notes = []
    settings = load_settings({**tiny, "constraints": {"size_mb": 1e-6}}, environment={})
    assert blended(finalists, known, dataset, settings, 5, "none", notes.append) is None
    assert notes == []
    assert blended(finalists, known, dataset, settings, 5, "equal", notes.append) is None
    assert len(notes) == 1
    assert "size_mb" in notes[0]
    assert dataset.test.times_opened == 0


def test_trials_of_also_are_no_members(study, tiny):
    """The second finalist is one of the best two, or a trial of ``retrain.also`` after the best one."""
    dataset, finalists = study
    for top_k, ranks in ((2, {1, 2}), (1, {1})):
        settings = load_settings({**tiny, "retrain": {"top_k": top_k, "also": ["fastest"]}}, environment={})
        found = blended(finalists, held_out(finalists, dataset), dataset, settings, 5, "equal")
        assert {each.model_rank for each in found.ensemble.members if each.baseline is None} == ranks


@pytest.mark.parametrize(("networks", "baselines"), [(3, 2), (3, 0), (0, 2), (1, 1)])
def test_networks_and_baselines_have_half_of_the_equal_weights(networks, baselines):
    weights = equal_weights(networks, baselines)
    assert len(weights) == networks + baselines
    assert weights.sum() == pytest.approx(1)
    if networks and baselines:
        assert weights[:networks].sum() == pytest.approx(0.5)
