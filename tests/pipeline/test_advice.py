"""Advice after a search without good trials, in terms of the interface in use."""

import pytest

from builders.records import make_plan, make_record
from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.pipeline.advice import Interface, below_chance_text, empty_front_text
from cnn_lstm_hyperopt.search import State

PRUNED = [make_record(number, state=State.PRUNED, reason="limit: too slow") for number in range(3)]
BELOW = [make_record(number, values=(0.4 + 0.01 * number, 1.0, 1.0)) for number in range(3)]
LINE, PYTHON, LOADERS = Interface


@pytest.mark.parametrize(
    ("text", "records", "interface", "named", "unnamed"),
    [
        (empty_front_text, [], LINE, ["resume"], ["max_epochs", "--"]),
        (empty_front_text, PRUNED, LINE, ["limits.trial_seconds", "3 of 3", "--recalibrate"], ["max_epochs"]),
        (empty_front_text, PRUNED, PYTHON, ["limits.trial_seconds"], ["--"]),
        (below_chance_text, BELOW, LINE, ["0.4200", "0.6000", "max_epochs", "--target volatility"], ["config="]),
        (below_chance_text, BELOW, PYTHON, ['"target": "volatility"'], ["--"]),
        (below_chance_text, BELOW, LOADERS, ["max_epochs", "loaders"], ["--", "target"]),
    ],
)
def test_the_advice_names_numbers_settings_and_flags_of_the_interface(text, records, interface, named, unnamed):
    found = text(load_settings(environment={}), make_plan(), records, interface)
    assert all(word in found for word in named), found
    assert not any(word in found for word in unnamed), found
