"""SASRec (Kang and McAuley, ICDM 2018) in PyTorch, in the form of the usual public code.

As there: queries alone are normalised before attention, and the residual adds
to the normalised input; learned absolute positions; embeddings times sqrt(d);
filled positions set to 0 after each block but not masked as keys; the item
embedding is the output matrix too. Point-wise feed-forward layers are `Linear`
rather than convolutions of width 1: the same function without transposing.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch import nn


class Block(nn.Module):
    """Causal self-attention, then a point-wise feed-forward network."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim, eps=1e-8)
        self.attention = nn.MultiheadAttention(dim, heads, dropout, batch_first=True)
        self.forward_norm = nn.LayerNorm(dim, eps=1e-8)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, dim),
            nn.Dropout(dropout),
            nn.ReLU(),
            nn.Linear(dim, dim),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor, future: Tensor) -> Tensor:
        """Maps [B, L, D] to [B, L, D]; `future` [L, L] bool is what no position may see."""
        query = self.attention_norm(x)
        found, _ = self.attention(query, x, x, attn_mask=future, is_causal=True, need_weights=False)
        x = self.forward_norm(query + found)
        return x + self.feed_forward(x)


class SASRec(nn.Module):
    """A transformer over a user's last events that scores every item as the next.

    Args:
        item_count: Number of items; they are numbered from 1.
        length: Events of a window.
        dim: Size of embeddings.
        blocks: Number of attention blocks.
        heads: Attention heads of a block.
        dropout: Rate everywhere.
    """

    def __init__(
        self, item_count: int, length: int, dim: int, blocks: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.scale = dim**0.5
        self.items = nn.Embedding(item_count + 1, dim, padding_idx=0)
        self.positions = nn.Embedding(length, dim)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(dim, heads, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(dim, eps=1e-8)
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        self.register_buffer("future", future, persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(self.items.weight[0].detach())

    def forward(self, items: Tensor) -> Tensor:
        """Maps [B, L] int64 items, 0 for none, to [B, L, D] states after each of them."""
        there = (items > 0).unsqueeze(-1)  # [B, L, 1]
        x = self.items(items) * self.scale + self.positions.weight
        x = self.dropout(x) * there
        for block in self.blocks:
            x = block(x, self.future) * there
        return self.norm(x)

    def logits(self, states: Tensor) -> Tensor:
        """Maps [..., D] states to [..., items] scores of items 1, 2, ..."""
        return states @ self.items.weight[1:].T
