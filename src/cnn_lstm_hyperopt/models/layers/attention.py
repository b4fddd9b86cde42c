"""Attention over time: scaled dot products (Vaswani et al. 2017) and attention pooling (Lin et al. 2017).

Keys have no bias, because a bias shifts all scores of a query equally and softmax ignores such a shift.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class MultiHeadAttention(nn.Module):
    """Attention of one sequence's queries to another sequence's steps; ``heads`` must divide ``width``."""

    def __init__(self, query_dim: int, source_dim: int, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(query_dim, width)
        self.key = nn.Linear(source_dim, width, bias=False)
        self.value = nn.Linear(source_dim, width)

    def forward(self, query: Tensor, source: Tensor) -> Tensor:
        """Map queries ``(batch, queries, query_dim)`` and source ``(batch, time, source_dim)`` to ``(batch, queries, width)``."""
        q, k, v = (self._split(t) for t in (self.query(query), self.key(source), self.value(source)))
        attended = functional.scaled_dot_product_attention(q, k, v)  # (batch, heads, queries, width / heads)
        joined: Tensor = attended.transpose(1, 2).flatten(2)
        return joined

    def _split(self, x: Tensor) -> Tensor:
        split: Tensor = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (batch, heads, steps, width / heads)
        return split


class SelfAttention(nn.Module):
    """Residual self-attention with normalisation of the input: ``x + W · attention(norm(x))``."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = MultiHeadAttention(width, width, width, heads=heads)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map a sequence ``(batch, time, width)`` to a sequence of the same shape."""
        normed = self.norm(x)
        out: Tensor = x + self.output(self.attention(normed, normed))
        return out


class AttentionPooling(nn.Module):
    """Weighted mean of a sequence over time. Features are divided equally among the heads; each head learns its own weights."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.score = nn.Linear(width, heads, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map a sequence ``(batch, time, width)`` to a vector ``(batch, width)``."""
        weights = torch.softmax(self.score(x), dim=1)  # (batch, time, heads)
        shares = x.unflatten(-1, (self.heads, -1))  # (batch, time, heads, width / heads)
        pooled: Tensor = (weights.unsqueeze(-1) * shares).sum(dim=1).flatten(1)
        return pooled
