"""Wording of the messages that users of reports meet most; each text is here and in no other test."""

from dataclasses import replace

import pytest

from builders.finalists import confirmation
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.pipeline.advice import Interface
from cnn_lstm_hyperopt.pipeline.confirmation import Confirmed
from cnn_lstm_hyperopt.reporting.console.final_tables import confirmation_lines, next_lines
from cnn_lstm_hyperopt.reporting.console.pruning import pruning_lines
from cnn_lstm_hyperopt.search.pruning_audit import Audit
from cnn_lstm_hyperopt.search.pruning_stats import Estimate, FalsePrunes, PruningSummary

PRUNING = PruningSummary(
    {"front": 31}, 1000.0, Estimate(1000, 800, 1300), FalsePrunes(Estimate(0.06, 0.01, 0.21), 17, 1), 20
)
AUDITED = replace(PRUNING, audit=Audit(80, 30, 19, 3, 0.12, 0.01), audited=True)
NOISY = Confirmed([confirmation(1, 4, 0.7, 0.64)], [], None)


@pytest.mark.wording
@pytest.mark.parametrize(
    ("line", "text"),
    [
        (pruning_lines(PRUNING)[1], "  Training saved: 17 min (13 min to 22 min), 50% of that without pruning."),
        (pruning_lines(PRUNING)[2], "  False prunes: 6% (1% to 21%): 1 of 17 control trials on the front."),
        (pruning_lines(AUDITED)[3], "  Pruning is off, unproven: saves 12% of the time, loses 3 of 19 on the front."),
        (
            confirmation_lines(NOISY, "accuracy")[0],
            "Selection noise: search scores are 6.0 points above scores with new seeds on average.",
        ),
    ],
)
def test_a_line_reads(line, text):
    assert line == text


@pytest.mark.wording
def test_the_next_step_after_a_search_reads(tmp_path):
    lines = next_lines(tmp_path, {"retrained_models": []}, DataSettings(), 0, Interface.COMMAND_LINE)
    assert lines[0] == "Next: retrain the best models and evaluate them once on the test set:"
