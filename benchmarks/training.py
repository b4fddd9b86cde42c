"""How fast this package trains, beside plain PyTorch, Lightning and skorch, on one thread of this machine.

Prints in Markdown: the machine and its rate of matrix products; samples a second of every method, model and batch size, and the
ratio to plain PyTorch; the same in float32 with the allocator set for plain PyTorch, too, which shows the loop alone; and the
validation loss of plain PyTorch and of this package in float32 and bfloat16. Run it on a quiet machine, in about six minutes:

    pip install -c constraints.txt -e '.[benchmark]'
    python benchmarks/training.py

All methods train the same network from the same weights on the same windows with the same losses, clipping and Adam; the peers
with PyTorch's own dropout, ours with the package's, which draws its masks in another way. Each is a
process of its own; all live at once and wait, and are told in turn to train for a slice of steps, so that noise hits all alike.
Data loading is timed; start-up, warm-up and validation are not.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # before torch is imported, here and in each child

import argparse
import contextlib
import importlib.util
import json
import logging
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Sampler, TensorDataset

from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.models import NetworkConfig
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.models.cnn_lstm.config import CnnLstmConfig
from cnn_lstm_hyperopt.models.cnn_lstm.fusions import FUSIONS
from cnn_lstm_hyperopt.models.cnn_lstm.params import CnnConfig, LstmConfig
from cnn_lstm_hyperopt.models.network import Network, Output
from cnn_lstm_hyperopt.training import TrainingConfig, ValueScale, evaluate
from cnn_lstm_hyperopt.training.augmentation import AugmentationConfig
from cnn_lstm_hyperopt.training.runtime.allocator import keep_freed_pages
from cnn_lstm_hyperopt.training.runtime.precision import Precision, supported_precisions
from cnn_lstm_hyperopt.training.train_step import Stepper
from machine import machine_line

FEATURES, LOOKBACK, WINDOWS = 11, 60, 16_000
LEARNING_RATE, CLIP, DROPOUT = 1e-3, 1.0, 0.1
LOSS_WINDOWS = 4_000
WARM_UP = 3
SLICE_SECONDS, SETTING_SECONDS = 0.5, 40.0
FEWEST_ROUNDS = 3
FOREVER = 1_000_000
"""Epochs of a training that is ended from outside."""
CPU = torch.device("cpu")

AfterStep = Callable[[], None]


@dataclass(frozen=True)
class Model:
    """What differs between the three networks."""

    filters: int
    hidden: int
    layers: int
    bidirectional: bool = False

    def network_config(self) -> NetworkConfig:
        """Filters of three sizes beside an LSTM, joined by concatenation; no attention, shortcuts or skips."""
        return CnnLstmConfig(
            input_dim=FEATURES,
            n_classes=2,
            has_regression=True,
            cnn=CnnConfig(self.filters, (3, 5, 7), DROPOUT, "relu", residual=False, attention_heads=None),
            lstm=LstmConfig(
                self.hidden, self.layers, DROPOUT, self.bidirectional, attention_heads=None, skip_connections=False
            ),
            fusion=FUSIONS["concatenation"]("concatenation", 128, DROPOUT),
        )


MODELS = {"small": Model(32, 64, 1), "medium": Model(64, 128, 2), "large": Model(128, 512, 2, bidirectional=True)}


@dataclass(frozen=True)
class Task:
    """What every method gets: windows, initial weights, and an order of the windows that depends on the seed alone."""

    model: str
    batch_size: int
    windows: Windows
    seed: int

    def network(self) -> Network:
        """The network as ours trains it, with the initial weights that all methods share; seeds dropout, too."""
        torch.manual_seed(self.seed)
        return build_network(MODELS[self.model].network_config(), seed=self.seed, device=CPU)

    def plain_network(self) -> Network:
        """The same with PyTorch's own dropout, as its users have it."""
        network = self.network()
        for parent in list(network.modules()):
            for name, layer in parent.named_children():
                if isinstance(layer, nn.Dropout):
                    setattr(parent, name, nn.Dropout(layer.p))
        return network

    def generator(self) -> torch.Generator:
        """Draws the order of the windows."""
        return torch.Generator().manual_seed(self.seed)

    @cached_property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs ``(windows, lookback, features)``, labels and values ``(windows,)``."""
        values = self.windows.values
        assert values is not None
        return self.windows.gather(torch.arange(len(self.windows))), self.windows.labels, values

    def loader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Batches as ``shuffle=True`` makes them, but in the same order as this package's loop takes them."""
        data, sampler = TensorDataset(*self.tensors), Shuffled(len(self.windows), self.generator())
        return DataLoader(data, batch_size=self.batch_size, sampler=sampler, generator=torch.Generator())


