"""All fusions of the CNN+LSTM family. Each fusion has a file in this folder."""

from collections.abc import Mapping
from dataclasses import replace

from cnn_lstm_hyperopt.models.cnn_lstm.fusions.base import Fusion
from cnn_lstm_hyperopt.space.domains import Choices, FloatRange
from cnn_lstm_hyperopt.space.parameters import ParameterSpec
from cnn_lstm_hyperopt.utils.registry import members

FUSIONS: Mapping[str, type[Fusion]] = members(__name__, Fusion)
"""Fusions by name, in the order of the search space."""

FUSION_PARAMETERS: dict[str, ParameterSpec] = {
    "fusion.method": ParameterSpec("choice", Choices(tuple(FUSIONS)), options=tuple(FUSIONS)),
    "fusion.dim": ParameterSpec(
        "choice", Choices((128, 256, 512, 1024)), low=1, high=8192, full=Choices((16, 32, 64, 128, 256))
    ),
    "fusion.dropout": ParameterSpec("float", FloatRange(0.1, 0.4), low=0.0, high=0.95, full=FloatRange(0.0, 0.4)),
    **{
        f"fusion.{key}": replace(spec, when={"fusion.method": (name,), **spec.when})
        for name, member in FUSIONS.items()
        for key, spec in member.parameters.items()
    },
}
