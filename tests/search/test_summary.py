"""Pruning statistics: closed forms, brute force, and coverage of the intervals."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta

from builders.records import make_plan, make_record
from cnn_lstm_hyperopt.search import Point, SkillThreshold, State, Values
from cnn_lstm_hyperopt.search.learning_curves import projected_seconds, smoothed_score, up_to
from cnn_lstm_hyperopt.search.pruners import is_exempt
from cnn_lstm_hyperopt.search.pruning_stats import (
    Estimate,
    Unknown,
    false_prunes,
    pruning_summary,
    seconds_saved,
    share_among,
)

SKILL = SkillThreshold(0.5, 100)  # needs 0.60


def ended(number, curve, reason="median: x", **fields):
    return make_record(number, state=State.PRUNED, curve=curve, reason=reason, **fields)


def complete(number, curve, **fields):
    record = make_record(number, curve=curve, **fields)
    return replace(record, values=record.values or Values(0.7, record.seconds, 1.0))


def test_a_summary_counts_pruned_trials_by_cause_each_second_once_and_control_trials():
    plan = make_plan()
    exempt = [n for n in range(100) if is_exempt(plan.seed, n)]
    records = [
        ended(0, [0.5], "limit: x"),
        ended(1, 4 * [0.5], "median: x"),
        ended(2, 2 * [0.5], "limit: x"),
        make_record(3, state=State.FAIL, seconds=5.0),
        complete(exempt[1], 3 * [0.7]),
        make_record(exempt[2], state=State.FAIL),
        make_record(98, reason="median: but complete"),
        ended(99, [], "median: c: d"),
    ]
    summary = pruning_summary(records, plan.skill, max_epochs=plan.max_epochs, seed=plan.seed, pruner="median")
    assert summary.seconds_spent == 1 + 4 + 2 + 5 + 3
    assert summary.exempt == sum(is_exempt(plan.seed, n) for n in (0, 1, 2, 98, 99)) + 1
    assert (summary.pruned_by, summary.ended_by_pruner) == ({"limit": 2, "median": 2}, 2)
    assert summary.seconds_saved == seconds_saved(records, plan.max_epochs, plan.seed)


def test_too_few_complete_trials_give_no_estimate_and_only_the_pruners_trials_save_seconds():
    records = [ended(99, 4 * [0.6])]
    records += [complete(i, 12 * [0.6]) for i in range(9)]
    assert isinstance(seconds_saved(records, 20, seed=0), Unknown)
    records.append(complete(9, [0.6]))  # it ended before the others are compared
    assert isinstance(seconds_saved(records, 20, seed=0), Unknown)
    records.append(complete(10, 12 * [0.6]))
    assert isinstance(seconds_saved(records, 20, seed=0), Estimate)
    records[0] = ended(99, 4 * [0.6], "limit: too slow")
    records += [
        make_record(13 + i, state=state, curve=3 * [0.6]) for i, state in enumerate((State.FAIL, State.RUNNING))
    ]
    assert seconds_saved(records, 20, seed=0) == seconds_saved([], 20, seed=0) == (0.0, 0.0, 0.0)


def test_the_last_epoch_that_ten_trials_passed_is_used_for_later_ones():
    """Nine of the ten end after epoch 6, so beyond epoch 8 there is one; beyond epoch 5 all need 1 of 15 seconds."""
    records = [complete(i, 6 * [0.6]) for i in range(10)] + [ended(10, 8 * [0.6])]
    assert seconds_saved(records, 20, seed=0) == pytest.approx(3 * (12 / 15,))


def test_with_ten_neighbours_the_interval_of_one_trial_is_their_range():
    """Each of the ten is drawn once in ten: the quantiles at 2.5 and 97.5 % are the extremes, the estimate is the mean."""
    records = [complete(i, (5 + i) * [0.6]) for i in range(10)] + [ended(10, 4 * [0.6])]
    assert seconds_saved(records, 20, seed=0) == pytest.approx((5.5, 1.0, 10.0))


def test_the_same_seed_gives_the_same_interval_and_another_the_same_estimate():
    rng = np.random.default_rng(0)
    records = [complete(i, rng.uniform(0.5, 0.7, rng.integers(6, 20)).tolist()) for i in range(40)]
    records += [ended(i, rng.uniform(0.5, 0.7, 3).tolist()) for i in range(40, 60)]
    first = seconds_saved(records, 20, seed=0)
    assert first == seconds_saved(records, 20, seed=0)
    assert first[0] == seconds_saved(records, 20, seed=1)[0]
    assert first != seconds_saved(records, 20, seed=1)


def test_estimate_equals_brute_force():
    rng = np.random.default_rng(1)
    for _ in range(20):
        whole = [study_curve(rng, patience=4, max_epochs=20) for _ in range(60)]
        records = [complete(i, curve) for i, curve in enumerate(whole[:40])]
        dropped = [ended(i, curve[: rng.integers(2, 5)]) for i, curve in enumerate(whole[40:], 40)]
        expected = 0.0
        for record in dropped:
            epoch = record.curve[-1].epoch
            others = []
            for other in records:
                if other.curve[-1].epoch > epoch:
                    part = up_to(other.curve, epoch)
                    left = projected_seconds(part, 20) - part[-1].seconds
                    distance = abs(smoothed_score(part, epoch) - smoothed_score(record.curve, epoch))
                    others.append((distance, (other.seconds - part[-1].seconds) / left))
            shares = [share for _, share in sorted(others)[:10]]
            assert len(shares) == 10
            expected += np.mean(shares) * (projected_seconds(record.curve, 20) - record.seconds)
        found = seconds_saved([*records, *dropped], 20, seed=0)
        assert found[0] == pytest.approx(expected)
        assert found[1] < found[0] < found[2]


def study_curve(rng, *, patience, max_epochs):
    """A full trial: it rises to a ceiling, overfits, and ends when its loss stops falling."""
    ceiling = 0.0 if rng.random() < 0.2 else 0.3 * rng.beta(1.5, 3)
    pace, speed = rng.lognormal(np.log(max_epochs / 12), 0.8), rng.lognormal(0, 1)
    epochs = np.arange(1, max_epochs + 1)
    learnt = ceiling * (1 - np.exp(-epochs / pace))
    overfit = 0.002 * np.maximum(0, epochs - pace * rng.uniform(1, 6))
    losses = 0.69 - 0.8 * learnt + overfit + rng.normal(0, 0.004, max_epochs)
    accuracies = 0.5 + learnt + rng.normal(0, 0.01, max_epochs)
    seconds = speed * rng.lognormal(0, 0.05, max_epochs).cumsum()
    best = 0
    for epoch, loss in enumerate(losses):
        best = epoch if loss < losses[best] else best
        if epoch - best >= patience:
            break
    rows = zip(epochs, accuracies, losses, seconds, strict=True)
    return [Point(*map(float, row)) for row in list(rows)[: epoch + 1]]


def pruned_study(rng, *, patience, seed=0, n_trials=120, max_epochs=40, rungs=(5, 10, 20)):
    """A study whose pruner ends trials below the median at a rung, and the seconds that it saved."""
    records, saved = [], 0.0
    for number in range(n_trials):
        whole = study_curve(rng, patience=patience, max_epochs=max_epochs)
        end = len(whole)
        for rung in rungs:
            rivals = [r.curve[rung - 1].score for r in records if len(r.curve) >= rung]
            if rung < len(whole) and len(rivals) >= 10 and whole[rung - 1].score < np.median(rivals):
                end = rung
                break
        if end == len(whole) or is_exempt(seed, number):
            records.append(complete(number, whole))
        else:
            records.append(ended(number, whole[:end]))
            saved += whole[-1].seconds - whole[end - 1].seconds
    return records, saved


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("patience", [5, 15, 40])
def test_the_interval_of_saved_seconds_covers_them(patience):
    """95 % nominally; this pruner ends all trials below the median, so few remain to compare the flattest with."""
    rng = np.random.default_rng(patience)
    covered, ratios = [], []
    for _ in range(50):
        records, saved = pruned_study(rng, patience=patience)
        found = seconds_saved(records, 40, seed=0)
        covered.append(found[1] <= saved <= found[2])
        ratios.append(found[0] / saved)
    assert np.mean(covered) >= 0.8
    assert 0.9 < np.median(ratios) < 1.2


def test_the_interval_for_many_other_trials_is_that_of_jeffreys():
    for n in (1, 7, 40):
        for k in {0, 1, n // 2, n}:
            share, low, high = share_among(k, n, 20_000)
            assert share == k / n
            assert (low, high) == pytest.approx(beta.ppf([0.025, 0.975], k + 0.5, n - k + 0.5), abs=1e-3)


@pytest.mark.parametrize("number", [1, 3, 20, 60])
def test_the_interval_has_the_share_of_other_trials_nineteen_times_of_twenty(number):
    """By drawing: a share from Jeffreys' prior, then 20 trials, then ``number`` other ones with the same share."""
    random = np.random.default_rng(number)
    shares = random.beta(0.5, 0.5, size=20_000)
    seen, others = random.binomial(20, shares), random.binomial(number, shares)
    low, high = np.array([share_among(k, 20, number)[1:] for k in range(21)]).T
    covered = (low[seen] <= others / number) & (others / number <= high[seen])
    assert covered.mean() > 0.945
    assert (high >= low).all()


