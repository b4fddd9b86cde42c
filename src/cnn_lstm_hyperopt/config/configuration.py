"""Typed access to the parameters of one configuration."""

from cnn_lstm_hyperopt.config.domains import Scalar, decode_sizes
from cnn_lstm_hyperopt.config.search_space import PARAMETERS, Params
from cnn_lstm_hyperopt.errors import ConfigError


class Configuration:
    """Read the parameters of a full configuration, each by its type.

    A parameter that does not apply (``regularization.l1`` without its switch) has the ``unused`` value of its specification, so
    every parameter can be read from every configuration.

    Args:
        params: name → stored value of all active parameters, the fixed ones included.
    """

    def __init__(self, params: Params) -> None:
        self._params = params

    def whole_number(self, name: str) -> int:
        """Return a parameter that counts something.

        Raises:
            ConfigError: the configuration lacks the parameter, although it applies.
        """
        return int(self._value(name))

    def number(self, name: str) -> float:
        """Return a real number; raises as :meth:`whole_number`."""
        return float(self._value(name))

    def flag(self, name: str) -> bool:
        """Return a switch; raises as :meth:`whole_number`."""
        return bool(self._value(name))

    def text(self, name: str) -> str:
        """Return the name of a choice; raises as :meth:`whole_number`."""
        return str(self._value(name))

    def filter_sizes(self, name: str) -> tuple[int, ...]:
        """Return a list of filter sizes; raises as :meth:`whole_number`."""
        return decode_sizes(self.text(name))

    def heads(self, name: str) -> int | None:
        """Return the number of attention heads, or None without attention; raises as :meth:`whole_number`."""
        return self.whole_number(name) if self._applies(name) else None

    def _applies(self, name: str) -> bool:
        conditions = PARAMETERS[name].when
        return all(self._applies(parent) and self._value(parent) in values for parent, values in conditions.items())

    def _value(self, name: str) -> Scalar:
        applies, unused = self._applies(name), PARAMETERS[name].unused
        if not applies and unused is not None:
            return unused
        if name not in self._params:
            raise ConfigError(f"{name} is missing from the configuration; give it a value")
        return self._params[name]
