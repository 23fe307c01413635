"""Figures, plots and reports of generated windows."""
