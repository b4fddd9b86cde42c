"""Files of a model's networks: the names of the weight files, and the list of them in ``model.json``."""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from cnn_lstm_hyperopt.inference.stored_form import FormError, StoredForm
from cnn_lstm_hyperopt.run_dir.paths import SEEDS
from cnn_lstm_hyperopt.utils.text import shown

WEIGHTS = "model.safetensors"
"""File of the first or only network of a model."""
NETWORKS = "networks"
"""Key in ``model.json`` with the file and the seed of each network. A model with one network has no such key."""
_MAX_NETWORKS = 1_000


def network_files(seeds: Sequence[int]) -> list[str]:
    """Return the names of the weight files of a model by its seeds. The first seed is that of ``model.safetensors``."""
    return [WEIGHTS, *(f"{SEEDS}/{seed}.safetensors" for seed in seeds[1:])]


class StoredNetwork(StoredForm):
    """Entry of ``networks`` in ``model.json``."""

    file: str
    seed: int = Field(ge=0, le=1_000_000_000)


def stored_seeds(raw: Any) -> list[int]:
    """Return the seeds of the networks from the content of ``model.json``, and remove their key from the content.

    The list is empty if the model has one network.

    Raises:
        FormError: the entries are invalid. The text has a line for each error.
    """
    if not isinstance(raw, dict) or NETWORKS not in raw:
        return []
    entries = raw.pop(NETWORKS)
    if not isinstance(entries, list) or not 2 <= len(entries) <= _MAX_NETWORKS:
        text = f"{NETWORKS} must list 2 to {_MAX_NETWORKS} networks, but got {shown(entries)}"
        raise FormError(text, NETWORKS, "network-count")
    networks = [StoredNetwork.read(each, f"{NETWORKS}.{number}: ") for number, each in enumerate(entries)]
    seeds = [each.seed for each in networks]
    if len(set(seeds)) < len(seeds):
        raise FormError(f"{NETWORKS} must have different seeds, but got {shown(seeds)}", NETWORKS, "seed-repeated")
    files, expected = [each.file for each in networks], network_files(seeds)
    if files != expected:  # no other file is ever read
        text = f"{NETWORKS} must have the files {', '.join(expected)}, but got {shown(files)}"
        raise FormError(text, NETWORKS, "network-files")
    return seeds
