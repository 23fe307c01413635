"""What `mdiff_jax` gives: the models and tasks of Python's users, over the rooms below."""
