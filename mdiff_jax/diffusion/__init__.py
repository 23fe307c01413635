"""The mathematics of diffusion: no network, no configuration."""
