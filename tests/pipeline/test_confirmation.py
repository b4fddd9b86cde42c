"""Confirmation: the best of the front once more with fresh seeds, ranked by these alone."""

import errno
import itertools
import math
from collections import Counter
from collections.abc import Iterator
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

from builders.finalists import CTRL_C, DIVERGING, candidate, evaluation, go_on, params, runner_of
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
    Reading,
    confirm,
    until,
)
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, ProgressReport
from cnn_lstm_hyperopt.training import NonFiniteLossError, Outcome, TrainingConfig, ValueScale, predict, train
from cnn_lstm_hyperopt.training.runtime.device import seeded_dropout
from cnn_lstm_hyperopt.utils.rng import stream_seed


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Fake:
    """Trains nothing: ``scores`` are by trial and seed; an exception in their place is raised. Each training takes a second."""

    def __init__(self, scores, clock=None):
        self.scores, self.clock, self.asked, self.checkpoints = scores, clock, [], []

    def confirm(self, number, configuration, on_report, *, checkpoint):
        trial, seed = divmod(number, SEEDS_APART)
        self.asked.append((trial, seed))
        self.checkpoints.append(checkpoint)
        score = self.scores[trial][seed - 1]
        score, loss = score if isinstance(score, Reading) else (score, 0.6)
        if isinstance(score, BaseException):
            raise score
        decision = on_report(ProgressReport(0.5, 0.5, 1.0))
        if self.clock is not None:
            self.clock.now += 1.0
        if decision.action is Action.CONTINUE:
            decision = on_report(ProgressReport(1.0, 1.0, 1.0, score, loss, last=self.clock is None))
        best = None if decision.action is not Action.CONTINUE else evaluation(loss, score)
        return SimpleNamespace(outcome=Outcome(1, best, 1.0, 1.0, 1.0, decision))


NOWHERE = Path("no-such-folder")
NOTHING = {"known": {}, "diverged": {}, "on_report": go_on, "on_reading": go_on, "on_divergence": go_on}


def read(scores):
    """The readings that :class:`Fake` would give."""
    return {number: [Reading(score, 0.6) for score in each] for number, each in scores.items()}


def confirmed(scores, candidates=None, *, clock=None, checkpoints=NOWHERE, **facts):
    """The result and the fake runner; candidates in the order of ``scores`` unless they are given."""
    fake = Fake(scores, clock)
    found = confirm(
        candidates or [candidate(rank, number) for rank, number in enumerate(scores, start=1)],
        fake,
        seeds=facts.pop("seeds", max(map(len, scores.values()), default=1)),
        checkpoints=checkpoints,
        **{**NOTHING, **facts},
    )
    return found, fake


def order(found):
    return [each.candidate.trial_number for each in found.ranked]


