"""The commands: flags, and one call of the rooms below. JAX is imported when flags are right, not before."""
