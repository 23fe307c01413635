"""diffusers' class-conditional UNet2DModel as its users train and sample it, for `time_to_quality.py`.

The recipe is that of diffusers' unconditional training example: AdamW (0.95, 0.999), warm-up and cosine, an average
with a decay that rises to 0.9999, gradients clipped at 1; here with v-prediction, and one class in ten dropped for
guidance. Windows are in [-1, 1]; estimates are clipped to that. The learning rate follows the time that has passed, so
that it reaches 0 when the minutes are over.
"""

import copy
import itertools
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import diffusers_unet
import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, UNet2DModel
from diffusers.training_utils import EMAModel
from tqdm import tqdm

TIMESTEPS, WARM_UP, DROPPED = 1000, 0.05, 0.1  # the latter two are shares: of the time, of the classes
NOISE = dict(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
SOLVERS = (("ddim", 50), ("dpmpp_2m", 20), ("dpmpp_2m", 32))
SCALES = (1.0, 1.5, 2.0)  # of guidance


class Windows(NamedTuple):
    """Training windows (n, rows, columns) in [-1, 1], and the indices of their users."""

    x: np.ndarray
    users: np.ndarray


class Settings(NamedTuple):
    """How windows are drawn."""

    solver: str
    steps: int
    scale: float  # of guidance


class Peer(NamedTuple):
    """The network and what it runs on. The class after the last user's stands for none."""

    network: Any
    patch: tuple[int, int]
    users: int
    device: str

    @property
    def precise(self) -> Any:
        """Mixed precision where there is a GPU."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda")

    def compiled(self) -> "Peer":
        return self._replace(network=torch.compile(self.network))


def make_peer(config: Any, users: int, scale: float, seed: int) -> Peer:
    """Returns a fresh network in the shape of our decoder, `scale` times as wide."""
    torch.manual_seed(seed)
    return put_on_device(diffusers_unet.build(config, scale, users + 1), config, users)


def read_peer(folder: Path, config: Any, users: int) -> Peer:
    """Returns a trained network that was saved in a folder."""
    return put_on_device(UNet2DModel.from_pretrained(folder, low_cpu_mem_usage=False).eval(), config, users)


def put_on_device(network: Any, config: Any, users: int) -> Peer:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Peer(network.to(device), tuple(config.decoder.patch), users, device)


def train(peer: Peer, windows: Windows, *, seconds: float, rate: float, batch_size: int, seed: int) -> int:
    """Trains the network for so many seconds and leaves the averaged parameters in it; returns the number of steps."""
    scheduler = DDPMScheduler(TIMESTEPS, **NOISE)
    network = peer.network
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
    average = EMAModel(network.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
    x = diffusers_unet.to_patches(torch.tensor(windows.x, device=peer.device), peer.patch)
    users = torch.tensor(windows.users, dtype=torch.long, device=peer.device)
    chances = (1 / torch.bincount(users).float())[users]  # users equally often, as ours
    run = torch.compile(network) if peer.device == "cuda" else network  # 2 % on a CPU, and a minute to compile
    torch.manual_seed(seed)
    network.train()
    began, steps = time.perf_counter(), 0
    with tqdm(total=round(seconds), desc=f"diffusers, rate {rate:g}", unit="s", mininterval=15) as bar:
        while (passed := time.perf_counter() - began) < seconds:
            bar.update(int(passed) - bar.n)
            share = passed / seconds
            optimizer.param_groups[0]["lr"] = rate * min(1, share / WARM_UP) * (1 + math.cos(math.pi * share)) / 2
            rows = torch.multinomial(chances, batch_size, replacement=True)
            noise, t = torch.randn_like(x[rows]), torch.randint(0, TIMESTEPS, (batch_size,), device=peer.device)
            user = torch.where(torch.rand(batch_size, device=peer.device) < DROPPED, peer.users, users[rows])
            with peer.precise:
                output = run(scheduler.add_noise(x[rows], noise, t), t, class_labels=user).sample
            loss = torch.nn.functional.mse_loss(output.float(), scheduler.get_velocity(x[rows], noise, t))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            average.step(network.parameters())
            loss.item()
            steps += 1
    average.copy_to(network.parameters())
    network.eval()
    return steps


def choose_rate(
    peer: Peer, windows: Windows, unseen: Windows, rates: Sequence[float], **training: Any
) -> tuple[float, dict[float, float]]:
    """Returns the rate with the least validation loss after a short training, and the losses of all; the network stays
    as it is.
    """
    losses = {}
    for rate in rates:
        trial = peer._replace(network=copy.deepcopy(peer.network))
        train(trial, windows, rate=rate, **training)
        losses[rate] = validation_loss(trial, unseen)
    return min(losses, key=losses.get), losses


@torch.no_grad()
def validation_loss(peer: Peer, unseen: Windows, batch_size: int = 32) -> float:
    """Returns the mean loss on windows, each at one of the noise levels, which are spread evenly."""
    scheduler, random = DDPMScheduler(TIMESTEPS, **NOISE), torch.Generator().manual_seed(0)
    x = diffusers_unet.to_patches(torch.tensor(unseen.x), peer.patch)
    noise = torch.randn(x.shape, generator=random)
    t = torch.linspace(0, TIMESTEPS - 1, len(x)).round().long()[torch.randperm(len(x), generator=random)]
    noisy, target = scheduler.add_noise(x, noise, t), scheduler.get_velocity(x, noise, t)
    users, total = torch.tensor(unseen.users, dtype=torch.long), 0.0
    for rows in torch.arange(len(x)).split(batch_size):
        x_t, at, who = (part[rows].to(peer.device) for part in (noisy, t, users))
        with peer.precise:
            output = peer.network(x_t, at, class_labels=who).sample
        total += torch.nn.functional.mse_loss(output.float().cpu(), target[rows], reduction="sum").item()
    return total / x.numel()


# ----------------------------------------------------------------------------- sampling


def all_settings() -> list[Settings]:
    """Returns every solver with every scale."""
    return [Settings(solver, steps, scale) for (solver, steps), scale in itertools.product(SOLVERS, SCALES)]


def make_solver(settings: Settings) -> Any:
    """Returns the scheduler of diffusers, from pure noise on, with estimates clipped to [-1, 1]."""
    if settings.solver == "ddim":
        solver = DDIMScheduler(TIMESTEPS, **NOISE, clip_sample=True, timestep_spacing="trailing")
    else:  # a dynamic threshold of 1 at most clips; the least log-SNR is what diffusers' documentation says
        solver = DPMSolverMultistepScheduler(
            TIMESTEPS, **NOISE, thresholding=True, lambda_min_clipped=-5.1, timestep_spacing="trailing"
        )
    solver.set_timesteps(settings.steps)
    return solver


@torch.no_grad()
def draw(peer: Peer, users: np.ndarray, settings: Settings, seed: int) -> np.ndarray:
    """Returns a window (rows, columns) in [-1, 1] for each of the users (n,)."""
    solver, n = make_solver(settings), len(users)
    config, random = peer.network.config, torch.Generator().manual_seed(seed)
    x = torch.randn(n, config.in_channels, *config.sample_size, generator=random).to(peer.device)
    known = torch.tensor(users, dtype=torch.long, device=peer.device)
    for t in solver.timesteps:
        with peer.precise:
            if settings.scale == 1:
                output = peer.network(x, t, class_labels=known).sample.float()
            else:
                classes = torch.cat([known, torch.full_like(known, peer.users)])
                guided, free = peer.network(torch.cat([x, x]), t, class_labels=classes).sample.float().chunk(2)
                output = free + settings.scale * (guided - free)
        x = solver.step(output, t, x).prev_sample
    return diffusers_unet.from_patches(x, peer.patch).clamp(-1, 1).cpu().numpy()


def in_batches(drawing: Callable[[np.ndarray, int], np.ndarray], users: np.ndarray, batch_size: int) -> np.ndarray:
    """Returns what `drawing` makes of all users (n,), batch by batch, each with its own seed."""
    batches = np.split(users, range(batch_size, len(users), batch_size))
    return np.concatenate([drawing(batch, i) for i, batch in enumerate(tqdm(batches, desc="diffusers", unit="batch"))])
