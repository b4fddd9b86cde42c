"""Windows of an update: what is measured, compared and trained on, against a second computation on sets of dates."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cnn_lstm_hyperopt.data.update_split import MIN_VALIDATION_DATES, update_split

DAY = np.timedelta64(1, "D")
START = np.datetime64("2020-01-01", "ns")


@st.composite
def updates(draw: st.DrawFn) -> dict[str, object]:
    days, symbols, horizon = draw(st.integers(30, 300)), draw(st.integers(1, 3)), draw(st.integers(1, 6))
    dates = np.tile(START + DAY * np.arange(days), symbols)[draw(st.permutations(range(5)))[0] % 2 :]
    seen = START + DAY * draw(st.integers(0, days))
    return {
        "dates": dates,
        "reach": dates + DAY * horizon,
        "seen_until": seen,
        "measured_until": seen + DAY * draw(st.integers(-3, 60)),
        "rolling_dates": draw(st.integers(5, 200)),
    }


@given(updates(), st.booleans())
def test_no_training_label_of_the_candidate_uses_a_bar_of_validation(given_, finetuned):
    split = update_split(**given_, finetuned=finetuned)
    dates, reach = given_["dates"], given_["reach"]
    if len(split.validation) and len(split.candidate):
        assert reach[split.candidate].max() < dates[split.validation].min()
    assert dates[split.unseen].min(initial=dates.max() + DAY) >= given_["seen_until"]
    assert set(split.new) == {
        i for i in range(len(dates)) if dates[i] >= given_["seen_until"] and dates[i] > given_["measured_until"]
    }


@given(updates())
def test_a_refit_trains_on_all_windows_of_the_newest_dates(given_):
    split = update_split(**given_, finetuned=False)
    newest = sorted(set(given_["dates"].tolist()))[-given_["rolling_dates"] :]
    assert set(given_["dates"][split.final].tolist()) == set(newest)
    assert len(split.final) == sum(date in set(newest) for date in given_["dates"].tolist())


@given(updates())
def test_a_fine_tuning_trains_on_all_unseen_windows_and_half_as_many_old_ones(given_):
    split = update_split(**given_, finetuned=True)
    old = np.setdiff1d(split.final, split.unseen)
    assert np.isin(split.unseen, split.final).all()
    before = given_["dates"][given_["dates"] < given_["seen_until"]]
    limit = sum(date in set(np.unique(before)[-given_["rolling_dates"] :].tolist()) for date in before.tolist())
    assert len(old) == min(round(0.5 * len(split.unseen)), limit) or (len(old) == 1 and limit)


@given(updates(), st.booleans())
def test_the_newest_half_of_the_unseen_dates_validates_if_it_is_long_enough(given_, finetuned):
    split = update_split(**given_, finetuned=finetuned)
    held_out = set(given_["dates"][split.validation].tolist())
    unseen = sorted(set(given_["dates"][split.unseen].tolist()))
    assert split.dates == len(unseen)
    assert bool(held_out) == (len(unseen) >= 2 * MIN_VALIDATION_DATES)
    assert held_out == set(unseen[len(unseen) - len(held_out) :])
    assert len(held_out) <= len(unseen) / 2
