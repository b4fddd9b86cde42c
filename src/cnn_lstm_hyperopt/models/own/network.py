"""Networks of a user's family: the wrapper of the user's module, its measured cost, and the check of its outputs."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.flop_counter import FlopCounterMode

from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.models.base import NetworkConfig, NetworkShape
from cnn_lstm_hyperopt.models.cost import Profile
from cnn_lstm_hyperopt.models.layers.norms import BatchNorm
from cnn_lstm_hyperopt.models.network import Network, Output
from cnn_lstm_hyperopt.models.own.recipe import Recipe
from cnn_lstm_hyperopt.utils.text import shown, shown_names, typed_line

T = TypeVar("T")
_MEASURED_PROFILES: dict[tuple[Any, ...], Profile] = {}
_MAX_KNOWN = 10_000
Fault = tuple[str, str] | None
"""Text and code of a fault; None: there is none."""
_CHECKED, _MEASURED = 3, 2
"""Number of windows in the check and in the measurement of a network."""
_TOLERANCE, _SIZE_TOLERANCE = 1e-3, 0.01
"""Largest relative differences between outputs of the same window, and between a described and a built size."""


class OwnNetwork(Network):
    """A user's module with the interface of the package's networks.

    Args:
        module: module that maps windows to logits and values; see :func:`.register_family`.
    """

    def __init__(self, config: NetworkConfig, module: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.module = module

    def recompute_in_backward(self, recompute: bool) -> None:
        """Do nothing: a user's module has no gradient checkpointing, and its memory levels do not include it."""

    def forward(self, x: Tensor) -> Output:
        """Return the output for windows ``(batch, lookback, input_dim)``."""
        return _output(self.module(x))


def _output(found: Any) -> Output:
    """Return the output of a user's module in the form of all networks."""
    logits, value = found if isinstance(found, tuple) else (found, None)
    return Output(logits, None if value is None else value.flatten())


def new_own_network(config: NetworkConfig, recipe: Recipe) -> OwnNetwork:
    """Return a network with initial weights; raise ConfigError if the user's function fails."""
    return OwnNetwork(config, _torch_module(recipe))


def _torch_module(recipe: Recipe) -> nn.Module:
    module = recipe.module()
    if not isinstance(module, nn.Module):
        raise recipe.error(f"build must return a torch.nn.Module, but returns {shown(module)}", "no-module")
    return module


def has_batch_statistics(recipe: Recipe) -> bool:
    """Return whether a network has batch normalisation, whose result depends on the other windows of a batch."""
    return _of_module(
        recipe, lambda module: any(isinstance(part, (_BatchNorm, BatchNorm)) for part in module.modules())
    )


def measured_profile(recipe: Recipe) -> Profile:
    """Return the size and the operations of a network, counted in a forward pass without weights in memory.

    A module that torch's device ``meta`` does not support is built on the CPU.

    Raises:
        ConfigError: the user's function or module raises an error.
    """
    return _of_module(recipe, lambda module: _known_or_measured(recipe, module))


def _of_module(recipe: Recipe, function: Callable[[nn.Module], T]) -> T:
    """Return the result of a function of a user's module, without a change of torch's random state."""
    for device in ("meta", "cpu"):
        try:
            with torch.random.fork_rng(devices=[]), torch.device(device):
                return function(_torch_module(recipe))
        except ConfigError:
            if device == "cpu":
                raise
    raise RuntimeError("unreachable")


def _known_or_measured(recipe: Recipe, module: nn.Module) -> Profile:
    """Return the profile of a module. Modules that differ only in rates of dropout are measured once.

    A search has a thousand configurations with different rates, and a measurement takes ten times as long as a construction.
    """
    whole = tuple(each for each in recipe.values if not isinstance(each[1], float))
    weights = tuple((name, tuple(value.shape)) for name, value in module.state_dict().items())
    parts = tuple(part.extra_repr() for part in module.modules() if not isinstance(part, _DropoutNd))
    key = (recipe.build_module, recipe.shape, whole, weights, parts)
    if key not in _MEASURED_PROFILES:
        if len(_MEASURED_PROFILES) >= _MAX_KNOWN:
            _MEASURED_PROFILES.clear()
        _MEASURED_PROFILES[key] = _measured(recipe, module)
    return _MEASURED_PROFILES[key]