@pytest.fixture
def clock(monkeypatch):
    """Stands still until a training moves it."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


# ---------------------------------------------------------------------- what is trained


def test_all_candidates_have_their_first_seed_before_any_has_its_second():
    found, fake = confirmed({7: [0.5, 0.6], 3: [0.6, 0.5], 0: [0.7, 0.4]})
    assert fake.asked == [(7, 1), (3, 1), (0, 1), (7, 2), (3, 2), (0, 2)]
    assert [each.scores for each in found.ranked] == [(0.5, 0.6), (0.6, 0.5), (0.7, 0.4)]
    assert (found.dropped, found.ended) == ([], None)


def test_each_hears_with_its_seed_and_every_score_is_told_at_once():
    heard, told = [], []

    def on_report(who, seed):
        heard.append((who.trial_number, seed))
        return go_on()

    confirmed(
        {7: [0.5, 0.6], 3: [0.7, 0.8]},
        on_report=on_report,
        on_reading=lambda who, s: told.append((who.rank, [each.score for each in s])),
    )
    assert heard == [(7, 1), (3, 1), (7, 2), (3, 2)]
    assert told == [(1, [0.5]), (2, [0.7]), (1, [0.5, 0.6]), (2, [0.7, 0.8])]


def test_numbers_of_two_trials_never_meet():
    """As many seeds as the settings allow stay below what lies between two trials."""
    most = next(each.le for each in RetrainSettings.model_fields["confirm_seeds"].metadata if hasattr(each, "le"))
    most_kept = next(each.le for each in RetrainSettings.model_fields["seeds"].metadata if hasattr(each, "le"))
    assert max(most, most_kept) < SEEDS_APART
    numbers = [SEEDS_APART * trial + seed for trial in range(50) for seed in range(1, most + 1)]
    assert len(set(numbers)) == len(numbers)


def test_without_candidates_nothing_is_done():
    found, fake = confirmed({})
    assert (found.ranked, found.dropped, found.ended, fake.asked) == ([], [], None, [])


# ---------------------------------------------------------------------- ranking


def test_the_search_s_own_reading_does_not_count():
    candidates = [candidate(1, 7, 0.99), candidate(2, 3, 0.60), candidate(3, 0, 0.59)]
    found, _ = confirmed({7: [0.55, 0.56], 3: [0.60, 0.52], 0: [0.57, 0.58]}, candidates)
    assert order(found) == [0, 3, 7]
    assert [each.mean for each in found.ranked] == pytest.approx([0.575, 0.56, 0.555])


def test_equal_means_are_ranked_by_the_mean_log_loss():
    """Of 16 windows: three candidates with the same mean accuracy, and one that is better although its loss is the highest."""
    tied = {
        7: [Reading(0.9375, 0.4), Reading(1.0, 0.5)],
        3: [Reading(1.0, 0.1), Reading(0.9375, 0.3)],
        0: [Reading(1.0, 0.3), Reading(0.9375, 0.3)],
        4: [Reading(1.0, 0.9), Reading(1.0, 0.9)],
    }
    found, _ = confirmed(tied)
    assert order(found) == [4, 3, 0, 7]
    assert [each.mean_loss for each in found.ranked] == pytest.approx([0.9, 0.2, 0.3, 0.45])


tables = st.integers(1, 4).flatmap(
    lambda seeds: st.dictionaries(
        st.integers(0, 99), st.lists(st.integers(-4, 4).map(float), min_size=seeds, max_size=seeds), max_size=6
    )
)


@given(tables)
@settings(max_examples=60, deadline=None)
def test_the_mean_decides_and_ties_keep_the_search_s_order(scores):
    """Whole numbers tie often; of two with the same sum the one that the search ranked first stays first."""
    found, _ = confirmed(scores)
    assert Counter(order(found)) == Counter(scores.keys())
    place = {number: rank for rank, number in enumerate(scores)}
    keys = [(-sum(scores[number]), place[number]) for number in order(found)]
    assert keys == sorted(keys)


def test_mean_and_deviation_are_those_of_the_fresh_scores():
    scores = (0.51, 0.58, 0.55)
    each = Confirmation(candidate(1, 0, 0.9), scores)
    assert each.mean == pytest.approx(np.mean(scores))
    assert each.deviation == pytest.approx(np.std(scores, ddof=1))
    alone = Confirmation(candidate(1, 0, 0.9), scores[:1])
    assert (alone.mean, alone.deviation) == (0.51, None)
    nothing = Confirmation(candidate(1, 0, 0.9), ())
    assert math.isnan(nothing.mean)
    assert nothing.deviation is None


# ---------------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NonFiniteLossError("the loss became nan in epoch 1"), "the loss became nan in epoch 1"),
        (RuntimeError("CUDA out of\n   memory"), "CUDA out of memory"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_one_that_fails_is_dropped_with_its_reason_and_the_others_go_on(error, reason):
    found, fake = confirmed({7: [0.9, error, 0.9], 3: [0.5, 0.5, 0.6], 0: [0.6, 0.6, 0.6]})
    assert order(found) == [0, 3]
    assert [len(each.scores) for each in found.ranked] == [3, 3]
    (dropped,) = found.dropped
    assert (dropped.candidate.trial_number, dropped.scores) == (7, (0.9,))
    assert dropped.failure == f"fresh seed 2: {reason}"
    assert (7, 3) not in fake.asked
    assert found.ended is None


def test_when_all_fail_nobody_is_left():
    found, fake = confirmed({7: [MemoryError()] * 2, 3: [MemoryError()] * 2})
    assert found.ranked == []
    assert [each.candidate.trial_number for each in found.dropped] == [7, 3]
    assert fake.asked == [(7, 1), (3, 1)]


def test_an_error_of_this_program_is_not_taken_for_a_failed_training():
    with pytest.raises(KeyError, match="a bug"):
        confirmed({7: [KeyError("a bug")]})


# ---------------------------------------------------------------------- interrupted and gone on with


SCORES = {7: [0.5, 0.9, 0.4], 3: [0.6, 0.6, 0.7], 0: [0.8, 0.2, 0.7]}


@pytest.mark.parametrize("stop_after", range(9))
def test_ctrl_c_loses_no_score_and_the_rest_gives_the_same_ranking(stop_after):
    stored, heard = {}, []

    def on_report(who, seed):
        def decide(report):
            heard.append(report)
            return CTRL_C if len(stored_scores()) == stop_after else CONTINUE

        return decide

    def stored_scores():
        return list(itertools.chain.from_iterable(stored.values()))

    def on_score(who, scores):
        stored[who.trial_number] = list(scores)

    first, fake = confirmed(SCORES, on_report=on_report, on_reading=on_score)
    assert first.ended == CTRL_C
    assert len(fake.asked) == stop_after + 1  # the one within which it was pressed; no other is begun
    assert len(stored_scores()) == stop_after
    assert len(heard) == 2 * stop_after + 1

    again, rest = confirmed(SCORES, known=stored)
    whole, _ = confirmed(SCORES)
    assert len(rest.asked) == 9 - stop_after
    assert not set(rest.asked) & set(fake.asked[:-1])
    assert again == whole


def test_known_scores_beyond_the_seeds_do_not_count():
    """An earlier confirmation with more seeds; two of each are asked for now."""
    found, fake = confirmed(SCORES, seeds=2, known=read({7: [0.5, 0.9, 0.4], 3: [0.6]}))
    assert fake.asked == [(0, 1), (3, 2), (0, 2)]
    assert [each.scores for each in found.ranked] == [(0.5, 0.9), (0.6, 0.6), (0.8, 0.2)]
    found, fake = confirmed(SCORES, seeds=2, known=read(SCORES))
    assert (fake.asked, {len(each.scores) for each in found.ranked}) == ([], {2})


def test_known_scores_of_others_are_nobody_s():
    found, fake = confirmed({7: [0.5]}, known=read({99: [0.9]}))
    assert (order(found), fake.asked) == ([7], [(7, 1)])


# ---------------------------------------------------------------------- time


@pytest.mark.parametrize(
    ("seconds", "rounds", "expected"),
    [
        (0.0, 0, [7, 3, 0]),  # no time for a round: the search's order stands
        (2.5, 0, [7, 3, 0]),
        (3.5, 1, [0, 3, 7]),  # the first round alone: 0.8, 0.6, 0.5
        (5.5, 1, [0, 3, 7]),  # two candidates have a second score, which does not count
        (6.5, 2, [7, 3, 0]),  # 0.7, 0.6, 0.5
        (9.5, 3, [3, 7, 0]),  # all: 0.633, 0.6, 0.567
    ],
)
def test_only_whole_rounds_count_when_time_is_up(clock, seconds, rounds, expected):
    """Each training takes a second; one within which the time is up is cut and counts for nothing."""
    found, fake = confirmed(SCORES, clock=clock, seconds_left=seconds)
    assert order(found) == expected
    assert [each.scores for each in found.ranked] == [tuple(SCORES[number][:rounds]) for number in expected]
    assert found.ended == (None if rounds == 3 else Decision(Action.STOP, TIME_IS_UP))
    assert len(fake.asked) == min(9, int(seconds) + 1)


def test_one_that_failed_does_not_hold_up_the_rounds_of_the_others(clock):
    found, _ = confirmed(SCORES | {7: [MemoryError()]}, clock=clock, seconds_left=2.5, seeds=3)
    assert (order(found), [len(each.scores) for each in found.ranked]) == ([0, 3], [1, 1])
    assert [each.candidate.trial_number for each in found.dropped] == [7]


def test_a_training_at_its_last_report_is_not_cut(clock):
    """There is nothing left to cut; before its last report, and without a deadline, it is as the listener says."""
    seen = []

    def listen(report):
        seen.append(report)
        return CONTINUE

    limited = until(5.0, listen)
    early, last = ProgressReport(0.5, 1.0, 2.0), ProgressReport(1.0, 2.0, 2.0, 0.6, 0.6, last=True)
    assert limited(early) == CONTINUE
    clock.now = 6.0
    assert limited(last) == CONTINUE
    assert limited(early) == Decision(Action.STOP, TIME_IS_UP)
    assert seen == [early, last, early]  # it hears of everything all the same
    assert until(5.0, lambda report: CTRL_C)(early) == CTRL_C
    assert until(None, listen) is listen


# ---------------------------------------------------------------------- a real network


@pytest.fixture(scope="module")
def dataset(apple):
    return apple(end=date(2007, 12, 31), lookback=10, train_share=0.5)


def test_scores_are_those_of_trainings_by_hand_with_the_same_streams(dataset, tmp_path):
    """The loop itself, told of the trial's windows and epochs, with weights, dropout and order of the streams that are named."""
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
        with seeded_dropout(stream("dropout"), torch.device("cpu")):
            train(
                network,
                fold.train,
                fold.validation,
                config,
                scale=scale,
                generator=torch.Generator().manual_seed(stream("order and augmentation")),
                on_report=go_on(),
            )
        logits, _ = predict(network, fold.validation, scale, config.precision)
        by_hand.append(matthews_corrcoef(fold.validation.labels, logits.argmax(dim=1)))
    assert found.ranked[0].scores == pytest.approx(by_hand, abs=1e-12)
    assert len({*by_hand, runner.run_trial(trial, params(trial), go_on()).outcome.best.score}) == 3


