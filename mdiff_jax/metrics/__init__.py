"""Metrics of identity, physics, novelty and fidelity, on host arrays of spectrograms."""
