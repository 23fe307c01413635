"""What huge pages save a training step: python benchmarks/page_faults.py [--config=gait_cpu] [--batch=16]

Runs the decoder's training step in one process as `mdiff` begins it, with huge pages (`runtime/huge_pages.py`), and in
one without them, in turn, so that other load on the machine affects both alike.
"""

import argparse
import json
import os
import resource
import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

import in_turn
from tqdm import tqdm

from mdiff_jax.runtime.huge_pages import TUNABLE, VARIABLE

WAYS = {"without": f"{TUNABLE}=0", "with huge pages": f"{TUNABLE}=1"}
COUNTED = ("ms", "ms of cores", "page faults")


def serve(config: str, batch: int) -> None:
    """Runs a step for each line of standard input, and prints what it took."""
    from step_parts import make_parts

    from mdiff_jax import load_config

    step = make_parts(load_config(config), batch, only="whole step")["whole step"]
    print("ready", flush=True)
    for _ in sys.stdin:
        before, began, cores = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter(), time.process_time()
        step()
        taken = 1000 * (time.perf_counter() - began), 1000 * (time.process_time() - cores)
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before.ru_minflt
        print(json.dumps([*taken, faults]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="gait_cpu")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        return serve(given.config, given.batch)
    command = [sys.executable, __file__, "--serve", f"--config={given.config}", f"--batch={given.batch}"]
    processes = {}
    for way, value in WAYS.items():
        processes[way] = in_turn.start(command, env=os.environ | {VARIABLE: value})
        processes[way].stdout.readline()
    found: dict[str, list] = {way: [] for way in WAYS}
    for _ in tqdm(range(given.repetitions), desc="steps"):
        for way, process in processes.items():
            found[way].append(in_turn.work(process))
    for process in processes.values():
        process.communicate()
    print(f"\n| a step of {given.config} | {' | '.join(COUNTED)} |\n|---|---|---|---|")
    for way, steps in found.items():
        print(f"| {way} | {' | '.join(f'{median(values):.0f}' for values in zip(*steps, strict=True))} |")
    pairs = list(zip(*found.values(), strict=True))
    shares = [median(after[i] / before[i] for before, after in pairs) for i in range(2)]
    print(f"| with, as a share of without, median of pairs | {shares[0]:.2f} | {shares[1]:.2f} | |")


if __name__ == "__main__":
    main()
