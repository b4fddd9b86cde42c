"""The section ``features``: selection of inputs."""

from pydantic import Field

from cnn_lstm_hyperopt.config.schema.base import Section


class FeatureSettings(Section):
    """Selection of inputs."""

    select: bool = Field(
        False,
        description="select inputs: flags of groups of inputs become parameters of the search, and retrained models use only the "
        "groups that beat permuted copies of the inputs on validation",
    )
