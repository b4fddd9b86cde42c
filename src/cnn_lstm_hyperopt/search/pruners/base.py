"""The interface of the pruners."""

import abc
from collections.abc import Sequence

from cnn_lstm_hyperopt.config import PrunerSettings
from cnn_lstm_hyperopt.search.gate import SkillGate
from cnn_lstm_hyperopt.search.trial import TrialRecord


class Pruner(abc.ABC):
    """Says after each epoch whether a trial deserves the next one. Holds no state: all it needs is in the stored trials."""

    def __init__(self, settings: PrunerSettings, gate: SkillGate) -> None:
        self.settings = settings
        self.gate = gate

    @abc.abstractmethod
    def reason_to_prune(
        self, trial: TrialRecord, complete: Sequence[TrialRecord], front: Sequence[TrialRecord]
    ) -> str | None:
        """Why the trial should end now, or None.

        Args:
            trial: running, its curve's last point is the epoch just finished.
            complete: all COMPLETE trials.
            front: those of them that passed the gate and are non-dominated.
        """

    def inactive_because(self, *, n_trials: int, max_epochs: int) -> str | None:
        """Why this pruner can't act at all in a study of this size, or None."""
        return None
