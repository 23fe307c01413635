"""A model's card as the ecosystem's hubs show it: README.md, with a head of YAML."""

from collections.abc import Mapping
from typing import Any

TEXT = """---
library_name: mdiff_jax
pipeline_tag: unconditional-image-generation
tags:
- micro-doppler
- radar
- diffusion
- jax
- flax
---

# Micro-Doppler spectrograms of named persons

{about}

| | |
|---|---|
| users | {users} |
| parameters | {parameters} |
| steps | prior {prior_step}, decoder {step} |
| windows | {rows} Doppler rows, {frames} time frames at most; velocities {velocities} |
| made | {date}, mdiff_jax {version} |

Weights are float16. Recordings are not in it, but windows that resemble those of its users can be drawn from it: whose
recordings it was trained on, and what these people agreed to, its publisher has to say, and choose a license by it.

    from mdiff_jax import load
    model = load({name})
    {use}
"""
USE = "windows = model.sample(users={users}, n=4, seed=0)  # (4, F, T) in [-1, 1]"
USE_OF_NOBODY = "# it knows nobody: enroll.py --workdir=FOLDER makes people known by 5 windows or more"


def format_card(card: Mapping[str, Any], image_size: tuple[int, int], name: str) -> str:
    """Returns the card of a model whose card.json is `card`; it is loaded by `name`."""
    users, velocity = card["users"], card["metadata"].get("velocity")
    return TEXT.format(
        about=plain(card["about"]) or "Trained by mdiff_jax.",
        users=", ".join(map(plain, users)) or "none: it knows people by windows it is given",
        parameters=", ".join(f"{stage} {count:,}" for stage, count in card["parameters"].items()),
        prior_step=card["steps"][0],
        step=card["steps"][1],
        rows=image_size[0],
        frames=image_size[1],
        velocities=f"{min(velocity):.3g} to {max(velocity):.3g} m/s" if velocity else "unknown",
        date=card["date"],
        version=card["version"],
        name=repr(name),
        use=USE.format(users=users[:1]) if users else USE_OF_NOBODY,
    )


def plain(text: str) -> str:
    """Returns text in one line, in which nothing is markup."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in " ".join(text.split()))
