"""How far the export of a study to a tracker is."""

from dataclasses import asdict, dataclass
from pathlib import Path

from cnn_lstm_hyperopt.utils.atomic_io import write_json


@dataclass(frozen=True)
class SyncStatus:
    """Sync status: numbers of trials and retrained models that the tracker has, id of the experiment, last error (or ``""``).

    Attributes:
        known: whether the numbers are known: the exporter has seen what the tracker has.
    """

    known: bool = False
    trials: int = 0
    models: int = 0
    of_models: int = 0
    experiment_id: str = ""
    error: str = ""

    def write(self, path: Path) -> None:
        """Write the sync status to a JSON file."""
        write_json(path, asdict(self), make_folder=False)

    def missing(self, ended: int) -> str:
        """Return what the tracker lacks of a study with ``ended`` ended trials, such as ``12 of 30 trials``, or ``""``.

        The numbers must be known.
        """
        counts = ((self.trials, ended, "trials"), (self.models, self.of_models, "retrained models"))
        return " and ".join(f"{total - has} of {total} {what}" for has, total, what in counts if has < total)
