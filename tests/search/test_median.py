"""The median rule against Optuna's own, and where three objectives make it differ."""

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_lstm_hyperopt.search import Point, SkillThreshold, State, ranked_front
from cnn_lstm_hyperopt.search.pruners import PRUNERS

SKILL = SkillThreshold(0.5, 10_000)  # needs 0.51; half a standard error is 0.0025


@pytest.fixture(scope="module")
def decide(make_plan):
    """The pruner's reason for a trial and the others."""

    def reason(trial, others, skill=SKILL, **options):
        settings = {"type": "median", "n_startup_trials": 1, "n_warmup_steps": 0, **options}
        return PRUNERS["median"](make_plan(pruner=settings, skill=skill)).reason_to_prune(trial, others)

    return reason


@pytest.fixture
def rivals(make_record):
    """Five skilled trials of 6 epochs: accuracy rises to 0.60 … 0.80, none beats another."""

    def make(n=5, epochs=6):
        return [
            make_record(
                i,
                curve=np.linspace(0.52, 0.60 + 0.05 * i, epochs).tolist(),
                speed=1 + i,
                values=(0.60 + 0.05 * i, 6.0 * (1 + i), 1.0 + i),
                size_mb=1.0 + i,
            )
            for i in range(n)
        ]

    return make


def running(make_record, curve, *, speed=100.0, size_mb=100.0):
    return make_record(99, state=State.RUNNING, curve=curve, speed=speed, size_mb=size_mb)


# ---------------------------------------------------------------------- against Optuna


def optuna_decisions(complete_curves, curve, startup, warmup, interval):
    """A single-objective study that reports and asks should_prune; Optuna counts steps from 0."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner(startup, warmup, interval)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for values in complete_curves:
        trial = study.ask()
        for step, value in enumerate(values):
            trial.report(value, step)
        study.tell(trial, max(values))
    trial = study.ask()
    decisions = []
    for step, value in enumerate(curve):
        trial.report(value, step)
        decisions.append(trial.should_prune())
    return decisions


accuracies = st.integers(52, 99).map(lambda k: k / 100)


@settings(deadline=None, max_examples=60)
@given(
    data=st.data(),
    n=st.integers(0, 6),
    epochs=st.integers(1, 7),
    startup=st.integers(0, 4),
    warmup=st.integers(0, 4),
    interval=st.integers(1, 3),
)
def test_decides_as_optunas_median_pruner_where_accuracy_is_all_that_counts(
    decide, make_record, data, n, epochs, startup, warmup, interval
):
    """All others are smaller, faster and skilled, and none of them beats another, so every one of them is on the front."""
    curves = st.lists(accuracies, min_size=epochs, max_size=epochs)
    complete_curves = [data.draw(curves) for _ in range(n)]
    curve = data.draw(curves)
    complete = [
        make_record(
            i, curve=c, speed=1 + i, size_mb=float(n - i), values=(max(c), float(epochs * (1 + i)), float(n - i))
        )
        for i, c in enumerate(complete_curves)
    ]
    assert len(ranked_front(complete, SKILL)) == n
    ours = [
        decide(
            running(make_record, curve[: epoch + 1]),
            complete,
            n_startup_trials=startup,
            n_warmup_steps=warmup,
            interval_steps=interval,
        )
        is not None
        for epoch in range(epochs)
    ]
    assert ours == optuna_decisions(complete_curves, curve, startup, warmup, interval)


# ---------------------------------------------------------------------- how much a reading may be wrong


@pytest.mark.parametrize(("accuracy", "pruned"), [(0.7, False), (0.6978, False), (0.6977, True)])
def test_the_median_counts_from_half_a_standard_error_on(decide, make_record, accuracy, pruned):
    """√(0.7 · 0.3 / 10 000) / 2 = 0.00229 below 0.7; the rivals' own readings are given as much."""
    others = [make_record(i, curve=[0.8], values=(0.8, 1.0, 1.0)) for i in (0, 1)]
    others += [make_record(i, curve=[0.6], values=(0.6, 1.0, 1.0)) for i in (2, 3)]
    assert (decide(running(make_record, [accuracy]), others) is not None) == pruned


