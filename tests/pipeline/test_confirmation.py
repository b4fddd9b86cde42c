"""Confirmation: candidates are ranked by fresh seeds alone."""

import errno
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

from builders.finalists import CTRL_C, DIVERGING, Killed, candidate, evaluation, go_on, params, runner_of
from cnn_lstm_hyperopt.config import TrainingSettings
from cnn_lstm_hyperopt.config.schema.retrain import RetrainSettings
from cnn_lstm_hyperopt.errors import StorageFailedError
from cnn_lstm_hyperopt.models import network_config
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.pipeline import confirmation as module
from cnn_lstm_hyperopt.pipeline.confirmation import (
    SEEDS_APART,
    TIME_IS_UP,
    Confirmation,
    Divergence,
    Measurement,
    confirm,
    until,
)
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, ProgressReport
from cnn_lstm_hyperopt.training import NonFiniteLossError, Outcome, TrainingConfig, ValueScale, predict, train
from cnn_lstm_hyperopt.training.runtime.device import seeded_dropout
from cnn_lstm_hyperopt.utils.rng import stream_seed

NAN = "the loss became nan in epoch 1"
SCORES = {7: [0.5, 0.9, 0.4], 3: [0.6, 0.6, 0.7], 0: [0.8, 0.2, 0.7]}


class Fake:
    """A runner without training: gives or raises ``scores[trial][seed - 1]``; each training takes a second of the clock."""

    def __init__(self, scores, clock=None):
        self.scores, self.clock, self.asked = scores, clock, []

    def confirm(self, number, configuration, on_report, *, checkpoint):
        trial, seed = divmod(number, SEEDS_APART)
        self.asked.append((trial, seed))
        if checkpoint.parent.exists():
            checkpoint.touch()
        score = self.scores[trial][seed - 1]
        if isinstance(score, BaseException):
            raise score
        score, loss = score if isinstance(score, Measurement) else (score, 0.6)
        decision = on_report(ProgressReport(0.5, 0.5, 1.0))
        if self.clock is not None:
            self.clock.now += 1.0
        if decision.action is Action.CONTINUE:
            decision = on_report(ProgressReport(1.0, 1.0, 1.0, score, loss, last=self.clock is None))
        best = None if decision.action is not Action.CONTINUE else evaluation(loss, score)
        return SimpleNamespace(outcome=Outcome(1, best, 1.0, 1.0, 1.0, decision))


NOTHING = {"known": {}, "diverged": {}, "on_report": go_on, "on_measurement": go_on, "on_divergence": go_on}


def measured(scores):
    return {number: [Measurement(score, 0.6) for score in each] for number, each in scores.items()}


def confirmed(scores, candidates=None, *, clock=None, **facts):
    """The result and the trainings asked for; candidates in the order of ``scores`` unless they are given."""
    fake = Fake(scores, clock)
    candidates = candidates or [candidate(rank, number) for rank, number in enumerate(scores, start=1)]
    seeds = max(map(len, scores.values()), default=1)
    facts = {"seeds": seeds, "checkpoints": Path("no-such-folder"), **NOTHING, **facts}
    return confirm(candidates, fake, **facts), fake.asked


def order(found):
    return [each.candidate.trial_number for each in found.ranked]


