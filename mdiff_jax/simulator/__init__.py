"""Simulation of walking people as a radar sees them."""
