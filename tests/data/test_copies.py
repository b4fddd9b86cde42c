"""Symbols with the same returns are found, whatever their dates and prices; symbols that move alike are not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.frames import random_frame
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.sources import load_bars
from cnn_lstm_hyperopt.data.validation.copies import RUN, find_copies


def walk(seed, bars=600, size=0.015, price=50.0, digits=2):
    closes = price * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, size, bars)))
    return np.round(closes, digits)


@given(
    seed=st.integers(0, 10_000),
    begin=st.integers(0, 400),
    bars=st.integers(110, 200),
    place=st.integers(0, 3),
    factor=st.floats(0.05, 500),
)
@settings(deadline=None, max_examples=40)
def test_a_copy_of_a_stretch_is_found_at_its_place_and_strangers_never(seed, begin, bars, place, factor):
    every = [walk(seed + number) for number in range(4)]
    other = (place + 1) % 4
    every[other] = np.concatenate([walk(seed + 9, 70), factor * every[place][begin : begin + bars], walk(seed + 8, 50)])
    found = {
        (root, member): (match.bars, match.first, match.second)
        for root, matches in find_copies(every).items()
        for member, match in matches.items()
    }
    first, second = (begin, 70) if place < other else (70, begin)
    assert found == {(min(place, other), max(place, other)): (bars - 1, first, second)}


def test_ten_names_of_one_file_are_one_finding_and_a_chain_of_parts_is_two():
    one = walk(0)
    assert {root: sorted(found) for root, found in find_copies([one] * 10).items()} == {0: list(range(1, 10))}
    chain = [one[:300], one[200:500], one[400:]]
    assert {root: sorted(found) for root, found in find_copies(chain).items()} == {0: [1], 1: [2]}


def fund_and_index(price, spread):
    index = walk(1, 5_000, 0.01, 2_000, 2)
    fees = np.arange(5_000) / 250 * 0.001
    return [
        index,
        np.round(index / 2_000 * price * np.exp(np.random.default_rng(2).normal(0, spread, 5_000) - fees), 2),
    ]


def alike():
    market = np.random.default_rng(3).normal(0, 0.01, 5_000)
    own = np.random.default_rng(4).normal(0, 0.001, (20, 5_000))
    return [np.round(50 * np.exp(np.cumsum(market + each)), 2) for each in own]


ALIKE = {
    "correlated": alike(),
    "index": fund_and_index(400, 2e-4),
    "cheap fund": fund_and_index(10, 2e-4),
    "few digits": [walk(seed, 50_000, 5e-5, 1.1, 4) for seed in range(5)],  # currencies, minutes
    "constant": [np.full(900, 5.0), np.full(900, 5.0), np.full(900, 7.0)],
    "two prices": [np.tile([7.75, 7.7501], 450)] * 2,
    "short": [walk(0, RUN - 1)] * 2,
    "no bars": [np.empty(0), np.array([1.0]), walk(0)],
    "one": [walk(0)],
    "none": [],
}


@pytest.mark.parametrize("every", ALIKE.values(), ids=ALIKE)
def test_symbols_that_only_move_alike_are_no_copies(every):
    assert find_copies(every) == {}


def test_few_digits_and_rounding_after_a_multiplication_do_not_hide_a_copy():
    currency = walk(5, 20_000, 5e-5, 1.1, 4)
    assert find_copies([currency, currency[225:]])[0][1].first == 225
    assert find_copies([walk(6), np.round(walk(6) * 3.3, 2)])[0][1].bars == 599


@pytest.mark.wording
def test_files_of_one_symbol_are_named_in_one_line(tmp_path):
    frame = random_frame(500)
    for name, bars in {"A": frame, "B": frame * 2, "C": random_frame(500, seed=1)}.items():
        bars.to_csv(tmp_path / f"{name}.csv")
    frame.iloc[225:].set_axis(frame.index[:-225]).rename_axis("date").to_csv(tmp_path / "D.csv")
    every, warnings = load_bars(DataSettings(source="files", data_dir=tmp_path))
    (problem,) = (problem for bars in every for problem in bars.problems if problem.rule == "same_returns")
    assert (problem.symbol, problem.count, problem.first) == ("A", 2, "2010-01-04")
    assert [text for text in warnings if "returns are the same" in text] == [
        "A: the returns are the same as those of B (500 bars), D (275 bars; its 2010-01-04 is 2010-11-15 here);"
        " keep one of these symbols: copies are no further evidence, and a shifted copy puts test bars into training"
    ]