@pytest.fixture
def clock(monkeypatch):
    """A clock that only trainings move."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_candidates_are_trained_in_rounds_and_each_score_is_stored_at_once(tmp_path):
    listeners, stored, files = [], [], []

    def on_report(who, seed):
        listeners.append((who.trial_number, seed))
        return go_on()

    def on_measurement(who, measurements):
        stored.append((who.trial_number, [each.score for each in measurements]))
        files.extend(path.name for path in tmp_path.iterdir())

    listening = {"on_report": on_report, "on_measurement": on_measurement}
    found, asked = confirmed({7: [0.5, 0.6], 3: [0.6, 0.5]}, checkpoints=tmp_path, **listening)
    assert asked == listeners == [(7, 1), (3, 1), (7, 2), (3, 2)]
    assert stored == [(7, [0.5]), (3, [0.6]), (7, [0.5, 0.6]), (3, [0.6, 0.5])]
    assert files == [
        f"confirmation_{trial:05d}_{seed}.pt" for trial, seed in asked
    ]  # each goes when its score is stored
    assert not list(tmp_path.iterdir())
    assert (found.dropped, found.ended) == ([], None)


def test_seed_numbers_of_two_trials_never_meet():
    for name in ("confirm_seeds", "seeds"):
        (largest,) = (each.le for each in RetrainSettings.model_fields[name].metadata if hasattr(each, "le"))
        assert largest < SEEDS_APART


def test_the_searchs_own_score_does_not_count():
    candidates = [candidate(1, 7, 0.99), candidate(2, 3, 0.60), candidate(3, 0, 0.59)]
    found, _ = confirmed({7: [0.55, 0.56], 3: [0.60, 0.52], 0: [0.57, 0.58]}, candidates)
    assert order(found) == [0, 3, 7]
    assert [each.mean for each in found.ranked] == pytest.approx([0.575, 0.56, 0.555])


def test_equal_means_are_ranked_by_the_mean_log_loss():
    pairs = {7: [(0.9375, 0.4), (1.0, 0.5)], 3: [(1.0, 0.1), (0.9375, 0.3)], 0: [(1.0, 0.3), (0.9375, 0.3)]}
    tied = {number: [Measurement(*pair) for pair in each] for number, each in pairs.items()}
    found, _ = confirmed({**tied, 4: [Measurement(1.0, 0.9)] * 2})
    assert order(found) == [4, 3, 0, 7]
    assert [each.mean_loss for each in found.ranked] == pytest.approx([0.9, 0.2, 0.3, 0.45])


tables = st.integers(1, 4).flatmap(
    lambda seeds: st.dictionaries(
        st.integers(0, 99), st.lists(st.integers(-4, 4).map(float), min_size=seeds, max_size=seeds), max_size=6
    )
)


@given(tables)
@settings(max_examples=60, deadline=None)
def test_the_mean_decides_and_ties_keep_the_searchs_order(scores):
    found, _ = confirmed(scores)
    assert Counter(order(found)) == Counter(scores.keys())
    place = {number: rank for rank, number in enumerate(scores)}
    keys = [(-sum(scores[number]), place[number]) for number in order(found)]
    assert keys == sorted(keys)


@pytest.mark.parametrize("scores", [(0.51, 0.58, 0.55), (0.51,), ()])
def test_mean_and_deviation_are_those_of_the_fresh_scores(scores):
    each = Confirmation(candidate(1, 0, 0.9), scores)
    assert each.mean == pytest.approx(np.mean(scores) if scores else math.nan, nan_ok=True)
    assert each.deviation == (pytest.approx(np.std(scores, ddof=1)) if len(scores) > 1 else None)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NonFiniteLossError(NAN), NAN),
        (RuntimeError("out of\n   memory"), "out of memory"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_a_candidate_that_fails_is_dropped_and_the_others_continue(error, reason):
    found, asked = confirmed({7: [0.9, error, 0.9], 3: [0.5, 0.5, 0.6], 0: [0.6, 0.6, 0.6]})
    assert (order(found), [len(each.scores) for each in found.ranked], found.ended) == ([0, 3], [3, 3], None)
    (dropped,) = found.dropped
    assert (dropped.candidate.trial_number, dropped.scores, dropped.failure) == (7, (0.9,), f"fresh seed 2: {reason}")
    assert (7, 3) not in asked


@pytest.mark.parametrize(
    "error",
    [KeyError("a bug"), OSError(errno.ENOSPC, "No space left on device"), StorageFailedError("study.db is full")],
)
def test_errors_of_the_program_or_the_storage_are_raised(error):
    with pytest.raises(type(error)):
        confirmed({7: [error], 3: [0.5]})


@pytest.mark.parametrize("stop_after", range(9))
def test_ctrl_c_loses_no_score_and_the_rest_gives_the_same_ranking(stop_after):
    stored = {}

    def on_report(who, seed):
        return lambda report: CTRL_C if sum(map(len, stored.values())) == stop_after else CONTINUE

    def on_measurement(who, scores):
        stored[who.trial_number] = list(scores)

    first, asked = confirmed(SCORES, on_report=on_report, on_measurement=on_measurement)
    assert first.ended == CTRL_C
    assert len(asked) - 1 == sum(map(len, stored.values())) == stop_after
    again, rest = confirmed(SCORES, known=stored)
    assert again == confirmed(SCORES)[0]
    assert len(rest) == 9 - stop_after
    assert not set(rest) & set(asked[:-1])


def test_known_scores_count_up_to_the_number_of_seeds_and_for_candidates_only():
    known = measured({7: [0.5, 0.9, 0.4], 3: [0.6], 99: [0.9]})
    found, asked = confirmed(SCORES, seeds=2, known=known)
    assert asked == [(0, 1), (3, 2), (0, 2)]
    assert [each.scores for each in found.ranked] == [(0.5, 0.9), (0.6, 0.6), (0.8, 0.2)]


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


def test_a_failed_candidate_does_not_hold_up_the_rounds_of_the_others(clock):
    found, _ = confirmed(SCORES | {7: [MemoryError()]}, clock=clock, seconds_left=2.5, seeds=3)
    assert (order(found), [len(each.scores) for each in found.ranked]) == ([0, 3], [1, 1])


def test_a_training_at_its_last_report_is_not_cut(clock):
    seen = []
    limited = until(5.0, lambda report: seen.append(report) or CONTINUE)
    early, last = ProgressReport(0.5, 1.0, 2.0), ProgressReport(1.0, 2.0, 2.0, 0.6, 0.6, last=True)
    assert limited(early) == CONTINUE
    clock.now = 6.0
    assert (limited(last), limited(early)) == (CONTINUE, Decision(Action.STOP, TIME_IS_UP))
    assert seen == [early, last, early]
    assert until(5.0, lambda report: CTRL_C)(early) == CTRL_C
    assert until(None, limited) is limited


def test_a_divergence_is_stored_and_not_tried_again():
    stored, scores = {}, {7: [0.9, NonFiniteLossError(NAN)], 3: [0.5, 0.6]}
    first, _ = confirmed(scores, on_divergence=lambda who, found: stored.update({who.trial_number: found}))
    assert stored == {7: Divergence(2, NAN)}
    again, asked = confirmed(scores, known=measured({7: [0.9], 3: [0.5, 0.6]}), diverged=stored)
    assert (asked, again) == ([], first)
    fewer, _ = confirmed({7: [0.9], 3: [0.5]}, diverged=stored)  # without the seed that diverged
    assert (order(fewer), fewer.dropped) == ([7, 3], [])


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), MemoryError()])
def test_a_lack_of_memory_is_tried_again_by_the_next_run(error):
    stored = {}
    confirmed({7: [error], 3: [0.5]}, on_divergence=lambda who, found: stored.update({who.trial_number: found}))
    again, asked = confirmed({7: [0.6], 3: [0.5]}, known=measured({3: [0.5]}), diverged=stored)
    assert (stored, asked, order(again)) == ({}, [(7, 1)], [7, 3])


# ---------------------------------------------------------------------- real networks


@pytest.fixture(scope="module")
def dataset(apple):
    return apple(end=date(2007, 12, 31), lookback=10, train_share=0.5)


def test_scores_are_those_of_trainings_by_hand_with_the_same_streams(dataset, tmp_path):
    seed, trial, epochs = 5, 7, 2
    runner = runner_of(dataset, max_epochs=epochs, metric="mcc", seed=seed)
    found = confirm([candidate(1, trial)], runner, seeds=2, checkpoints=tmp_path, **NOTHING)
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
        generator = torch.Generator().manual_seed(stream("order and augmentation"))
        with seeded_dropout(stream("dropout"), torch.device("cpu")):
            windows = fold.train, fold.validation
            train(network, *windows, config, scale=scale, generator=generator, on_report=go_on())
        logits, _ = predict(network, fold.validation, scale, config.precision)
        by_hand.append(matthews_corrcoef(fold.validation.labels, logits.argmax(dim=1)))
    assert found.ranked[0].scores == pytest.approx(by_hand, abs=1e-12)
    assert len({*by_hand, runner.run_trial(trial, params(trial), go_on()).outcome.best.score}) == 3


def test_a_diverging_network_is_dropped_and_the_test_set_stays_locked(dataset, tmp_path):
    opened = dataset.test.times_opened
    candidates = [candidate(1, 7, configuration=DIVERGING), candidate(2, 3)]
    found = confirm(candidates, runner_of(dataset), seeds=1, checkpoints=tmp_path, **NOTHING)
    assert order(found) == [3]
    assert [each.candidate.trial_number for each in found.dropped] == [7]
    assert dataset.test.times_opened == opened


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("kill_at", [(1, 1), (2, 2), (2, 3)])
def test_a_killed_training_continues_at_its_epoch_and_gives_the_same_score(dataset, tmp_path, kill_at):
    stored, told = {}, []

    def run(folder, kill=False, **facts):
        def on_report(who, seed):
            def decide(report):
                if report.score is not None:
                    told.append((seed, report.epoch, report.again))
                if kill and (seed, report.epoch) == kill_at:
                    raise Killed
                return CONTINUE

            return decide

        facts = {
            **NOTHING,
            "on_report": on_report,
            "on_measurement": lambda who, s: stored.update({7: list(s)}),
            **facts,
        }
        return confirm([candidate(1, 7)], runner_of(dataset, max_epochs=3), seeds=2, checkpoints=folder, **facts)

    whole = run(tmp_path / "whole")
    stored.clear()
    told.clear()
    with pytest.raises(Killed):
        run(tmp_path / "cut", kill=True)
    assert told[-1][:2] == kill_at
    assert run(tmp_path / "cut", known=dict(stored)) == whole
    trained = Counter((seed, epoch) for seed, epoch, again in told if not again)
    assert trained == {(seed, epoch): 1 + ((seed, epoch) == kill_at) for seed in (1, 2) for epoch in (1, 2, 3)}
    assert [each[:2] for each in told if each[2]] == [(kill_at[0], e) for e in range(1, kill_at[1])]
    assert not list((tmp_path / "cut").iterdir())


# ---------------------------------------------------------------------- regression to the mean

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
