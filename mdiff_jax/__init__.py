"""Micro-Doppler spectrograms of a named walking person, by two-stage diffusion in JAX."""

__version__ = "0.1.0"