def test_a_rival_that_is_better_by_less_than_half_a_standard_error_beats_nobody(decide, make_record):
    """The median is far above; of the front, only the last is no larger and no slower."""
    ahead = [make_record(i, curve=[0.8], speed=200.0, size_mb=200.0, values=(0.8, 200.0, 200.0)) for i in (0, 1)]

    def rival(accuracy):
        return make_record(2, curve=[accuracy], speed=1.0, size_mb=1.0, values=(accuracy, 1.0, 1.0))

    trial = running(make_record, [0.6])
    assert decide(trial, [*ahead, rival(0.602)]) is None
    assert "trial 2 is no worse in any objective" in decide(trial, [*ahead, rival(0.603)])
    assert decide(trial, [*ahead, rival(0.602)], SkillThreshold(0.5, 1_000_000)) is not None


def test_windows_that_overlap_make_readings_less_sure(decide, make_record, rivals):
    trial = running(make_record, [0.52, 0.55])  # the median is 0.556
    assert decide(trial, rivals()) is not None
    assert decide(trial, rivals(), SkillThreshold(0.5, 10_000, overlap=10)) is None


# ---------------------------------------------------------------------- start-up, warm-up, interval


def test_prunes_below_the_median_and_says_why(decide, make_record, rivals):
    reason = decide(running(make_record, [0.52, 0.53]), rivals())
    assert reason.startswith("median: best accuracy so far 0.5300 is below the median 0.5560 at epoch 2, and trial ")
    assert reason.endswith("is no worse in any objective")


def test_keeps_a_trial_at_the_median(decide, make_record, rivals):
    assert decide(running(make_record, [0.52, 0.556]), rivals()) is None


def test_compares_the_best_accuracy_so_far(decide, make_record, rivals):
    assert decide(running(make_record, [0.60, 0.40]), rivals()) is None


@pytest.mark.parametrize(("startup", "pruned"), [(0, True), (1, True), (5, True), (6, False)])
def test_waits_for_n_startup_trials(decide, make_record, rivals, startup, pruned):
    assert (decide(running(make_record, [0.52, 0.53]), rivals(), n_startup_trials=startup) is not None) == pruned


def test_without_complete_trials_nothing_is_pruned(decide, make_record):
    assert decide(running(make_record, [0.1]), [], n_startup_trials=0) is None


def pruned_epochs(decide, make_record, complete, epochs=6, **options):
    curve = [0.52] * epochs
    return [e for e in range(1, epochs + 1) if decide(running(make_record, curve[:e]), complete, **options)]


@pytest.mark.parametrize(("warmup", "expected"), [(0, [2, 3, 4, 5, 6]), (2, [3, 4, 5, 6]), (5, [6]), (6, [])])
def test_leaves_warmup_epochs_alone(decide, make_record, rivals, warmup, expected):
    assert pruned_epochs(decide, make_record, rivals(), n_warmup_steps=warmup) == expected


@pytest.mark.parametrize(
    ("warmup", "interval", "expected"), [(1, 2, [2, 4, 6]), (2, 2, [3, 5]), (1, 4, [2, 6]), (3, 9, [4])]
)
def test_decides_every_interval_after_warmup(decide, make_record, rivals, warmup, interval, expected):
    assert pruned_epochs(decide, make_record, rivals(), n_warmup_steps=warmup, interval_steps=interval) == expected


# ---------------------------------------------------------------------- three objectives


@pytest.mark.parametrize(
    ("speed", "size_mb", "pruned"),
    [
        (100.0, 100.0, True),  # slow, large and inaccurate
        (0.5, 100.0, False),  # the fastest
        (100.0, 0.5, False),  # the smallest
        (1.0, 1.0, True),  # as fast and as small as trial 0, and less accurate
    ],
)
def test_a_trial_that_nobody_beats_in_all_three_lives(decide, make_record, rivals, speed, size_mb, pruned):
    reason = decide(running(make_record, [0.52, 0.53, 0.53], speed=speed, size_mb=size_mb), rivals())
    assert (reason is not None) == pruned


def test_a_trial_that_is_beaten_in_turn_but_by_nobody_in_all_three_lives(decide, make_record):
    """One rival is faster, the other smaller, both more accurate."""
    faster = make_record(0, curve=[0.9] * 6, speed=1, size_mb=2.0, values=(0.9, 6, 2.0))
    smaller = make_record(1, curve=[0.9] * 6, speed=3, size_mb=1.0, values=(0.9, 18, 1.0))
    trial = running(make_record, [0.52, 0.53], speed=2.0, size_mb=1.5)
    assert decide(trial, [faster, smaller]) is None
    assert decide(running(make_record, [0.52, 0.53], speed=3.0, size_mb=1.5), [faster, smaller]) is not None