class Shuffled(Sampler[int]):
    """A new order every epoch; ``RandomSampler`` draws two permutations an epoch and uses one."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self.count, self.generator = count, generator

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        yield from torch.randperm(self.count, generator=self.generator).tolist()


def make_windows(count: int, *, seed: int) -> Windows:
    """Windows of noise whose label and value depend on the mean of the last ten bars' first feature, and on noise."""
    generator = torch.Generator().manual_seed(seed)
    series = torch.randn(count + LOOKBACK - 1, FEATURES, generator=generator)
    starts = torch.arange(count)
    recent = series[:, 0].unfold(0, 10, 1).mean(dim=1)[starts + LOOKBACK - 10]  # of the last ten bars of each window
    values = (10**0.5 * recent + 0.5 * torch.randn(count, generator=generator)) / 1.25**0.5  # mean 0, variance 1
    return Windows(
        series=series,
        starts=starts,
        lookback=LOOKBACK,
        labels=(values > 0).long(),
        values=values,
        dates=np.arange(count),
        symbols=np.full(count, "noise"),
    )


def both_losses(output: Output, labels: Tensor, values: Tensor) -> Tensor:
    """Half the cross-entropy and half the squared error."""
    assert output.value is not None
    return 0.5 * functional.cross_entropy(output.logits, labels) + 0.5 * functional.mse_loss(output.value, values)


def train_plain(task: Task, epochs: int, after_step: AfterStep) -> Network:
    """The ordinary loop."""
    network, loader = task.plain_network(), task.loader()
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    network.train()
    for _ in range(epochs):
        total = 0.0
        for x, labels, values in loader:
            loss = both_losses(network(x), labels, values)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()
            total += loss.item()
            after_step()
    return network