def _measured(recipe: Recipe, module: nn.Module) -> Profile:
    module.train()
    x = torch.zeros(_MEASURED, recipe.shape.lookback, recipe.shape.input_dim)
    inside, layers, saved = Profile(), 0, _SavedElements(module, x)

    def count_layer(*_: Any) -> None:
        nonlocal layers
        layers += 1

    def recurrent(part: nn.RNNBase) -> Callable[..., Any]:
        def forward(sequence: Tensor, state: Any = None) -> Any:
            nonlocal inside
            inside += _recurrent_cost(part, sequence)
            return _recurrent_output(part, sequence)

        return forward

    for part in module.modules():
        if isinstance(part, nn.RNNBase):
            part.forward = recurrent(part)  # its fused kernels are not counted by torch
        elif next(part.children(), None) is None and not isinstance(part, nn.Identity):
            part.register_forward_hook(count_layer)
    try:
        with FlopCounterMode(display=False) as counter, saved_tensors_hooks(saved.pack, saved.unpack):
            module(x)
    except Exception as error:
        text = f"the module raises {typed_line(error)} for windows {tuple(x.shape)}"
        raise recipe.error(text, "module-raises") from error
    inner = sum(weight.numel() for weight in module.parameters())
    return inside + Profile(
        parameters=inner,
        multiply_adds=counter.get_total_flops() // (2 * _MEASURED),
        sequence_elements=saved.total // _MEASURED,
        buffers=sum(value.numel() for value in module.state_dict().values()) - inner,
        layers=layers,
    )


class _SavedElements:
    """Number of elements that a forward pass saves for the backward pass, without inputs and weights; each is counted once."""

    def __init__(self, module: nn.Module, x: Tensor) -> None:
        self._storages = {_storage(each): each for each in (x, *module.parameters(), *module.buffers())}
        self.total = 0

    def pack(self, tensor: Tensor) -> Tensor:
        if _storage(tensor) not in self._storages:
            self._storages[_storage(tensor)] = tensor  # kept, so that no later tensor gets the same storage
            self.total += tensor.untyped_storage().nbytes() // tensor.element_size()
        return tensor

    def unpack(self, tensor: Tensor) -> Tensor:
        return tensor


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _recurrent_cost(part: nn.RNNBase, sequence: Tensor) -> Profile:
    """Return the cost of a recurrent layer of torch for one window, without its weights, which are counted with all others."""
    steps = sequence.shape[1 if part.batch_first and sequence.ndim == 3 else 0]
    total, directions = Profile(), 2 if part.bidirectional else 1
    matrices = {"LSTM": 4, "GRU": 3}.get(part.mode, 1)
    for layer in range(part.num_layers):
        inputs = part.input_size if layer == 0 else part.hidden_size * directions
        work = directions * matrices * part.hidden_size * (inputs + part.hidden_size) * steps
        total += Profile(
            multiply_adds=work,
            recurrent_multiply_adds=work,
            recurrent_reads=directions * matrices * part.hidden_size**2 * steps,
            recurrent_states=directions * part.hidden_size * steps,
            layers=directions,
            gru_steps=directions * steps if isinstance(part, nn.GRU) else 0,
        )
    return total


def _recurrent_output(part: nn.RNNBase, sequence: Tensor) -> Any:
    """Return zeros in the form of a recurrent layer's output, which depend on the layer's inputs."""
    directions = 2 if part.bidirectional else 1
    width = (part.proj_size or part.hidden_size) * directions
    batch = sequence.shape[:-2] if sequence.ndim == 2 else (sequence.shape[0 if part.batch_first else 1],)
    state = sequence.new_zeros(directions * part.num_layers, *batch, part.proj_size or part.hidden_size)
    output = sequence[..., :1].expand(*sequence.shape[:-1], width)
    cell = sequence.new_zeros(directions * part.num_layers, *batch, part.hidden_size)
    return output, ((state, cell) if isinstance(part, nn.LSTM) else state)


