"""Confirmation: candidates are ranked by fresh seeds alone."""

import math
from collections import Counter
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from sklearn.metrics import matthews_corrcoef

from builders.finalists import CTRL_C, candidate, evaluation, go_on, params, runner_of
from cnn_lstm_hyperopt.config import TrainingSettings
from cnn_lstm_hyperopt.config.schema.retrain import RetrainSettings
from cnn_lstm_hyperopt.metrics import class_weights
from cnn_lstm_hyperopt.models import network_config
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.pipeline import confirmation as module
from cnn_lstm_hyperopt.pipeline.confirmation import SEEDS_APART, TIME_IS_UP, Measurement, confirm, until
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, ProgressReport
from cnn_lstm_hyperopt.search import count_confirmations
from cnn_lstm_hyperopt.training import Outcome, TrainingConfig, ValueScale, predict, train
from cnn_lstm_hyperopt.training.linear_start import LinearStarts
from cnn_lstm_hyperopt.training.runtime.device import seeded_dropout
from cnn_lstm_hyperopt.utils.rng import stream_seed

SCORES = {7: [0.5, 0.9, 0.4], 3: [0.6, 0.6, 0.7], 0: [0.8, 0.2, 0.7]}


class Fake:
    """A runner without training that gives ``scores[trial][seed - 1]``; each training takes a second of the clock."""

    def __init__(self, scores, clock=None):
        self.scores, self.clock, self.asked = scores, clock, []

    def confirm(self, number, configuration, on_report, *, checkpoint):
        trial, seed = divmod(number, SEEDS_APART)
        self.asked.append((trial, seed))
        found = self.scores[trial][seed - 1]
        score, loss = found if isinstance(found, Measurement) else (found, 1 - found)
        decision = on_report(ProgressReport(0.5, 0.5, 1.0))
        if self.clock is not None:
            self.clock.now += 1.0
        if decision.action is Action.CONTINUE:
            decision = on_report(ProgressReport(1.0, 1.0, 1.0, score, loss, last=self.clock is None))
        best = None if decision.action is not Action.CONTINUE else evaluation(loss, score)
        return SimpleNamespace(outcome=Outcome(1, best, 1.0, 1.0, 1.0, decision))


NOTHING = {"known": {}, "diverged": {}, "on_report": go_on, "on_measurement": go_on, "on_divergence": go_on}


def confirmed(scores, candidates=None, *, clock=None, **facts):
    """The result and the trainings asked for; candidates in the order of ``scores`` unless they are given."""
    fake = Fake(scores, clock)
    candidates = candidates or [candidate(rank, number) for rank, number in enumerate(scores, start=1)]
    seeds = max(map(len, scores.values()), default=1)
    facts = {"seeds": seeds, "keep": len(candidates), "checkpoints": Path("no-such-folder"), **NOTHING, **facts}
    return confirm(candidates, fake, **facts), fake.asked


def order(found):
    return [each.candidate.trial_number for each in found.ranked]


@pytest.fixture
def clock(monkeypatch):
    """A clock that only trainings move."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_seed_numbers_of_two_trials_never_meet():
    for name in ("confirm_seeds", "seeds"):
        (largest,) = (each.le for each in RetrainSettings.model_fields[name].metadata if hasattr(each, "le"))
        assert largest < SEEDS_APART


pairs = st.tuples(st.integers(-4, 4).map(float), st.integers(0, 2).map(float))
tables = st.integers(1, 4).flatmap(
    lambda n: st.dictionaries(st.integers(0, 99), st.lists(pairs, min_size=n, max_size=n), max_size=6)
)


@given(tables, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_mean_of_fresh_losses_decides_then_the_mean_score_and_then_the_searchs_order(table, random):
    """The search's own scores do not count."""
    scores = {number: [Measurement(*pair) for pair in each] for number, each in table.items()}
    found, asked = confirmed(scores, [candidate(rank, number, random.random()) for rank, number in enumerate(scores)])
    seeds = max(map(len, table.values()), default=0)
    assert asked == [(number, seed) for seed in range(1, seeds + 1) for number in scores]
    assert (Counter(order(found)), found.dropped, found.ended) == (Counter(scores.keys()), [], None)
    place = {number: rank for rank, number in enumerate(scores)}
    sums = {number: np.sum(each, axis=0) for number, each in table.items()}
    keys = [(sums[number][1], -sums[number][0], place[number]) for number in order(found)]
    assert keys == sorted(keys)
    for each in found.ranked:
        fresh = [score for score, _ in table[each.candidate.trial_number]]
        assert (each.scores, each.mean) == (tuple(fresh), pytest.approx(np.mean(fresh)))
        assert each.deviation == (pytest.approx(np.std(fresh, ddof=1)) if len(fresh) > 1 else None)


