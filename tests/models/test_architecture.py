"""The architecture ``full``: its layers against PyTorch and formulas, the contract of all blocks, and odd shapes."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from builders.trainings import CPU
from cnn_lstm_hyperopt.cli.options import RunOptions
from cnn_lstm_hyperopt.config import PARAMETERS, Choices, Fixed, load_settings, parse_space
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.models import network_config
from cnn_lstm_hyperopt.models.build import build_network, new_network
from cnn_lstm_hyperopt.models.cnn_lstm.blocks import BLOCKS
from cnn_lstm_hyperopt.models.layers.norms import NORMS, BatchNorm, groups_of
from cnn_lstm_hyperopt.models.layers.pooling import downsample
from cnn_lstm_hyperopt.models.layers.squeeze_excite import SqueezeExcite
from cnn_lstm_hyperopt.search import levels_of, random_configuration

FULL, SHAPE = (
    parse_space({"architecture": "full", "inputs": {"standardise": False}})[0],
    {"input_dim": 11, "n_classes": 2, "has_regression": True},
)
CHOICES = [
    (name, value)
    for name, spec in PARAMETERS.items()
    if spec.full is not None and isinstance(spec.full, Choices)
    for value in spec.full.values
]
STACKED = {"cnn.block": "fcn", "cnn.blocks": 2, "cnn.num_filters": 16}


def test_the_architecture_selects_default_domains_that_values_in_yaml_replace():
    classic, full = (load_settings(None, {"search_space": {"architecture": name}}) for name in ("classic", "full"))
    assert classic == load_settings()
    new = {name for name, spec in PARAMETERS.items() if spec.full is not None and spec.earlier is not None}
    assert not new & set(classic.search_space.searched())
    assert new <= set(full.search_space.searched())
    for name, spec in PARAMETERS.items():
        assert full.search_space.domains[name] == (spec.full or spec.default), name
    space, errors = parse_space({"architecture": "full", "cnn": {"blocks": 2}})
    assert (space.domains["cnn.blocks"], space.domains["cnn.norm"], errors) == (Fixed(2), FULL.domains["cnn.norm"], [])
    assert parse_space(space.as_dict()) == (space, [])
    assert RunOptions(architecture="full").overrides() == {"search_space": {"architecture": "full"}}
    with pytest.raises(ConfigError) as caught:
        load_settings(None, {"search_space": {"architecture": "ful"}})
    assert (caught.value.code, caught.value.field) == ("unknown-architecture", "search_space.architecture")


@pytest.mark.parametrize(("name", "value"), CHOICES)
def test_every_choice_gives_finite_gradients_in_all_weights(make_config, batch, name, value):
    config = make_config({**(STACKED if name != "cnn.block" else {}), name: value}, space=FULL)
    network = build_network(config, seed=1, device=CPU).train()
    output = network(batch)
    (output.logits.square().sum() + output.value.square().sum()).backward()
    assert all(weight.grad is not None and bool(weight.grad.isfinite().all()) for weight in network.parameters())
    assert config.describe()


@pytest.mark.parametrize(("lookback", "features"), [(1, 1), (2, 3), (3, 1), (5, 150), (8, 2), (427, 1)])
def test_any_shape_fits_and_the_cost_counts_all_weights_and_buffers(random_config, lookback, features):
    for number in range(6):
        config = random_config(number, space=FULL, input_dim=features, lookback=lookback)
        network = build_network(config, seed=number, device=CPU).train()
        output = network(torch.randn(2, lookback, features))
        output.logits.sum().backward()
        assert bool(output.logits.isfinite().all())
        cost = config.cost(lookback=lookback)
        assert cost.parameters == sum(weight.numel() for weight in network.parameters())
        assert cost.size_mb == sum(each.numel() for each in network.state_dict().values()) * 4 / 1e6
        network.eval()
        windows = torch.randn(3, lookback, features)
        with torch.no_grad():
            alone = torch.cat([network(window[None]).logits for window in windows])
            torch.testing.assert_close(network(windows).logits, alone, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_the_cost_of_300_configurations_counts_all_weights_and_buffers(random_config):
    for number in range(300):
        config = random_config(number, space=FULL)
        with torch.device("meta"):
            network = new_network(config)
        cost = config.cost(lookback=12)
        assert cost.parameters == sum(weight.numel() for weight in network.parameters())
        assert cost.buffers == sum(each.numel() for each in network.buffers())


def test_multiply_adds_of_blocks_equal_pytorchs_count():
    for name, inputs, size in ((name, inputs, size) for name in BLOCKS for inputs in (2, 40) for size in (3, 17)):
        block = BLOCKS[name](8, (3, size), 1, 2)
        with FlopCounterMode(display=False) as counter:
            out = block.layers(inputs)(torch.zeros(1, inputs, 30))
        cost = block.cost(inputs, 30)
        assert out.shape == (1, block.width, 30)
        assert cost.multiply_adds == counter.get_total_flops() // 2
        assert cost.parameters == sum(weight.numel() for weight in block.layers(inputs).parameters())


def test_an_fcn_has_smaller_filters_in_later_blocks_and_its_dilation_grows(make_config):
    chosen = {**STACKED, "cnn.blocks": 4, "cnn.filter_sizes": "3-5-7", "cnn.dilation_growth": 2}
    blocks = new_network(make_config(chosen, space=FULL)).cnn.blocks
    assert [block.convolve.kernel_size[0] for block in blocks] == [7, 5, 3, 3]
    assert [block.convolve.dilation[0] for block in blocks] == [1, 2, 4, 8]


def test_batch_norm_equals_pytorchs_and_its_statistics_are_the_mean_of_the_first_batches():
    mine, torchs = BatchNorm(5), nn.BatchNorm1d(5, momentum=None)
    for _ in range(4):
        x = 3 + 2 * torch.randn(6, 5, 7)
        torch.testing.assert_close(mine(x), torchs(x))
    torch.testing.assert_close(mine.mean, torchs.running_mean)
    torch.testing.assert_close(mine.variance, torchs.running_var)
    torch.testing.assert_close(mine.eval()(x), torchs.eval()(x))
    single = torch.randn(1, 5, 1)
    torch.testing.assert_close(mine.train()(single), mine.eval()(single))


@pytest.mark.parametrize("width", [1, 8, 24, 28, 50, 128])
def test_norms_keep_shape_and_scale_and_groups_divide_the_width(width):
    assert width % groups_of(width) == 0
    if width > 1:
        for norm in NORMS.values():
            out = norm(width).train()(5 + torch.randn(4, width, 9)).detach()
            assert out.shape == (4, width, 9)
            assert float(out.mean()) == pytest.approx(0, abs=0.05)
            assert float(out.std()) == pytest.approx(1, abs=0.05)


def test_squeeze_excite_and_downsampling_equal_their_formulas():
    layer, x = SqueezeExcite(8), torch.randn(2, 8, 5)
    hidden = functional.relu(functional.linear(x.mean(2), layer.squeeze.weight, layer.squeeze.bias))
    factors = torch.sigmoid(functional.linear(hidden, layer.excite.weight, layer.excite.bias))
    torch.testing.assert_close(layer(x), torch.einsum("bct,bc->bct", x, factors))
    for kind, pooled in (("max", functional.max_pool1d), ("mean", functional.avg_pool1d)):
        torch.testing.assert_close(downsample(x[..., :4], kind), pooled(x[..., :4], 2))
        torch.testing.assert_close(downsample(x, kind)[..., 1:], pooled(x[..., 1:], 2))
        torch.testing.assert_close(downsample(x[..., :1], kind), x[..., :1])


@pytest.mark.parametrize("topology", ["window", "cnn", "transposed"])
def test_the_recurrent_branch_reads_the_chosen_sequence(make_config, batch, topology):
    chosen = {**STACKED, "lstm.input": topology, "cnn.downsampling": "max"}
    config = make_config(chosen, space=FULL)
    seen, network = [], build_network(config, seed=1, device=CPU).eval()
    network.lstm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(batch)
    expected = {"window": batch, "cnn": network.cnn(batch).sequence, "transposed": batch.transpose(1, 2)}[topology]
    torch.testing.assert_close(seen[0], expected)
    if topology == "transposed":
        with pytest.raises(ConfigError) as caught:
            make_config(chosen, space=FULL, lookback=None)
        assert (caught.value.code, caught.value.field) == ("lookback-needed", "lookback")


@pytest.mark.parametrize("norm", NORMS)
def test_gradient_checkpointing_changes_neither_gradients_nor_statistics(make_config, batch, norm):
    config = make_config({**STACKED, "cnn.norm": norm, "cnn.squeeze_excite": True}, space=FULL)
    states = []
    for recompute in (False, True):
        network = build_network(config, seed=1, device=CPU).train()
        network.recompute_in_backward(recompute)
        torch.manual_seed(0)
        network(batch).logits.square().sum().backward()
        states.append([*network.buffers(), *(weight.grad for weight in network.cnn.parameters())])
    for plain, recomputed in zip(*states, strict=True):
        torch.testing.assert_close(recomputed, plain, rtol=0, atol=0)


def test_batch_norm_saves_memory_without_dividing_batches_and_other_norms_ignore_other_windows(make_config, batch):
    kernels = {"training.batch_size": 16, "cnn.norm": "layer", "highway.kernel_groups": 4}
    assert {level.micro_batches for level in levels_of(kernels)} == {1}
    for norm in NORMS:
        params = {"training.batch_size": 16, "cnn.block": "fcn", "cnn.norm": norm}
        parts = {level.micro_batches for level in levels_of(params)}
        assert (parts == {1}) is (norm == "batch")
        assert levels_of(params)[-1].gradient_checkpointing
        network = build_network(make_config({**STACKED, "cnn.norm": norm}, space=FULL), seed=1, device=CPU).train()
        inputs = batch.clone().requires_grad_()
        network(inputs).logits[1].sum().backward()
        assert (float(inputs.grad[[0, 2, 3]].abs().sum()) > 0) is (norm == "batch")


def test_a_configuration_of_an_earlier_version_gives_the_classic_network(make_config, batch):
    params = random_configuration(parse_space(None)[0], 0, 0)
    new = {name for name, spec in PARAMETERS.items() if spec.full is not None and spec.earlier is not None}
    earlier = network_config({name: value for name, value in params.items() if name not in new}, **SHAPE)
    assert earlier == network_config(params, **SHAPE)
    names = set(new_network(earlier).state_dict())
    assert {name.split(".")[1] for name in names if name.startswith("cnn.")} <= {
        "convs",
        "norm",
        "shortcut",
        "attention",
    }