def noted(number, values=None, **fields):
    return make_record(
        number, values=values, attributes={"would_have_ended": {"epoch": 3.0, "reason": "median: x"}}, **fields
    )


def test_the_share_is_of_control_trials_that_the_pruner_would_have_ended():
    records = [
        noted(0, (0.9, 1.0, 1.0)),
        noted(1, (0.7, 2.0, 2.0)),  # beaten
        noted(2, (0.6, 0.1, 0.1)),  # has learnt nothing
        noted(3, state=State.PRUNED, reason="limit: x"),  # would not have joined the front either
        noted(4, state=State.FAIL),  # tried again; not known
        noted(5, state=State.RUNNING),
        make_record(6, values=(0.95, 2.0, 2.0)),
        ended(7, [0.5]),
    ]
    records.append(
        replace(records[0], number=8, attributes={**records[0].attributes, "control": True})
    )  # before the pruner acts
    assert false_prunes(records, SKILL) == (share_among(1, 4, 1), 4, 1)
    for none in (records[6:], []):
        assert (isinstance(false_prunes(none, SKILL).share, Unknown), *false_prunes(none, SKILL)[1:]) == (True, 0, 0)


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.3])
def test_the_interval_of_the_share_covers_it(share):
    """Trials on a known front, where more accuracy costs more seconds; rightly pruned trials are below it."""
    rng = np.random.default_rng(int(1000 * share))
    covered = []
    for seed in range(150):
        records, wrong = [], []
        for number in range(300):
            accuracy = rng.uniform(0.7, 0.9)
            on_front = (accuracy, float(np.exp(20 * accuracy)), 1.0)
            if rng.random() < 0.5:
                records.append(make_record(number, values=on_front))
                continue
            wrong.append(rng.random() < share)
            values = on_front if wrong[-1] else (accuracy - 0.1, 2 * on_front[1], 2.0)
            if is_exempt(seed, number):
                records.append(noted(number, values))
            else:
                records.append(ended(number, [0.5]))
        found = false_prunes(records, SKILL).share
        if isinstance(found, Estimate):
            covered.append(found.low <= np.mean(wrong) <= found.high)
    assert len(covered) > 140
    assert np.mean(covered) >= 0.9
