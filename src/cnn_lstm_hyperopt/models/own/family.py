"""Families of networks that a user registers: their parameters, configurations and costs."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.models.base import NetworkConfig, NetworkShape
from cnn_lstm_hyperopt.models.cost import Profile
from cnn_lstm_hyperopt.models.own.ranges import FIELD, NAME, family_error, read_ranges
from cnn_lstm_hyperopt.models.own.recipe import Recipe, Values, short
from cnn_lstm_hyperopt.space.parameters import Params, Specs, value_of
from cnn_lstm_hyperopt.utils.text import shown

Build = Callable[..., Any]
"""Type of the functions ``build(shape, **parameters) -> nn.Module`` and ``describe(shape, **parameters) -> Profile``."""

_REGISTERED: dict[str, "OwnFamily"] = {}
_MAX_COLUMNS = 3
"""Maximum number of parameters that tables show."""
_KNOWN_PROFILES = 10_000
USUAL_SHAPE = NetworkShape(input_dim=4, n_classes=2, has_regression=False, lookback=64)
"""Shape of data for questions about a network that do not depend on a study's data."""


def register_family(
    name: str, parameters: Mapping[str, Any], build: Build, describe: Callable[..., Profile] | None = None
) -> "OwnFamily":
    """Register your own family of networks, so that a study can search it: ``search_space: {family: mine:mlp}``.

    Call this function at the top level of a module. The reference of the family is ``module:name``. Worker processes and later
    runs import the module, so protect the code that starts a run with ``if __name__ == "__main__":``.

    Args:
        name: name of the family, such as ``mlp``. It is also the section of the parameters in ``search_space``.
        parameters: ranges of the parameters by name. A tuple ``(low, high)`` is a range, a list has choices, and
            ``{"low": 1e-4, "high": 1e-1, "log": True}`` is a range on a log scale. Another value is fixed.
        build: function or class that returns a torch module for ``build(shape, **parameters)``; see :class:`.NetworkShape`. The
            module maps windows ``(batch, lookback, input_dim)`` to a tuple of logits ``(batch, n_classes)`` and values
            ``(batch,)``. Without a regression target, the second item is None. Random initial weights must come from torch.
        describe: function that returns the size and the operations of the network as a :class:`.Profile`, with the arguments of
            ``build``. None: both are measured with torch's counter of operations.

    Returns:
        The family. Its attribute ``reference`` is the text for ``search_space.family``.

    Raises:
        ConfigError: an argument violates a rule.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise family_error(
            f"{FIELD}: name must have small letters, digits and _, such as mlp, but got {shown(name)}", "not-a-name"
        )
    for argument, given in (("build", build), ("describe", describe)):
        if not callable(given) and not (argument == "describe" and given is None):
            raise family_error(
                f"{FIELD}: {argument} of {name} must be a function or a class, but got {shown(given)}", "not-callable"
            )
    module = _module_name(sys._getframe(1).f_globals)
    family = OwnFamily(name, read_ranges(name, parameters), module, build, describe)
    _REGISTERED[family.reference] = family
    _profile.cache_clear()
    return family


def registered() -> Mapping[str, "OwnFamily"]:
    """Return the families that users have registered in this process, by reference."""
    return _REGISTERED


def own_folders() -> list[str]:
    """Return the folders from which the modules of registered families were imported, so that a new process finds them."""
    folders = []
    for family in _REGISTERED.values():
        module = sys.modules.get(family.module.partition(".")[0]) or sys.modules.get("__main__")
        if (file := getattr(module, "__file__", None)) is not None:
            package = Path(file).resolve().parent
            folders.append(str(package.parent if hasattr(module, "__path__") else package))
    return list(dict.fromkeys(folders))


def _module_name(variables: Mapping[str, Any]) -> str:
    """Return the name by which a module with these global variables can be imported.

    The program itself has the name ``__main__``; other processes import it by the name of its file.
    """
    name = str(variables.get("__name__", "__main__"))
    if name != "__main__":
        return name
    spec, file = variables.get("__spec__"), variables.get("__file__")
    if spec is not None:
        return str(spec.name)
    return Path(file).stem if isinstance(file, str) else name


@dataclass(frozen=True, eq=False)
class OwnFamily:
    """A family of networks that a user has registered; see :class:`.Family` for its methods.

    Attributes:
        label: name of the family without its module.
        parameters: specifications of the parameters by full name.
        module: name of the module that registers the family.
        build_module: user's function that returns a torch module.
        describe: user's function that returns the cost of a network; None: the cost is measured.
    """

    label: str
    parameters: Specs
    module: str
    build_module: Build = field(repr=False)
    describe: Callable[..., Profile] | None = field(repr=False)
    recomputes: ClassVar[bool] = False

    @property
    def reference(self) -> str:
        """Reference of the family: ``module:name``."""
        return f"{self.module}:{self.label}"

    @property
    def name(self) -> str:
        """Name of the family in configurations: its reference."""
        return self.reference

    @property
    def structure(self) -> str:
        """Phrase that describes all networks of the family."""
        return f"the family {self.reference}"

    def config(
        self, params: Params, *, input_dim: int, n_classes: int, has_regression: bool, lookback: int | None = None
    ) -> "OwnConfig":
        if lookback is None:
            raise ConfigError(
                f"{self.reference} needs the number of bars in a window; pass lookback",
                field="lookback",
                code="lookback-needed",
            )
        values = tuple((name.partition(".")[2], value_of(name, params, self.parameters)) for name in self.parameters)
        return OwnConfig(input_dim, n_classes, has_regression, self.reference, values, lookback)

    def build(self, config: "OwnConfig") -> Any:
        from cnn_lstm_hyperopt.models.own.network import new_own_network

        return new_own_network(config, self.recipe(config))

    def recipe(self, config: "OwnConfig") -> Recipe:
        """Return the user's functions with the arguments for a configuration."""
        return Recipe(self.reference, config.shape, config.values, self.build_module, self.describe)

    def profile(self, config: "OwnConfig") -> Profile:
        """Return the size and the operations of a network, described by the user or measured.

        Raises:
            ConfigError: a function of the user raises an error, or ``describe`` returns no profile.
        """
        from cnn_lstm_hyperopt.models.own.network import measured_profile

        recipe = self.recipe(config)
        return recipe.described() or measured_profile(recipe)

    def splits_batches(self, params: Params) -> bool:
        """Return whether a network has no batch normalisation; False if this can't be found out."""
        from cnn_lstm_hyperopt.models.own.network import has_batch_statistics

        shape = USUAL_SHAPE
        try:
            config = self.config(
                params,
                input_dim=shape.input_dim,
                n_classes=shape.n_classes,
                has_regression=shape.has_regression,
                lookback=shape.lookback,
            )
            return not has_batch_statistics(self.recipe(config))
        except ConfigError:
            return False

    def columns(self, params: Params) -> Mapping[str, str]:
        names = list(self.parameters)[:_MAX_COLUMNS]
        return {name.partition(".")[2]: short(value_of(name, params, self.parameters)) for name in names}


@dataclass(frozen=True)
class OwnConfig(NetworkConfig):
    """Configuration of a network of a user's family.

    Attributes:
        reference: reference of the family.
        values: name (without the family) and typed value of each parameter.
        lookback: number of bars in a window.
    """

    family: ClassVar[str] = "own"
    reference: str
    values: Values
    lookback: int

    @property
    def shape(self) -> NetworkShape:
        """Sizes of the inputs and outputs of the network."""
        return NetworkShape(self.input_dim, self.n_classes, self.has_regression, self.lookback)

    def cost(self, *, lookback: int) -> Profile:
        return _profile(self if lookback == self.lookback else OwnConfig(**{**vars(self), "lookback": lookback}))

    def describe(self) -> str:
        return ", ".join(f"{name} {short(value)}" for name, value in self.values)


@lru_cache(maxsize=_KNOWN_PROFILES)
def _profile(config: OwnConfig) -> Profile:
    return _REGISTERED[config.reference].profile(config)


def families_in(module: str) -> dict[str, OwnFamily]:
    """Return the families that a module has registered, by their names without the module."""
    return {family.label: family for family in _REGISTERED.values() if family.module == module}
