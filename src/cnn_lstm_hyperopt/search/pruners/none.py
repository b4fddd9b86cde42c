"""The pruner ``none``, which ends no trial."""

from collections.abc import Sequence

from cnn_lstm_hyperopt.search.pruners.base import Pruner
from cnn_lstm_hyperopt.search.trial import Point, TrialRecord


class NoPruner(Pruner):
    """Pruner that ends no trial."""

    name, place = "none", 3
    description = "ends no trial early"

    def acts(self, curve: Sequence[Point]) -> bool:
        """Return False, because this pruner never makes a decision."""
        return False

    def reason_to_prune(self, trial: TrialRecord, others: Sequence[TrialRecord]) -> str | None:
        """Return None, because every trial continues."""
        return None
