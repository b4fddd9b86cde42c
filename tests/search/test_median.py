"""The median rule: against Optuna's, and its differences for three objectives."""

import numpy as np
import optuna
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.records import make_plan, make_record
from cnn_lstm_hyperopt.search import Point, SkillThreshold, State, ranked_front
from cnn_lstm_hyperopt.search.pruners import PRUNERS

SKILL = SkillThreshold(0.5, 10_000)  # needs 0.51; half a standard error is 0.0025


def ends(trial, others, skill=SKILL, **options):
    settings = {"type": "median", "n_startup_trials": 1, "n_warmup_steps": 0, **options}
    return PRUNERS["median"](make_plan(pruner=settings, skill=skill)).reason_to_prune(trial, others) is not None


def running(curve, speed=100.0, size_mb=100.0):
    return make_record(99, state=State.RUNNING, curve=curve, speed=speed, size_mb=size_mb)


def complete(number, curve, *, speed=1.0, size_mb=1.0):
    values = (max(curve), speed * len(curve), size_mb)
    return make_record(number, curve=curve, speed=speed, size_mb=size_mb, values=values)


RIVALS = [complete(i, np.linspace(0.52, 0.60 + 0.05 * i, 6).tolist(), speed=1 + i, size_mb=1.0 + i) for i in range(5)]
"""Skilled trials of 6 epochs that do not dominate each other; the median is 0.556 at epoch 2."""


def optuna_decisions(complete_curves, curve, startup, warmup, interval):
    """Decisions of a single-objective study; Optuna counts steps from 0."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(startup, warmup, interval))
    for values in complete_curves:
        trial = study.ask()
        for step, value in enumerate(values):
            trial.report(value, step)
        study.tell(trial, max(values))
    trial = study.ask()
    return [trial.report(value, step) or trial.should_prune() for step, value in enumerate(curve)]


accuracies = st.integers(34, 63).map(lambda k: k / 64)  # exact medians, so that ties are ties


@settings(deadline=None, max_examples=60)
@given(st.data(), st.integers(0, 6), st.integers(1, 7), st.integers(0, 4), st.integers(0, 4), st.integers(1, 3))
def test_decides_as_optunas_median_pruner_if_only_accuracy_matters(data, n, epochs, startup, warmup, interval):
    """All others are smaller, faster, skilled and on the front."""
    curves = st.lists(accuracies, min_size=epochs, max_size=epochs)
    complete_curves, curve = [data.draw(curves) for _ in range(n)], data.draw(curves)
    others = [complete(i, each, speed=1 + i, size_mb=float(n - i)) for i, each in enumerate(complete_curves)]
    assert len(ranked_front(others, SKILL)) == n
    options = {"n_startup_trials": startup, "n_warmup_steps": warmup, "interval_steps": interval}
    ours = [ends(running(curve[: epoch + 1]), others, **options) for epoch in range(epochs)]
    assert ours == optuna_decisions(complete_curves, curve, startup, warmup, interval)


def test_reports_within_an_epoch_are_no_epochs():
    curve = [Point(epoch, 0.51, 0.5, 20.0 * epoch) for epoch in (0.5, 1.0, 1.5, 2.0)]
    assert [ends(running(curve[:n]), RIVALS) for n in (1, 2, 3, 4)] == [False, True, False, True]
    assert not ends(running(curve), RIVALS, n_warmup_steps=2)
    parts = [Point(0.25, 0.9, 0.1, 0.25), Point(0.75, 0.9, 0.1, 0.75), Point(1.0, 0.6, 0.4, 1.0)]
    rivals = [make_record(i, curve=parts, values=(0.7, 2.0, 1.0)) for i in range(3)]
    assert [ends(running([score]), rivals) for score in (0.65, 0.55)] == [False, True]  # not by 0.9 of their parts


levels = st.integers(36, 44).map(lambda k: k / 64)  # half a standard error of 100 windows is 1.6 steps; 38.4 are needed
costs, curves = st.integers(1, 3).map(float), st.lists(levels, min_size=1, max_size=3)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.tuples(curves, costs, costs), min_size=1, max_size=6),
    curves,
    costs,
    costs,
    st.sampled_from([100, 10**4]),
)
def test_it_ends_what_is_below_the_median_and_unskilled_or_dominated_by_one_trial_of_the_front(
    rivals, curve, speed, size_mb, n
):
    """By brute force; each difference in score counts from half a standard error on."""
    skill, best, epoch = SkillThreshold(0.5, n), max(curve), len(curve)
    less = lambda score: score - (score * (1 - score) / n) ** 0.5 / 2  # noqa: E731
    ends_at = [(scores[-1], pace * len(scores), size) for scores, pace, size in rivals]
    skilled = [end for end in ends_at if skill.passes(end[0])]
    dominated = False
    for (scores, pace, size), end in zip(rivals, ends_at, strict=True):
        on_front = end in skilled and not any(
            a >= end[0] and s <= end[1] and m <= end[2] and (a, s, m) != end for a, s, m in skilled
        )
        faster = pace * min(epoch, len(scores)) <= speed * epoch
        dominated |= on_front and less(max(scores[:epoch])) >= best and faster and size <= size_mb
    below = best < less(np.median([scores[:epoch][-1] for scores, *_ in rivals]))
    others = [
        make_record(i, curve=scores, speed=pace, size_mb=size, values=end)
        for i, ((scores, pace, size), end) in enumerate(zip(rivals, ends_at, strict=True))
    ]
    assert ends(running(curve, speed, size_mb), others, skill) == (below and (dominated or not skill.passes(best)))
