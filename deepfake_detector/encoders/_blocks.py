"""A CLIP image tower's blocks, leaner: open_clip's numbers without the work that nobody reads, to embed with or to tune."""

from __future__ import annotations

import torch
from torch.nn.functional import linear, scaled_dot_product_attention


class LeanBlock(torch.nn.Module):
    """Stands for one of open_clip's residual attention blocks, whose weights it takes over and changes.

    In the `last` block only the class token goes on, as nothing else is read of it. QuickGELU becomes one pass instead of three:
    x·σ(1.702 x) is SiLU(1.702 x) / 1.702, and the factors move into the weights around it. Both give float32's rows to 1e-6.

    Products are computed in `dtype`; the sum that runs through the blocks, and the norms that read it, stay in float32. So bfloat16's
    rounding does not add up from block to block.
    """

    def __init__(self, block: torch.nn.Module, last: bool, dtype: torch.dtype):
        from open_clip.transformer import QuickGELU  # not at the top: load_tower makes it importable

        super().__init__()
        self.norms = torch.nn.ModuleList([block.ln_1, block.ln_2])
        self.attention, self.mlp = block.attn, block.mlp
        self.last = last
        self.dtype = dtype
        if isinstance(self.mlp.gelu, QuickGELU):
            self.mlp.c_fc.weight.mul_(1.702)
            self.mlp.c_fc.bias.mul_(1.702)
            self.mlp.c_proj.weight.div_(1.702)
            self.mlp.gelu = _SiLU()
        self.attention.to(dtype)
        self.mlp.to(dtype)

    def forward(self, x: torch.Tensor, attn_mask: None = None) -> torch.Tensor:
        """(n, tokens, width) float32 → the same, or (n, 1, width) from the last block."""
        heard = self._attend(self.norms[0](x).to(self.dtype))
        x = x[:, : heard.shape[1]] + heard
        return x + self.mlp(self.norms[1](x).to(self.dtype))

    def _attend(self, tokens: torch.Tensor) -> torch.Tensor:
        """(n, tokens, width) → what each token, or in the last block the first alone, takes from all."""
        if not (self.last or tokens.requires_grad):
            return self.attention(tokens, tokens, tokens, need_weights=False)[0]
        n, count, width = tokens.shape
        heads = self.attention.num_heads
        weight, bias = self.attention.in_proj_weight, self.attention.in_proj_bias
        if self.last:  # torch is quick only where every token asks
            query = linear(tokens[:, 0], weight[:width], bias[:width]).view(n, heads, 1, -1)
            keys, values = linear(tokens, weight[width:], bias[width:]).view(n, count, 2, heads, -1).permute(2, 0, 3, 1, 4)
            shares = (query @ keys.mT * query.shape[-1] ** -0.5).softmax(-1)  # (n, heads, 1, tokens)
            heard = shares @ values
        else:  # torch's own module is ten times slower where gradients are wanted
            query, keys, values = linear(tokens, weight, bias).view(n, count, 3, heads, -1).permute(2, 0, 3, 1, 4)
            heard = scaled_dot_product_attention(query, keys, values)
        return self.attention.out_proj(heard.transpose(1, 2).reshape(n, -1, width))


class _SiLU(torch.nn.Module):
    """In place, but where the gradient needs what went in."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.silu(x, inplace=not x.requires_grad)


def lean(tower: torch.nn.Module, bfloat16: bool) -> torch.nn.Module:
    """The tower with its blocks replaced; of its last one only the class token can be read."""
    blocks = tower.transformer.resblocks
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    tower.transformer.resblocks = torch.nn.ModuleList(LeanBlock(block, block is blocks[-1], dtype) for block in blocks)
    return tower
