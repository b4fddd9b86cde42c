"""Instructions to build the module of one configuration of a user's family."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.models.base import NetworkShape
from cnn_lstm_hyperopt.models.cost import Profile
from cnn_lstm_hyperopt.space.domains import Scalar
from cnn_lstm_hyperopt.utils.text import shown, typed_line

FIELD = "search_space.family"
Values = tuple[tuple[str, Scalar], ...]


@dataclass(frozen=True)
class Recipe:
    """A configuration of a user's family, with the user's functions.

    Attributes:
        reference: reference of the family.
        shape: sizes of the inputs and outputs.
        values: name (without the family) and typed value of each parameter.
        build_module: user's function that returns a torch module.
        describe: user's function that returns the cost; None: the cost is measured.
    """

    reference: str
    shape: NetworkShape
    values: Values
    build_module: Callable[..., Any]
    describe: Callable[..., Any] | None

    def module(self) -> Any:
        """Return the result of the user's function ``build``.

        Raises:
            ConfigError: the function raises an error.
        """
        try:
            return self.build_module(self.shape, **dict(self.values))
        except Exception as error:
            raise self.error(f"build raises {typed_line(error)}", "build-raises") from error

    def described(self) -> Profile | None:
        """Return the result of the user's function ``describe``; None: there is no such function.

        Raises:
            ConfigError: the function raises an error, or returns no profile.
        """
        if self.describe is None:
            return None
        try:
            found = self.describe(self.shape, **dict(self.values))
        except Exception as error:
            raise self.error(f"describe raises {typed_line(error)}", "describe-raises") from error
        if not isinstance(found, Profile):
            raise self.error(f"describe must return a Profile, but returns {shown(found)}", "not-a-profile")
        return found

    def error(self, text: str, code: str) -> ConfigError:
        """Return an error of this configuration."""
        given = ", ".join(f"{name}={short(value)}" for name, value in self.values)
        return ConfigError(f"{FIELD} {self.reference} with {given}: {text}", field=FIELD, code=code)


def short(value: Scalar) -> str:
    """Return the value of a parameter as short text."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
