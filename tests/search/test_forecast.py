"""The forecast: schedules against a simulation, the share of the training windows, and sums by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.records import make_plan, make_record, make_space
from cnn_lstm_hyperopt.config.schema.training import SMALL_DATA
from cnn_lstm_hyperopt.search import Cost, Limits, Proposer, with_fixed
from cnn_lstm_hyperopt.search.cost_forecast import (
    BYTES_A_TRIAL,
    BYTES_A_WINDOW,
    MAX_PASSES,
    SMALL_DATA_SECONDS,
    SMALL_DATA_SHARE,
    TRAIN_SHARES,
    TRIAL_SECONDS,
    WORKER_SECONDS,
    SampledSpace,
    affordable_passes,
    choose_train_share,
    expected_epoch_share,
    final_forecast,
    forecast,
    makespan,
    measured_cost_share,
    small_data_seconds,
)

jobs = st.lists(st.integers(0, 12), max_size=14)
crews = st.integers(1, 6)
SPACE = make_space()


@pytest.fixture(scope="module")
def sampled():
    return SampledSpace(SPACE)


def simulated(durations, workers):
    """Second by second: a free worker takes the next job."""
    waiting, left, now = list(durations), [0] * workers, 0
    while waiting or any(left):
        for worker in range(workers):
            while left[worker] == 0 and waiting:
                left[worker] = waiting.pop(0)
        if any(left):
            now += 1
        left = [max(0, seconds - 1) for seconds in left]
    return now


def shortest(durations, workers):
    """The best schedule, by brute force."""
    loads = []
    for places in itertools.product(range(workers), repeat=len(durations)):
        load = [0] * workers
        for place, duration in zip(places, durations, strict=True):
            load[place] += duration
        loads.append(max(load))
    return min(loads)


@given(durations=jobs, workers=crews)
def test_the_makespan_is_that_of_a_simulation_and_keeps_grahams_bounds(durations, workers):
    found = makespan([float(duration) for duration in durations], workers)
    assert found == simulated(durations, workers)
    total, longest = sum(durations), max(durations, default=0)
    assert max(total / workers, longest) <= found + 1e-9
    assert found <= total / workers + (1 - 1 / workers) * longest + 1e-9
    assert makespan(durations, workers + 1) <= found


@given(durations=st.lists(st.integers(1, 12), max_size=5), workers=st.integers(1, 3))
def test_the_makespan_is_at_most_two_minus_one_over_m_times_the_optimum(durations, workers):
    """Graham 1966."""
    best = shortest(durations, workers)
    assert best <= makespan(durations, workers) <= (2 - 1 / workers) * best


def test_sampled_configurations_are_full_reproducible_and_filtered_by_the_limits(sampled):
    def cost(params):
        return Cost(1.0, float(params["lstm.hidden_dim"]))

    again = SampledSpace(SPACE).configurations
    assert (sampled.configurations, len(again)) == (again, 1000)
    assert all(set(params) == set(SPACE.active(params)) for params in again[:50])
    within = sampled.within(Limits(size_mb=128.0), cost)
    assert within == [(p, cost(p)) for p in sampled.configurations if p["lstm.hidden_dim"] <= 128]
    assert 0.3 < len(within) / 1000 < 0.5  # two of five
    assert sampled.within(Limits(seconds=0.9), cost) == []


@pytest.mark.parametrize("limit", [None, 3.0, 20.0, 31.4, 77.0, 400.0])
def test_the_share_agrees_with_counting_at_every_share(sampled, limit):
    def cost(params, *, train_share=1.0):
        return Cost(train_share * int(params["lstm.hidden_dim"]) * int(params["lstm.num_layers"]) / 10, 1.0)

    def fits(share):
        return (
            sum(cost(params, train_share=share).seconds <= (limit or math.inf) for params in sampled.configurations)
            >= 500
        )

    expected = max(filter(fits, TRAIN_SHARES), default=min(TRAIN_SHARES))
    assert choose_train_share(sampled, limit, cost) == expected


@pytest.mark.parametrize("scale", [0.001, 1.0, 1000.0])
def test_small_data_leave_at_least_a_tenth_of_the_space(sampled, scale):
    """Below the limit are all configurations of at most 8 s, or the cheapest tenth."""
    cost = lambda params: Cost(scale * int(params["lstm.hidden_dim"]), 1.0)  # noqa: E731
    limit = small_data_seconds(sampled, SMALL_DATA - 1, cost)
    seconds = np.sort([cost(params).seconds for params in sampled.configurations])
    left = len(sampled.within(Limits(proposal_seconds=limit), cost))
    tenth = seconds[math.floor(SMALL_DATA_SHARE * (len(seconds) - 1))]
    assert left == np.sum(seconds <= max(SMALL_DATA_SECONDS, tenth))
    assert left >= SMALL_DATA_SHARE * len(seconds)
    assert small_data_seconds(sampled, SMALL_DATA, cost) is None


@pytest.mark.parametrize("scale", [1e-5, 0.004, 0.3])
@pytest.mark.parametrize(("windows", "limit", "share"), [(100, 300.0, 0.1), (900, 300.0, 0.5), (None, 300.0, 0.5)])
def test_one_more_pass_would_leave_too_little_of_the_space(sampled, scale, windows, limit, share):
    cost = lambda params: Cost(scale * int(params["lstm.hidden_dim"]) ** 2, 1.0)  # noqa: E731
    found = affordable_passes(sampled, windows, limit, cost)
    seconds = [cost(params).seconds for params in sampled.configurations]
    limit = SMALL_DATA_SECONDS if windows == 100 else limit
    assert 1 <= found <= MAX_PASSES
    assert found == 1 or np.quantile(seconds, share) * found <= limit
    assert found == MAX_PASSES or np.quantile(seconds, share) * (found + 1) > limit


def plan_of(cost, **changed):
    random = {"type": "random", "n_startup_trials": 4}
    return make_plan(cost=cost, **{"sampler": random, "n_trials": 10, "max_epochs": 5, **changed})


def expected_of(plan, sampled, **changed):
    defaults = {"n_validation": 1000, "trials": 10, "new": True, "workers": 1, "epoch_share": 0.5}
    within = sampled.within(plan.limits, plan.cost)
    return forecast(plan, within, validation_seconds=lambda params, epochs: 2.0 * epochs, **{**defaults, **changed})


@pytest.mark.parametrize(
    ("max_epochs", "min_patience", "share"),
    [(20, 4, 12.5 / 20), (8, 4, 6.5 / 8), (5, 3, 0.9), (3, 4, 1.0), (1, 1, 1.0)],
)
def test_a_new_studys_trials_end_midway_between_patience_and_all_epochs(max_epochs, min_patience, share):
    assert expected_epoch_share(max_epochs, min_patience) == pytest.approx(share)


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize(("workers", "rounds"), [(1, 10), (2, 5), (3, 4), (10, 1), (16, 1)])
def test_trials_of_equal_cost_are_a_sum_by_hand(sampled, workers, rounds, new):
    plan = plan_of(lambda params: Cost(30.0, 1.0, 500.0))
    expected = expected_of(plan, sampled, workers=workers, new=new)
    one_trial = TRIAL_SECONDS + 0.5 * (30.0 + 5 * 2.0)
    assert expected.seconds == pytest.approx(rounds * one_trial + (WORKER_SECONDS if workers > 1 else 0))
    assert expected.trial_seconds == (30.0, 30.0, 30.0)
    assert expected.memory_mb == workers * 500.0
    assert expected.disk_mb == pytest.approx(10 * (BYTES_A_TRIAL + 1000 * BYTES_A_WINDOW) / 1e6)
    assert (expected.trials, expected.workers, expected.share_left) == (10, workers, 1.0)
    none = expected_of(plan, sampled, trials=0, new=False)
    assert (none.seconds, none.disk_mb) == (0.0, 0.0)


def test_first_trials_count_with_their_own_cost_and_later_ones_with_the_mean(sampled):
    def cost(params):
        return Cost(float(params["lstm.hidden_dim"]), 1.0)

    plan = plan_of(cost, limits=Limits(seconds=512.0))
    first = [cost(with_fixed(SPACE, proposal.params)).seconds for proposal in Proposer(plan).first(10)]
    assert len(first) == 4
    within = [cost(params).seconds for params in sampled.configurations if cost(params).seconds <= 512]
    walls = [TRIAL_SECONDS + 0.5 * (seconds + 10.0) for seconds in first]
    mean = TRIAL_SECONDS + 0.5 * (math.fsum(within) / len(within) + 10.0)
    assert expected_of(plan, sampled).seconds == pytest.approx(sum(walls) + 6 * mean)
    assert expected_of(plan, sampled, new=False).seconds == pytest.approx(10 * mean)
    assert expected_of(plan, sampled, trials=2).seconds == pytest.approx(sum(walls[:2]))


def finished_at(seconds, numbers):
    return [make_record(number, attributes={"estimated_seconds": seconds}) for number in numbers]


def test_a_sampler_that_prefers_cheap_configurations_has_a_shorter_expected_search(sampled):
    """The first trials have their own cost; a later one the sampler's usual share of the mean."""

    def cost(params):
        return Cost(float(params["lstm.hidden_dim"]), 1.0)

    plan = plan_of(cost, sampler={"type": "gp", "n_startup_trials": 4})
    first = [cost(with_fixed(SPACE, proposal.params)).seconds for proposal in Proposer(plan).first(10)]
    within = [cost(params).seconds for params in sampled.configurations]
    walls = [TRIAL_SECONDS + 0.5 * (seconds + 10.0) for seconds in first]
    training = 0.5 * (math.fsum(within) / len(within) + 10.0)
    found = expected_of(plan, sampled)
    assert found.seconds == pytest.approx(sum(walls) + 6 * (TRIAL_SECONDS + Proposer(plan).cost_share * training))
    assert found.max_seconds == pytest.approx(sum(walls) + 6 * (TRIAL_SECONDS + training))
    assert found.seconds < found.max_seconds
    measured = expected_of(plan, sampled, trials=5, new=False, cost_share=0.25)
    assert measured.seconds == measured.max_seconds == pytest.approx(5 * (TRIAL_SECONDS + 0.25 * training))


