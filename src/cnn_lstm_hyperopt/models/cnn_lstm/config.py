"""What a network is made of, read from a trial's parameters."""

from dataclasses import dataclass

from cnn_lstm_hyperopt.config import Configuration, Params


@dataclass(frozen=True)
class CnnConfig:
    """The convolutional branch; ``attention_heads`` None: no self-attention."""

    num_filters: int
    filter_sizes: tuple[int, ...]
    dropout: float
    activation: str
    residual: bool
    attention_heads: int | None

    @property
    def width(self) -> int:
        """Channels of the branch's sequence."""
        return self.num_filters * len(self.filter_sizes)


@dataclass(frozen=True)
class LstmConfig:
    """The recurrent branch; ``attention_heads`` None: the last state instead of attention pooling."""

    hidden_dim: int
    num_layers: int
    dropout: float
    bidirectional: bool
    attention_heads: int | None
    skip_connections: bool

    @property
    def directions(self) -> int:
        """1, or 2 when bidirectional."""
        return 2 if self.bidirectional else 1

    @property
    def width(self) -> int:
        """Features of the branch's sequence."""
        return self.hidden_dim * self.directions


@dataclass(frozen=True)
class FusionConfig:
    """How the branches are joined; ``attention_heads`` is set for the method ``attention`` only."""

    method: str
    dim: int
    dropout: float
    attention_heads: int | None


@dataclass(frozen=True)
class NetworkConfig:
    """A whole network.

    Attributes:
        input_dim: features a bar.
        n_classes: classes of the classification head, ≥ 2.
        has_regression: whether there is a regression head.
    """

    input_dim: int
    n_classes: int
    has_regression: bool
    cnn: CnnConfig
    lstm: LstmConfig
    fusion: FusionConfig

    @classmethod
    def from_params(cls, params: Params, *, input_dim: int, n_classes: int, has_regression: bool) -> "NetworkConfig":
        """The network that a trial's (active) parameters describe."""
        read = Configuration(params)
        return cls(
            input_dim=input_dim,
            n_classes=n_classes,
            has_regression=has_regression,
            cnn=CnnConfig(
                num_filters=read.whole_number("cnn.num_filters"),
                filter_sizes=read.filter_sizes("cnn.filter_sizes"),
                dropout=read.number("cnn.dropout"),
                activation=read.text("cnn.activation"),
                residual=read.flag("cnn.residual"),
                attention_heads=read.heads("cnn.attention_heads"),
            ),
            lstm=LstmConfig(
                hidden_dim=read.whole_number("lstm.hidden_dim"),
                num_layers=read.whole_number("lstm.num_layers"),
                dropout=read.number("lstm.dropout"),
                bidirectional=read.flag("lstm.bidirectional"),
                attention_heads=read.heads("lstm.attention_heads"),
                skip_connections=read.flag("lstm.skip_connections"),
            ),
            fusion=FusionConfig(
                method=read.text("fusion.method"),
                dim=read.whole_number("fusion.dim"),
                dropout=read.number("fusion.dropout"),
                attention_heads=read.heads("fusion.attention_heads"),
            ),
        )