def test_one_that_diverges_is_dropped_and_the_test_period_stays_closed(dataset, tmp_path):
    opened = dataset.test.times_opened
    candidates = [candidate(1, 7, configuration=DIVERGING), candidate(2, 3)]
    found = confirm(candidates, runner_of(dataset), seeds=1, checkpoints=tmp_path, **NOTHING)
    assert order(found) == [3]
    (dropped,) = found.dropped
    assert dropped.failure in (f"fresh seed 1: the loss became {what} in epoch 1" for what in ("nan", "inf"))
    assert dataset.test.times_opened == opened


def test_ctrl_c_within_a_real_training_ends_it(dataset, tmp_path):
    listening = {"on_report": lambda who, seed: lambda report: CTRL_C if who.trial_number == 3 else CONTINUE}
    found = confirm(
        [candidate(1, 7), candidate(2, 3)],
        runner_of(dataset),
        seeds=2,
        checkpoints=tmp_path,
        **{**NOTHING, **listening},
    )
    assert found.ended == CTRL_C
    assert [each.scores for each in found.ranked] == [(), ()]


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("kill_at", [(1, 1), (2, 2), (2, 3)])
def test_a_killed_training_goes_on_at_its_epoch_and_gives_the_same_score(dataset, tmp_path, kill_at):
    """Killed as an epoch is told of: what is kept is the one before, and that one is trained twice."""
    stored, told = {}, []

    def listening(kill):
        def on_report(who, seed):
            def decide(report):
                if report.score is not None:
                    told.append((seed, report.epoch, report.again))
                if kill and (seed, report.epoch) == kill_at:
                    raise Killed
                return CONTINUE

            return decide

        return on_report

    def run(folder, kill=False, known=None):
        facts = {
            "known": known or {},
            "on_report": listening(kill),
            "on_reading": lambda who, scores: stored.update({who.trial_number: list(scores)}),
        }
        runner = runner_of(dataset, max_epochs=3)
        return confirm([candidate(1, 7)], runner, seeds=2, checkpoints=folder, **{**NOTHING, **facts})

    whole = run(tmp_path / "whole")
    stored.clear()
    told.clear()
    with pytest.raises(Killed):
        run(tmp_path / "cut", kill=True)
    assert told[-1][:2] == kill_at
    assert run(tmp_path / "cut", known=dict(stored)) == whole
    trained = Counter((seed, epoch) for seed, epoch, again in told if not again)
    assert trained == {(seed, epoch): 1 + ((seed, epoch) == kill_at) for seed in (1, 2) for epoch in (1, 2, 3)}
    assert [told_again[:2] for told_again in told if told_again[2]] == [(kill_at[0], e) for e in range(1, kill_at[1])]
    assert not list((tmp_path / "cut").iterdir())