def test_the_most_accurate_lives_whatever_it_costs(decide, make_record, rivals):
    assert decide(running(make_record, [0.9, 0.9, 0.9], speed=1e6, size_mb=1e6), rivals()) is None


def test_a_trial_below_the_gate_is_not_saved_by_being_small_and_fast(decide, make_record, rivals):
    reason = decide(running(make_record, [0.50, 0.51], speed=0.01, size_mb=0.01), rivals())
    assert "not above chance (needs 0.5100)" in reason


def test_rivals_are_compared_at_the_same_epoch_and_not_at_their_end(decide, make_record):
    """Each rival ends better, but was worse when it had run as long."""
    late = [
        make_record(i, curve=[0.52, 0.52, 0.9], speed=1, values=(0.9, 3 + i, 2 - i), size_mb=2.0 - i) for i in (0, 1)
    ]
    early = [make_record(i, curve=[0.7, 0.7, 0.7], speed=500, values=(0.7, 1500, 0.9), size_mb=0.9) for i in (2, 3, 4)]
    assert decide(running(make_record, [0.55, 0.55], speed=100), [*late, *early]) is None
    assert decide(running(make_record, [0.515, 0.515], speed=100), [*late, *early]) is not None


def test_a_rival_counts_as_fast_by_its_seconds_at_that_epoch(decide, make_record):
    rival = make_record(0, curve=[0.8] * 4, speed=2, values=(0.8, 8.0, 1.0))
    assert decide(running(make_record, [0.6, 0.6], speed=2.5), [rival]) is not None
    assert decide(running(make_record, [0.6, 0.6], speed=1.9), [rival]) is None


def test_a_rival_that_ended_early_counts_with_its_last_accuracy(decide, make_record):
    ended = [make_record(i, curve=[0.7, 0.8], values=(0.8, 2.0, 1.0)) for i in range(3)]
    assert decide(running(make_record, [0.75] * 5), ended) is not None
    assert decide(running(make_record, [0.85] * 5), ended) is None


def test_unskilled_rivals_beat_nobody(decide, make_record):
    """They are off the front, though they are small, fast and above the trial at this epoch."""
    skill = SkillThreshold(0.5, 100)  # needs 0.60
    unskilled = [make_record(i, curve=[0.65, 0.65, 0.55], values=(0.55, 1, 0.1), size_mb=0.1) for i in range(3)]
    assert ranked_front(unskilled, skill) == []
    assert decide(running(make_record, [0.61, 0.61]), unskilled, skill) is None
    assert decide(running(make_record, [0.55, 0.55]), unskilled, skill) is not None


def test_a_report_within_an_epoch_does_not_count_as_an_epoch(decide, make_record, rivals):
    trial = make_record(
        9, state=State.RUNNING, curve=[Point(1.0, 0.51, 0.5, 9.0), Point(2.0, 0.51, 0.5, 99.0)], size_mb=99.0
    )
    assert decide(trial, rivals(), n_warmup_steps=2) is None


# ---------------------------------------------------------------------- can it act at all?


@pytest.mark.parametrize(
    ("startup", "warmup", "n_trials", "max_epochs", "expected"),
    [
        (20, 10, 1000, 20, None),
        (20, 20, 1000, 20, "pruner.n_warmup_steps=20 leaves no epoch before the last of training.max_epochs=20"),
        (20, 19, 1000, 20, "pruner.n_warmup_steps=19 leaves no epoch before the last of training.max_epochs=20"),
        (20, 18, 1000, 20, None),
        (20, 10, 1000, 5, "pruner.n_warmup_steps=10 leaves no epoch before the last of training.max_epochs=5"),
        (0, 0, 1, 1, "pruner.n_warmup_steps=0 leaves no epoch before the last of training.max_epochs=1"),
        (20, 10, 20, 20, "pruner.n_startup_trials=20 is not below study.n_trials=20"),
        (20, 10, 21, 12, None),
    ],
)
def test_says_when_it_can_not_act(make_plan, startup, warmup, n_trials, max_epochs, expected):
    pruner = {"type": "median", "n_startup_trials": startup, "n_warmup_steps": warmup}
    text = PRUNERS["median"](make_plan(pruner=pruner, n_trials=n_trials, max_epochs=max_epochs)).inactive_because()
    assert text is None if expected is None else text.startswith(expected)