@given(
    st.integers(1, 9).flatmap(
        lambda n: st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=n, max_size=n)
    ),
    st.integers(1, 4),
    st.integers(0, 20),
)
@settings(max_examples=100, deadline=None)
def test_the_better_half_gets_the_next_seed_and_a_resumed_run_repeats_nothing(losses, keep, interrupted):
    """Against a simulation by hand; the interrupted run knows the first measurements of the whole run."""
    scores = {number: [Measurement(0.5, float(loss)) for loss in each] for number, each in enumerate(losses)}
    found, asked = confirmed(scores, keep=keep)
    left, expected = list(scores), []
    for seed in (1, 2, 3):
        expected += [(number, seed) for number in left]
        best = sorted(left, key=lambda number: sum(losses[number][:seed]) / seed)
        left = sorted(best[: max(min(len(best), keep), (len(best) + 1) // 2)])
    assert asked == expected
    assert len(asked) == count_confirmations(len(losses), 3, keep)
    assert sorted(order(found)[: len(left)]) == left
    used = [len(each.scores) for each in found.ranked]
    assert used == sorted(used, reverse=True)
    known = {
        number: [scores[number][seed - 1] for it, seed in asked[:interrupted] if it == number] for number in scores
    }
    again, missing = confirmed(scores, keep=keep, known=known)
    assert (again, missing) == (found, asked[interrupted:])


@pytest.mark.parametrize(
    ("seconds", "rounds", "expected"),
    [
        (0.0, 0, [7, 3, 0]),  # no complete round: the search's order
        (2.5, 0, [7, 3, 0]),
        (3.5, 1, [0, 3, 7]),
        (5.5, 1, [0, 3, 7]),  # two candidates have a second score, which does not count
        (6.5, 2, [7, 3, 0]),
        (9.5, 3, [3, 7, 0]),
    ],
)
def test_only_whole_rounds_count_when_time_is_up(clock, seconds, rounds, expected):
    found, asked = confirmed(SCORES, clock=clock, seconds_left=seconds)
    assert order(found) == expected
    assert [each.scores for each in found.ranked] == [tuple(SCORES[number][:rounds]) for number in expected]
    assert found.ended == (None if rounds == 3 else Decision(Action.STOP, TIME_IS_UP))
    assert len(asked) == min(9, int(seconds) + 1)


def test_a_training_at_its_last_report_is_not_cut(clock):
    limited = until(5.0, go_on())
    early, last = ProgressReport(0.5, 1.0, 2.0), ProgressReport(1.0, 2.0, 2.0, 0.6, 0.6, last=True)
    assert limited(early) == CONTINUE
    clock.now = 6.0
    assert (limited(last), limited(early)) == (CONTINUE, Decision(Action.STOP, TIME_IS_UP))
    assert until(5.0, lambda report: CTRL_C)(early) == CTRL_C


@pytest.fixture(scope="module")
def dataset(apple):
    return apple(end=date(2007, 12, 31), lookback=10, train_share=0.5)


def test_scores_are_those_of_trainings_by_hand_with_the_same_streams(dataset, tmp_path):
    seed, trial, epochs = 5, 7, 2
    runner = runner_of(dataset, max_epochs=epochs, metric="mcc", seed=seed)
    found = confirm([candidate(1, trial)], runner, seeds=2, keep=1, checkpoints=tmp_path, **NOTHING)
    (fold,) = dataset.for_trials().folds
    scale = ValueScale(fold.value_mean, fold.value_std)
    config = TrainingConfig.from_params(
        params(trial),
        TrainingSettings(max_epochs=epochs),
        max_epochs=epochs,
        precision=runner.costs.precision(params(trial)),
        early_reports=(),
        metric="mcc",
    )
    by_hand = []
    for fresh in (1, 2):

        def stream(use, number=SEEDS_APART * trial + fresh):
            return stream_seed(seed, number, f"confirmation: {use}")

        about = network_config(params(trial), input_dim=fold.train.input_dim, n_classes=2, has_regression=True)
        network = build_network(about, seed=stream("weights"), device=torch.device("cpu"))
        LinearStarts().apply(network, fold)
        generator = torch.Generator().manual_seed(stream("order and augmentation"))
        with seeded_dropout(stream("dropout"), torch.device("cpu")):
            windows = fold.train, fold.validation
            train(network, *windows, config, scale=scale, generator=generator, on_report=go_on())
        logits, _ = predict(network, fold.validation, scale, config.precision)
        rule = torch.from_numpy(class_weights(fold.train.labels.numpy(), 2))  # of a metric that balances classes
        decided = (logits.softmax(dim=1) * rule).argmax(dim=1)
        by_hand.append(matthews_corrcoef(fold.validation.labels, decided))
    assert found.ranked[0].scores == pytest.approx(by_hand, abs=1e-12)
    assert len({*by_hand, runner.run_trial(trial, params(trial), go_on()).outcome.best.score}) == 3


TRUE, NOISE, TRIALS, FRONT, SEEDS, STUDIES = 0.55, 0.02, 300, 15, 3, 400


def expected_maximum(n):
    """Of n standard normal numbers."""
    return integrate.quad(lambda x: x * n * stats.norm.pdf(x) * stats.norm.cdf(x) ** (n - 1), -8, 8)[0]


def test_the_searchs_first_score_is_biased_as_known_and_fresh_seeds_are_not():
    """Studies of equally good trials: the search's first, its fresh mean, the mean of all, and that of the confirmed first."""
    rng, rows = np.random.default_rng(0), []
    for _ in range(STUDIES):
        searched = np.sort(rng.normal(TRUE, NOISE, TRIALS))[::-1][:FRONT]
        candidates = [candidate(rank, rank, score, {}) for rank, score in enumerate(searched, start=1)]
        fresh = {rank: rng.normal(TRUE, NOISE, SEEDS).tolist() for rank in range(1, FRONT + 1)}
        found, _ = confirmed(fresh, candidates)
        first = next(each for each in found.ranked if each.candidate.rank == 1)
        rows.append((first.candidate.score, first.mean, np.mean([e.mean for e in found.ranked]), found.ranked[0].mean))
    bias, errors = np.mean(rows, axis=0) - TRUE, np.std(rows, axis=0, ddof=1) / math.sqrt(STUDIES)
    assert bias[0] == pytest.approx(NOISE * expected_maximum(TRIALS), abs=4 * errors[0])
    assert bias[0] > 0.05
    assert abs(bias[1]) < 4 * errors[1] < 0.003
    assert abs(bias[2]) < 4 * errors[2] < 0.001
    assert bias[3] == pytest.approx(NOISE / math.sqrt(SEEDS) * expected_maximum(FRONT), abs=4 * errors[3])
    assert bias[3] < bias[0] / 2