# ---------------------------------------------------------------------- what a run leaves for the next


def test_each_training_has_its_own_state_which_goes_when_its_score_is_stored(tmp_path):
    there = []

    def on_score(who, scores):
        there.append(sorted(path.name for path in tmp_path.iterdir()))

    class Keeping(Fake):
        def confirm(self, number, configuration, on_report, *, checkpoint):
            checkpoint.touch()
            return super().confirm(number, configuration, on_report, checkpoint=checkpoint)

    confirm(
        [candidate(1, 7), candidate(2, 31)],
        Keeping({7: [0.5, 0.6], 31: [0.6, 0.5]}),
        seeds=2,
        checkpoints=tmp_path,
        **{**NOTHING, "on_reading": on_score},
    )
    assert there == [[f"confirmation_{trial:05d}_{seed}.pt"] for trial, seed in ((7, 1), (31, 1), (7, 2), (31, 2))]
    assert not list(tmp_path.iterdir())


def test_one_that_diverged_is_told_of_and_not_tried_again():
    nan = NonFiniteLossError("the loss became nan in epoch 1")
    stored = {}
    first, _ = confirmed(
        {7: [0.9, nan], 3: [0.5, 0.6]}, on_divergence=lambda who, told: stored.update({who.trial_number: told})
    )
    assert stored == {7: Divergence(2, "the loss became nan in epoch 1")}
    again, fake = confirmed({7: [0.9, nan], 3: [0.5, 0.6]}, known=read({7: [0.9], 3: [0.5, 0.6]}), diverged=stored)
    assert (fake.asked, again) == ([], first)
    fewer, _ = confirmed({7: [0.9], 3: [0.5]}, diverged=stored)  # of the seed that diverged nobody asks now
    assert (order(fewer), fewer.dropped) == ([7, 3], [])


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), MemoryError()])
def test_a_lack_of_memory_is_tried_again_by_the_next_run(error):
    stored = {}
    confirmed({7: [error], 3: [0.5]}, on_divergence=lambda who, told: stored.update({who.trial_number: told}))
    assert stored == {}
    again, fake = confirmed({7: [0.6], 3: [0.5]}, known=read({3: [0.5]}), diverged=stored)
    assert (fake.asked, order(again)) == ([(7, 1)], [7, 3])


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), StorageFailedError("study.db can't be written")]
)
def test_a_failure_of_the_storage_is_none_of_the_training(error):
    with pytest.raises(type(error)):
        confirmed({7: [error], 3: [0.5]})