def test_the_cost_share_is_measured_on_the_trials_that_a_model_proposed(sampled):
    plan = plan_of(lambda params: Cost(40.0, 1.0), sampler={"type": "gp", "n_startup_trials": 4})
    within = sampled.within(plan.limits, plan.cost)
    records = [*finished_at(999.0, range(4)), *finished_at(10.0, range(4, 9))]
    assert measured_cost_share(plan, within, records) == pytest.approx(0.25)
    assert measured_cost_share(plan, within, records[:-1]) is None
    assert measured_cost_share(plan_of(plan.cost), within, records) is None  # random proposals have no model


def test_shares_quantiles_and_peaks_are_of_the_space_within_the_limits(sampled):
    def cost(params):
        return Cost(float(params["lstm.hidden_dim"]), 1.0, 100.0 * int(params["lstm.num_layers"]))

    expected = expected_of(plan_of(cost, limits=Limits(memory_mb=250.0)), sampled, workers=2)
    within = [params for params in sampled.configurations if params["lstm.num_layers"] <= 2]
    assert expected.share_left == len(within) / 1000
    seconds = sorted(params["lstm.hidden_dim"] for params in within)
    assert expected.trial_seconds == (64.0, 256.0, 1024.0) == (seconds[0], seconds[len(seconds) // 2], seconds[-1])
    assert expected.memory_mb == 2 * 200.0


@pytest.mark.parametrize(("limit", "seconds"), [(None, (120.0, 240.0)), (1000.0, (120.0, 240.0)), (90.0, (30.0, 60.0))])
def test_the_final_phase_is_a_sum_by_hand(sampled, limit, seconds):
    """5 epochs of a trial take 10 s on half of the windows: 2 s an epoch there, 4 s on all.

    An evaluation takes 2 s; in a trial it takes 1 s, and the last one 5 s.
    """
    plan = plan_of(lambda params: Cost(10.0, 1.0))
    found = final_forecast(
        plan,
        sampled.within(plan.limits, plan.cost),
        validation_seconds=lambda params, epochs: epochs + 5.0,
        evaluation_seconds=lambda params: 2.0,
        confirmations=6,
        retrainings=4,
        full_epochs=10,
        train_share=0.5,
        seconds_limit=limit,
        refit=3 * 1.25,
    )
    assert (found.confirmations, found.retrainings) == (6, 4)
    assert (found.confirmation_seconds, found.retraining_seconds) == pytest.approx(seconds)
    assert found.refit_seconds == pytest.approx(3 * 1.25 * 10 * 4)  # without evaluations and without a limit


def test_each_period_of_the_test_set_has_its_own_retrainings(sampled):
    """As above; 40 epochs of 4 and 6 s, since the second period trains on half as many windows again."""
    plan = plan_of(lambda params: Cost(10.0, 1.0))
    facts = {"confirmations": 0, "retrainings": 4, "full_epochs": 10, "train_share": 0.5, "seconds_limit": None}
    facts |= {"validation_seconds": lambda params, epochs: 0.0, "evaluation_seconds": lambda params: 2.0}
    within = sampled.within(plan.limits, plan.cost)
    found = final_forecast(plan, within, periods=(1.0, 1.5), **facts)
    assert (found.retrainings, found.retraining_seconds) == (8, pytest.approx(40 * (4 + 2) + 40 * (6 + 2)))