def train_lightning(task: Task, epochs: int, after_step: AfterStep) -> Network:
    """The same in Lightning, with all that it reports and saves switched off."""
    import lightning

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")  # advises workers for the DataLoader, which are slower here

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = task.plain_network()

        def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
            x, labels, values = batch
            return both_losses(self.network(x), labels, values)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=LEARNING_RATE)

    class AfterBatch(lightning.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            after_step()

    module = Module()
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=epochs,
        gradient_clip_val=CLIP,
        callbacks=[AfterBatch()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, task.loader())
    return module.network


def train_skorch(task: Task, epochs: int, after_step: AfterStep) -> Network:
    """The same in skorch; both targets are columns of one array, as it takes one."""
    import skorch
    from skorch.callbacks import Callback, GradientNormClipping

    class BothLosses(nn.Module):
        def forward(self, output: Output, targets: Tensor) -> Tensor:
            return both_losses(output, targets[:, 0].long(), targets[:, 1])

    class AfterBatch(Callback):  # type: ignore[misc]
        def on_batch_end(self, net: Any, **_: Any) -> None:
            after_step()

    network = task.plain_network()
    x, labels, values = task.tensors
    net = skorch.NeuralNet(
        network,
        criterion=BothLosses,
        optimizer=torch.optim.Adam,
        lr=LEARNING_RATE,
        batch_size=task.batch_size,
        max_epochs=epochs,
        iterator_train__shuffle=True,
        iterator_train__generator=task.generator(),
        train_split=None,
        callbacks=[GradientNormClipping(CLIP), AfterBatch()],
        verbose=0,
    )
    net.fit(x, torch.stack([labels.float(), values], dim=1))
    return network


def train_ours(task: Task, epochs: int, after_step: AfterStep, *, precision: Precision) -> Network:
    """The steps of ``cnn_lstm_hyperopt.training.train``."""
    network, windows, generator = task.network(), task.windows, task.generator()
    config = training_config(task.batch_size, precision)
    stepper = Stepper(network, windows, config, scale=ValueScale(0.0, 1.0), generator=generator)
    network.train()
    for _ in range(epochs):
        total = torch.zeros(2)
        for index in torch.randperm(len(windows), generator=generator).split(task.batch_size):
            total += stepper.step(index)
            after_step()
    return network


def training_config(batch_size: int, precision: Precision) -> TrainingConfig:
    """What all methods do, in this package's words."""
    return TrainingConfig(
        learning_rate=LEARNING_RATE,
        batch_size=batch_size,
        weight_decay=0.0,
        optimizer="adam",
        scheduler="none",
        gradient_clip=CLIP,
        label_smoothing=0.0,
        l1=0.0,
        l2=0.0,
        dropout_schedule="constant",
        balancing="fixed",
        classification_weight=0.5,
        augmentation=AugmentationConfig(0.0, 0.0, 0.0, 0.0),
        max_epochs=1,
        min_patience=1,
        patience_factor=0.0,
        precision=precision,
    )


@dataclass(frozen=True)
class Method:
    """A way to train; ``keeps_pages``: with this package's setting of the allocator instead of glibc's default."""

    title: str
    train: Callable[[Task, int, AfterStep], Network]
    precision: Precision = "float32"
    keeps_pages: bool = False


METHODS = {
    "plain": Method("plain PyTorch", train_plain),
    "lightning": Method("Lightning", train_lightning),
    "skorch": Method("skorch", train_skorch),
    "ours": Method("ours, float32", partial(train_ours, precision="float32"), keeps_pages=True),
    "ours16": Method("ours, bfloat16", partial(train_ours, precision="bfloat16"), "bfloat16", keeps_pages=True),
    "kept": Method("plain PyTorch, allocator set", train_plain, keeps_pages=True),
}


# --- children -----------------------------------------------------------------------------------------------------------------


@dataclass
class Slices:
    """Ends each slice of a training with its seconds on ``answers``, and waits for the number of steps of the next."""

    commands: IO[str]
    answers: IO[str]
    left: int = WARM_UP
    started: float = field(default_factory=time.perf_counter)

    def __call__(self) -> None:
        self.left -= 1
        if self.left:
            return
        print(time.perf_counter() - self.started, file=self.answers, flush=True)
        command = self.commands.readline()
        if not command:  # the parent has seen enough
            sys.exit()
        self.left, self.started = int(command), time.perf_counter()


def run_child(answers: IO[str], kind: str, method_name: str, *arguments: str) -> None:
    """One method in this process: slices of a training, or the losses after a few epochs, one seed after the other."""
    torch.set_num_threads(1)
    method = METHODS[method_name]
    if method.keeps_pages and not keep_freed_pages():
        print("the allocator could not be set", file=sys.stderr)
    if kind == "speed":
        model, batch_size = arguments
        task = Task(model, int(batch_size), make_windows(WINDOWS, seed=0), seed=0)
        method.train(task, FOREVER, Slices(sys.stdin, answers))
        return
    seeds, epochs, windows = (int(argument) for argument in arguments)
    training, validation = make_windows(windows, seed=0), make_windows(windows, seed=1)
    losses = []
    for seed in range(seeds):
        network = method.train(Task("small", 32, training, seed), epochs, lambda: None)
        losses.append(evaluate(network, validation, ValueScale(0.0, 1.0), method.precision).loss)
    print(json.dumps(losses), file=answers, flush=True)


def start_child(*arguments: str) -> subprocess.Popen[str]:
    """This file in a new process, whose allocator no variable of this process reaches."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("MALLOC_") and name != "GLIBC_TUNABLES"
    }
    command = [sys.executable, str(Path(__file__).resolve()), "child", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


@contextlib.contextmanager
def children(commands: dict[str, Sequence[str]]) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Processes by name, all alive; ended afterwards."""
    started = {name: start_child(*command) for name, command in commands.items()}
    try:
        yield started
    finally:
        for child in started.values():
            child.kill()
        for child in started.values():
            child.communicate()


def answer(child: subprocess.Popen[str]) -> str:
    """The child's next line."""
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise SystemExit(f"a child ended without an answer: {child.args!r}")
    return line


# --- measurements -------------------------------------------------------------------------------------------------------------


def time_slice(child: subprocess.Popen[str], steps: int) -> float:
    """Seconds that the child takes for so many steps; the others wait."""
    assert child.stdin is not None
    print(steps, file=child.stdin, flush=True)
    return float(answer(child))


def measure(model: str, batch_size: int, names: Sequence[str], repeats: int) -> dict[str, list[float]]:
    """Samples a second of each method in each round."""
    with children({name: ("speed", name, model, str(batch_size)) for name in names}) as started:
        for child in started.values():
            answer(child)  # has warmed up, beside the others
        step = time_slice(started["plain"], 1)
        steps = max(1, round(SLICE_SECONDS / step))
        rounds = min(repeats, max(FEWEST_ROUNDS, int(SETTING_SECONDS / (len(names) * steps * step))))
        rates: dict[str, list[float]] = {name: [] for name in names}
        for number in range(rounds):
            for name in names if number % 2 == 0 else reversed(names):  # what drifts does not favour those at the end
                rates[name].append(steps * batch_size / time_slice(started[name], steps))
    return rates


def measure_losses(names: Sequence[str], seeds: int, epochs: int, windows: int) -> dict[str, list[float]]:
    """Validation loss of each method after the epochs, for each seed; all methods at once, as none is timed."""
    with children({name: ("loss", name, str(seeds), str(epochs), str(windows)) for name in names}) as started:
        return {name: json.loads(answer(child)) for name, child in started.items()}


def matrix_product_rate(dtype: torch.dtype, size: int = 2048) -> float:
    """FLOP/s of a square matrix product on one thread, the best of five."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds)


# --- what is printed ----------------------------------------------------------------------------------------------------------


def machine_lines(precisions: Sequence[Precision]) -> Iterator[str]:
    """What the numbers depend on."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("lightning", "skorch"))
    yield f"{machine_line()} ({torch.backends.cpu.get_cpu_capability()}), {packages}"
    rates = [
        f"{precision} {matrix_product_rate(getattr(torch, precision)) / 1e9:.0f} GFLOP/s" for precision in precisions
    ]
    yield f"Matrix products of 2048 × 2048 on one thread: {', '.join(rates)}."


def rate_and_ratio(rates: Sequence[float], plain: Sequence[float]) -> str:
    """``median rate · median ratio (least–largest ratio)``; rates of the same round are compared."""
    ratios = [mine / theirs for mine, theirs in zip(rates, plain, strict=True)]
    return f"{_rate(rates)} · **{statistics.median(ratios):.2f}** ({min(ratios):.2f}–{max(ratios):.2f})"


def _rate(rates: Sequence[float]) -> str:
    median = statistics.median(rates)
    return f"{median:,.1f}" if median < 100 else f"{median:,.0f}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *rows])


def print_speeds(models: Sequence[str], batches: Sequence[int], names: Sequence[str], repeats: int) -> None:
    """Measures, and prints two tables."""
    compared = [name for name in names if name not in ("plain", "kept")]
    speeds, loops = [], []
    for model in models:
        for batch_size in batches:
            started = time.perf_counter()
            rates = measure(model, batch_size, names, repeats)
            setting, plain, rounds = [model, str(batch_size)], rates["plain"], str(len(rates["plain"]))
            ratios = [rate_and_ratio(rates[name], plain) for name in compared]
            speeds.append([*setting, _rate(plain), *ratios, rounds])
            kept = [rate_and_ratio(rates["kept"], plain), rate_and_ratio(rates["ours"], rates["kept"])]
            loops.append([*setting, *kept, rounds])
            print(f"{model}, batch {batch_size}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    print("\n## Samples a second · ratio to plain PyTorch\n")
    print(
        "Medians of rounds; in brackets the least and the largest ratio of a round. Peers have glibc's allocator as it is.\n"
    )
    titles = [METHODS[name].title for name in compared]
    print(table(["model", "batch", METHODS["plain"].title, *titles, "rounds"], speeds))
    print("\n## The loop alone: float32, allocator set for both\n")
    print(
        table(
            ["model", "batch", "plain PyTorch, allocator set · to plain", "ours · to plain, allocator set", "rounds"],
            loops,
        )
    )


def print_losses(names: Sequence[str], seeds: int, epochs: int, windows: int) -> None:
    """Measures, and prints a table with a row a method."""
    losses = measure_losses(names, seeds, epochs, windows)
    print(f"\n## Validation loss after {epochs} epochs\n")
    print(
        f"Small model, batch 32, {windows:,} windows to train and as many to validate; cross-entropy, ln 2 = 0.693. A seed sets\n"
        "weights, order and dropout, the same for all. bfloat16 is evaluated in bfloat16, as in a study.\n"
    )
    rows = []
    for name, mine in losses.items():
        differences = [loss - plain for loss, plain in zip(mine, losses["plain"], strict=True)]
        row = [METHODS[name].title, f"{statistics.mean(mine):.4f}", f"{statistics.stdev(mine):.4f}"]
        if name == "plain":
            row += ["–", "–"]
        else:
            row += [
                f"{statistics.mean(differences):+.4f}",
                " ".join(f"{difference:+.4f}" for difference in differences),
            ]
        rows.append(row)
    print(table(["method", "mean", "standard deviation over seeds", "mean − plain", "of each seed"], rows))


def main() -> None:
    """Reads the command line, measures, prints."""
    parser = argparse.ArgumentParser(description="Training speed beside plain PyTorch, Lightning and skorch.")
    parser.add_argument("--repeats", type=int, help="rounds of a setting at most (7)")
    parser.add_argument("--models", help=f"some of {','.join(MODELS)} (all)")
    parser.add_argument("--batches", help="batch sizes (32,128)")
    parser.add_argument("--loss", action=argparse.BooleanOptionalAction, default=True, help="compare losses, too (yes)")
    parser.add_argument("--quick", action="store_true", help="little of everything, to see that it works")
    arguments = parser.parse_args()
    models = (arguments.models or ("small" if arguments.quick else ",".join(MODELS))).split(",")
    batches = [int(size) for size in (arguments.batches or ("32" if arguments.quick else "32,128")).split(",")]
    repeats = arguments.repeats or (2 if arguments.quick else 7)
    unknown = [model for model in models if model not in MODELS]
    if unknown or repeats < 1 or min(batches) < 1:
        parser.error(f"--models takes some of {','.join(MODELS)}; --batches and --repeats take numbers from 1")
    missing = [name for name in ("lightning", "skorch") if importlib.util.find_spec(name) is None]
    if missing:
        parser.error(f"{' and '.join(missing)} not found: pip install -c constraints.txt -e '.[benchmark]'")

    torch.set_num_threads(1)
    precisions = supported_precisions(CPU)
    names = [name for name, method in METHODS.items() if method.precision in precisions]
    print("\n\n".join(machine_lines(precisions)), flush=True)
    if "bfloat16" not in precisions:
        print("\nThis CPU has no bfloat16 in hardware, so a study stays in float32 here.")
    print_speeds(models, batches, names, repeats)
    if arguments.loss:
        ours = [name for name in ("plain", "ours", "ours16") if name in names]
        seeds, epochs, windows = (2, 1, 1_000) if arguments.quick else (4, 3, LOSS_WINDOWS)
        print_losses(ours, seeds, epochs, windows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        private = os.fdopen(os.dup(1), "w")  # what libraries print must not be taken for an answer
        os.dup2(2, 1)
        run_child(private, *sys.argv[2:])
    else:
        main()