# ---------------------------------------------------------------------- regression to the mean


TRUE, NOISE, TRIALS, FRONT, SEEDS, STUDIES = 0.55, 0.02, 300, 15, 3, 400


def expected_maximum(n):
    """Of n standard normal numbers."""
    density = lambda x: x * n * stats.norm.pdf(x) * stats.norm.cdf(x) ** (n - 1)  # noqa: E731
    return integrate.quad(density, -8, 8)[0]


@pytest.fixture(scope="module")
def studies():
    """Studies whose trials are all equally good, so that the first of them are the luckiest: the readings of the search's first
    and of the confirmed first, fresh and not."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(STUDIES):
        readings = np.sort(rng.normal(TRUE, NOISE, TRIALS))[::-1][:FRONT]
        candidates = [candidate(rank, rank, score, {}) for rank, score in enumerate(readings, start=1)]
        fresh = {rank: rng.normal(TRUE, NOISE, SEEDS).tolist() for rank in range(1, FRONT + 1)}
        found, _ = confirmed(fresh, candidates)
        luckiest = next(each for each in found.ranked if each.candidate.rank == 1)
        everybody = np.mean([each.mean for each in found.ranked])
        rows.append((luckiest.candidate.score, luckiest.mean, everybody, found.ranked[0].mean))
    return np.array(rows)


def test_the_search_s_reading_of_its_first_is_too_high_and_fresh_seeds_are_not(studies):
    reading, fresh, everybody, _ = studies.mean(axis=0)
    errors = studies.std(axis=0, ddof=1) / math.sqrt(STUDIES)
    assert reading - TRUE == pytest.approx(NOISE * expected_maximum(TRIALS), abs=4 * errors[0])
    assert reading - TRUE > 0.05
    assert abs(fresh - TRUE) < 4 * errors[1] < 0.003
    assert abs(everybody - TRUE) < 4 * errors[2] < 0.001


def test_what_choosing_among_the_confirmed_adds_is_small_and_known(studies):
    """The first of fifteen means is the luckiest again, but of means of three, and of fifteen instead of all trials."""
    chosen = studies[:, 3]
    error = chosen.std(ddof=1) / math.sqrt(STUDIES)
    assert chosen.mean() - TRUE == pytest.approx(NOISE / math.sqrt(SEEDS) * expected_maximum(FRONT), abs=4 * error)
    assert chosen.mean() - TRUE < (studies[:, 0].mean() - TRUE) / 2
