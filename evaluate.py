"""`mdiff evaluate` in the repository: see mdiff_jax/commands/evaluate.py."""

from mdiff_jax.commands import main

if __name__ == "__main__":
    main.run("evaluate")
