"""`mdiff inspect` in the repository: see mdiff_jax/commands/inspect.py."""

from mdiff_jax.commands import main

if __name__ == "__main__":
    main.run("inspect")
