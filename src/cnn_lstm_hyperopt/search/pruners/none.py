"""No pruning."""

from collections.abc import Sequence

from cnn_lstm_hyperopt.search.pruners.base import Pruner
from cnn_lstm_hyperopt.search.trial import Point, TrialRecord


class NoPruner(Pruner):
    """Never ends a trial."""

    name, place = "none", 3
    description = "ends no trial early"

    def acts(self, curve: Sequence[Point]) -> bool:
        """Return False."""
        return False

    def reason_to_prune(self, trial: TrialRecord, others: Sequence[TrialRecord]) -> str | None:
        """Return None."""
        return None