def check_network(recipe: Recipe) -> None:
    """Check a network of a user's family: outputs, gradients, independence of windows, and the described size.

    Raises:
        ConfigError: the network violates a rule.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        module = _torch_module(recipe)
        x = torch.randn(_CHECKED, recipe.shape.lookback, recipe.shape.input_dim)
        try:
            found = module.train()(x)
        except Exception as error:
            text = f"the module raises {typed_line(error)} for windows {tuple(x.shape)}"
            raise recipe.error(text, "module-raises") from error
        fault = _head_fault(found, recipe.shape) or _gradient_fault(found, module) or _evaluation_fault(module, x)
    if fault is not None:
        raise recipe.error(*fault)
    described = recipe.described()
    built = sum(value.numel() for value in module.state_dict().values())
    if described is not None and abs(described.parameters + described.buffers - built) > _SIZE_TOLERANCE * built:
        total = described.parameters + described.buffers
        text = f"describe gives {total:,} parameters and buffers, but the module has {built:,}"
        raise recipe.error(text, "described-size")


def _head_fault(found: Any, shape: NetworkShape) -> Fault:
    """Return what is wrong with the output of a module for :data:`_CHECKED` windows; None: nothing."""
    logits, value = (found if len(found) == 2 else (found, None)) if isinstance(found, tuple) else (found, None)
    wanted = (_CHECKED, shape.n_classes)
    if not isinstance(logits, Tensor) or tuple(logits.shape) != wanted or not logits.is_floating_point():
        text = (
            f"the module must return logits {wanted} (windows, classes) or a tuple that begins with them, but returns"
        )
        return f"{text} {_form(logits)}", "logits-shape"
    if not shape.has_regression and value is not None:
        text = "the data have no regression target, so the value must be None (see shape.has_regression), but is"
        return f"{text} {_form(value)}", "value-without-target"
    fits = (
        isinstance(value, Tensor) and tuple(value.shape) in ((_CHECKED,), (_CHECKED, 1)) and value.is_floating_point()
    )
    if shape.has_regression and not fits:
        text = f"the module must return (logits, value) with a value for each window, ({_CHECKED},), but the value is"
        return f"{text} {_form(value)}", "value-shape"
    return None


def _gradient_fault(found: Any, module: nn.Module) -> Fault:
    parts = [each for each in (found if isinstance(found, tuple) else (found,)) if isinstance(each, Tensor)]
    if not all(each.requires_grad for each in parts):
        return "the outputs do not depend on the module's parameters, so nothing can be trained", "no-gradient"
    if not all(bool(torch.isfinite(each).all()) for each in parts):
        return "the module returns numbers that are not finite for normally distributed inputs", "not-finite"
    torch.stack([each.sum() for each in parts]).sum().backward()
    unused = [name for name, weight in module.named_parameters() if weight.requires_grad and weight.grad is None]
    if unused:
        return (
            f"the outputs do not depend on the parameters {shown_names(unused)}; use or remove them",
            "unused-parameter",
        )
    return None


def _evaluation_fault(module: nn.Module, x: Tensor) -> Fault:
    module.eval()
    with torch.no_grad():
        together, alone = (_output(module(each)).logits for each in (x, x[:1]))
    if float((together[:1] - alone).abs().max()) > _TOLERANCE * (1 + float(alone.abs().max())):
        return "in evaluation mode, the output for a window depends on the other windows of its batch", "windows-mixed"
    return None


def _form(given: Any) -> str:
    """Return the shape of a tensor, or another value, as text."""
    return f"{tuple(given.shape)} {given.dtype}" if isinstance(given, Tensor) else shown(given)
