"""No pruning."""

from collections.abc import Sequence

from cnn_lstm_hyperopt.search.pruners.base import Pruner
from cnn_lstm_hyperopt.search.trial import TrialRecord


class NoPruner(Pruner):
    """Every trial runs to its own end."""

    def reason_to_prune(
        self, trial: TrialRecord, complete: Sequence[TrialRecord], front: Sequence[TrialRecord]
    ) -> str | None:
        """None, always."""
        return None
