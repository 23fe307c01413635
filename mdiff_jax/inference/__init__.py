"""Sampling from a trained working directory."""
