"""Facts about a final refit: a tested model whose networks were trained again on training and validation windows."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from cnn_lstm_hyperopt.inference.stored_form import StoredForm
from cnn_lstm_hyperopt.utils.text import counted

REFIT, REFIT_FAILURE = "refit", "refit_failure"
"""Folder of the final refit in the folder of the tested model, and keys of ``results.json``. The first name is also the key
of its facts in ``model.json``."""
_TESTED = "tested model"
_OF_TESTED = ("test_figures_of", "conformal_of", "temperature_of", "decision_weights_of")


@dataclass(frozen=True)
class Refit:
    """Facts about a final refit.

    No test figure belongs to a refit, because only the tested model was tested. The conformal sets, the temperature and the
    decision weights of a refit are those of the tested model, because no windows before the test set are left to fit them.

    Attributes:
        trained_until: last decision date of the training windows as text; None: the windows have no dates.
        epochs: number of epochs of each network.
        windows: number of training windows.
    """

    trained_until: str | None
    epochs: int
    windows: int

    @property
    def sentence(self) -> str:
        """Sentence about the refit and the origin of its figures."""
        until = "" if self.trained_until is None else f", until {self.trained_until}"
        return (
            f"Final refit: trained on {self.windows:,} training and validation windows{until} ({counted(self.epochs, 'epoch')})."
            " Test figures and prediction sets are of the tested model."
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the entry ``refit`` of ``model.json``. The entry also states which facts belong to the tested model."""
        return {**asdict(self), **dict.fromkeys(_OF_TESTED, _TESTED)}


class StoredRefit(StoredForm):
    """Entry ``refit`` of ``model.json``."""

    trained_until: str | None = Field(max_length=100)
    epochs: int = Field(ge=0, le=1_000_000)
    windows: int = Field(ge=1)
    test_figures_of: Literal["tested model"]
    conformal_of: Literal["tested model"]
    temperature_of: Literal["tested model"]
    decision_weights_of: Literal["tested model"]

    @classmethod
    def taken_from(cls, raw: Any) -> Refit | None:
        """Return the entry ``refit`` in the content of ``model.json``, and remove it; None: the model is no refit.

        Raises:
            FormError: the entry is invalid.
        """
        entry = raw.pop(REFIT, None) if isinstance(raw, dict) else None
        if entry is None:
            return None
        found = cls.read(entry, f"{REFIT}: ")
        return Refit(found.trained_until, found.epochs, found.windows)


def refit_failure_text(failure: Mapping[str, Any]) -> str:
    """Return a sentence about a refit that failed with every seed, from the entry ``refit_failure`` of ``results.json``."""
    reasons = "; ".join(failure.get("seed_failures") or ())
    return (
        f"The final refit failed with every seed ({reasons}). predict uses the tested model, and resume does not repeat the"
        " refit."
    )


def refit_folder(model_folder: Path) -> Path:
    """Return the folder of the final refit of the model in ``model_folder``."""
    return model_folder / REFIT
