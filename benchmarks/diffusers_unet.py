"""diffusers' UNet2DModel in the shape of our decoder, for the benchmarks that compare both.

It takes patches of the spectrogram as channels, as ours does, and has the same levels, blocks and attention. Its widths
are scaled until it takes about as many operations, since its skip connections are concatenated, ours added.
"""

from typing import Any

import numpy as np

SCALES = [s / 100 for s in range(50, 131, 5)]


def build(config: Any, scale: float, classes: int) -> Any:
    """Returns diffusers' network with the levels, blocks and attention of our decoder, `scale` times as wide."""
    from diffusers import UNet2DModel

    c, (rows, columns) = config.decoder, config.data.image_size
    kinds = [("Attn" if attention else "") for attention in c.attention]
    return UNet2DModel(
        sample_size=(rows // c.patch[0], columns // c.patch[1]),
        in_channels=c.patch[0] * c.patch[1],
        out_channels=c.patch[0] * c.patch[1],
        block_out_channels=tuple(max(1, round(width * scale / 32)) * 32 for width in c.channels),
        layers_per_block=c.blocks,
        down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
        up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
        attention_head_dim=c.head_width,
        num_class_embeds=classes,
        add_attention=any(c.attention),
    )


def to_patches(x: Any, patch: tuple[int, int]) -> Any:
    """(n, rows, columns) → (n, p q, rows / p, columns / q) of a patch (p, q)."""
    (n, rows, columns), (p, q) = x.shape, patch
    x = x.reshape(n, rows // p, p, columns // q, q).permute(0, 2, 4, 1, 3)
    return x.reshape(n, p * q, rows // p, columns // q)


def from_patches(x: Any, patch: tuple[int, int]) -> Any:
    """Inverts `to_patches`."""
    (n, _, rows, columns), (p, q) = x.shape, patch
    return x.reshape(n, p, q, rows, columns).permute(0, 3, 1, 4, 2).reshape(n, rows * p, columns * q)


def match(config: Any, classes: int) -> dict[str, float]:
    """Returns {'scale', 'theirs', 'ours'}: the scale of widths at which both take the most similar number of operations
    in a forward pass of a window, and these numbers.
    """
    ours = our_forward_flops(config, classes)
    flops = {scale: forward_flops(config, scale, classes) for scale in SCALES}
    best = min(SCALES, key=lambda scale: abs(flops[scale] - ours))
    return {"scale": best, "theirs": flops[best], "ours": ours}


def forward_flops(config: Any, scale: float, classes: int) -> float:
    """Returns the operations of a forward pass of diffusers' network for one window."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():  # nothing is computed
        network = build(config, scale, classes)
        x = torch.zeros(1, network.config.in_channels, *network.config.sample_size)
        network(x, torch.zeros(1), class_labels=torch.zeros(1, dtype=torch.long))
    return float(counter.get_total_flops())


def our_forward_flops(config: Any, users: int) -> float:
    """Returns the operations of a forward pass of our decoder for one window, by the compiler's count."""
    import jax

    from mdiff_jax.config import build_decoder, condition_size, parameter_shapes, person_size, spectrogram_shape

    one, x = np.zeros(1, np.float32), np.zeros((1, *spectrogram_shape(config)), np.float32)
    z, person = np.zeros((1, condition_size(config)), np.float32), np.zeros((1, person_size(config)), np.float32)
    condition = [one, z, one.astype(np.int32), one > 0, np.full(1, x.shape[2])]
    condition += [person] if config.people.references else []
    network = jax.jit(build_decoder(config, users).apply)
    params = parameter_shapes(config, "decoder", users)
    return float(network.lower({"params": params}, x, *condition).compile().cost_analysis()["flops"])
