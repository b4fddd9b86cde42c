"""What MLflow will not take, or what can't be made for it, keeps nothing else from being written."""

import contextlib
import logging
from collections.abc import Iterator

from mlflow.exceptions import MlflowException

from cnn_lstm_hyperopt.errors import HyperoptError

log = logging.getLogger(__name__)

_DEFINITE = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST")


class Refusals:
    """Of one look at a study; the first is told when all else is written."""

    def __init__(self) -> None:
        self._first: Exception | None = None

    @property
    def none(self) -> bool:
        """Whether there was no refusal."""
        return self._first is None

    @contextlib.contextmanager
    def of(self, what: str) -> Iterator[None]:
        """A context for one trial or model. A server that is away is no refusal: its error goes on."""
        try:
            yield
        except MlflowException as error:
            if error.error_code not in _DEFINITE:
                raise
            self._keep(what, error)
        except (HyperoptError, RuntimeError) as error:  # a model that can't be traced, say
            self._keep(what, error)

    def _keep(self, what: str, error: Exception) -> None:
        log.warning("%s is not written: %s", what, type(error).__name__)
        log.debug("%s is not written", what, exc_info=True)
        self._first = self._first or error

    def raise_first(self) -> None:
        """Raises what was refused first, if anything was."""
        if self._first is not None:
            raise self._first
