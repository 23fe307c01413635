"""Checks the compiler: what it makes of a function against single operations, or against another compiler.

python benchmarks/compiler.py --check [--only=rows,judge]  # a small model against single operations; exit status 1
python benchmarks/compiler.py --write=A.npz                # losses, gradients and windows at gait_cpu's size
python benchmarks/compiler.py --write=B.npz                # the same in another environment
python benchmarks/compiler.py --compare=A.npz,B.npz
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import numpy as np

from mdiff_jax.runtime.config_files import load_config
from mdiff_jax.training import compiler_check


def write(path: str) -> None:
    values = {}
    for case in compiler_check.make_cases(load_config("gait_cpu")):
        out = jax.jit(case.function)(*case.arguments)
        for leaf_path, leaf in jax.tree_util.tree_flatten_with_path(out)[0]:
            values[f"{case.name}.{jax.tree_util.keystr(leaf_path, simple=True, separator='.')}"] = np.asarray(leaf)
        print(f"{case.name}: computed by jax {jax.__version__}", flush=True)
    np.savez(path, **values)


def compare(first: str, second: str) -> None:
    with np.load(first) as a, np.load(second) as b:
        worst = {name: compiler_check.difference(a[name], b[name]) for name in a}
    for case in dict.fromkeys(name.split(".")[0] for name in worst):
        print(f"{case}: {max(value for name, value in worst.items() if name.startswith(case)):.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true", help="compare with single operations")
    mode.add_argument("--write", help="file for the values")
    mode.add_argument("--compare", help="two such files, separated by a comma")
    parser.add_argument("--only", default="", help="rows, encoder, prior, decoder, judge, ddim, dpmpp_2m")
    options = parser.parse_args()
    if options.check:
        sound = True
        for case, value in compiler_check.check(options.only.split(",") if options.only else ()):
            right = value < compiler_check.TOLERANCE
            sound = sound and right
            print(f"{case}: {value:.1e}{'' if right else '  WRONG'}", flush=True)
        sys.exit(not sound)
    if options.write:
        write(options.write)
    else:
        compare(*options.compare.split(","))


if __name__ == "__main__":
    main()
