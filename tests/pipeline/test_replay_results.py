"""Results of a replay of updates: paired differences, the sentence about them, and values for strict JSON."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cnn_lstm_hyperopt.evaluation.bootstrap import mean_interval
from cnn_lstm_hyperopt.pipeline.updates.measurement import Measured
from cnn_lstm_hyperopt.pipeline.updates.replay_results import PeriodResult, Replay, Replayed


def planted(gain: float) -> Replay:
    """Two periods of 60 dates of two symbols; the losses of the second policy are lower by ``gain`` on average."""
    random = np.random.default_rng(0)
    dates = np.repeat(np.datetime64("2020-01-01", "ns") + np.arange(120) * np.timedelta64(1, "D"), 2)
    none = Measured(dates, random.uniform(0.5, 0.8, 240), random.integers(0, 2, 240).astype(float))
    other = replace(none, losses=none.losses - gain + random.normal(0, 0.02, 240))

    def periods(whole: Measured, update: dict[str, Any] | None) -> tuple[PeriodResult, ...]:
        halves = [Measured(*(array[part] for array in vars(whole).values())) for part in np.split(np.arange(240), 2)]
        return PeriodResult(1, halves[0], update), PeriodResult(1 if update is None else 2, halves[1])

    accepted = {"decision": "accepted", "reason": "better", "version": 2, "drift": {}}
    policies = (
        Replayed("none", periods(none, None), 0.0),
        Replayed("refit", periods(other, accepted), 1.5),
    )
    return Replay("retrained_model_1", 2, dates[0], dates[100], policies)


@pytest.mark.parametrize(("gain", "word"), [(0.1, "refit pays"), (-0.1, "refit costs"), (0.0, "no difference")])
def test_a_policy_pays_only_if_the_paired_interval_says_so(gain, word):
    replay = planted(gain)
    found = replay.as_dict()
    json.dumps(found, allow_nan=False)
    none, refit = (each.whole for each in replay.policies)
    difference = found["policies"][1]["difference_to_none"]
    assert difference["log_loss"] == pytest.approx(refit.losses.mean() - none.losses.mean())
    assert difference["log_loss_interval"] == list(mean_interval(refit.losses - none.losses, none.dates))
    assert (found["policies"][1]["accepted"], found["policies"][1]["updates"]) == (1, 1)
    assert word in str(replay)
    assert found["test_set"]["periods"] == 1
