"""How much the tests of the mathematical core notice: breaks it by hand in many ways, one at a time.

    python tests/mutants.py [words of a mutant's file or text …]

Each mutant is one change of text in a copy of the package in a temporary folder; the tests of these modules run on the
copy and stop at the first failure. The working tree is only read. Prints a table; leaves with 1 if fewer than
95 % fail.
"""

import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = ("schedules", "gaussian", "samplers", "guidance", "editing", "noise_floor", "consistency")
NOTICED = 0.95

SCHEDULES = [
    ("np.cumprod(1.0 - np.minimum", "np.cumprod(np.minimum"),  # beta for 1 - beta
    ("np.minimum(betas, MAX_BETA)", "betas"),
    ("MAX_BETA = 0.999", "MAX_BETA = 0.99"),
    ("scale = 1000.0 / _positive(timesteps)", "scale = 1.0 + 0 * _positive(timesteps)"),
    ("scale * 0.02, timesteps", "scale * 0.2, timesteps"),
    ("np.linspace(scale * 1e-4, scale * 0.02", "np.linspace(scale * 1e-5, scale * 0.02"),
    ("np.pi / 2) ** 2", "np.pi / 2)"),  # cos for cos²
    ("(u + 0.008) / 1.008", "u"),  # no offset
    ("abar[1:] / abar[:-1])", "abar[1:] / abar[0])"),
    ("np.arange(_positive(timesteps) + 1) / timesteps", "np.arange(_positive(timesteps) + 1) / (timesteps + 1)"),
    ("np.exp(shift)", "np.exp(-shift)"),
    ("signal / (signal + noise)", "signal"),
    ("(alpha - alpha[-1]) * alpha[0]", "alpha * alpha[0]"),
    ("alpha[0] / (alpha[0] - alpha[-1])) ** 2", "alpha[0] / (alpha[0] - alpha[-1]))"),
    ("alpha[0] / (alpha[0] - alpha[-1])", "1.0"),
    ("    if shift:", "    if not shift:"),
    ("np.log(np.maximum(abar, bound)) -", "np.log(np.maximum(abar, bound)) +"),
    ("np.log(np.maximum(1.0 - abar, bound))", "np.log(1.0 - abar)"),
    ("LOG_SNR_BOUND = 20.0", "LOG_SNR_BOUND = 10.0"),
    ("return np.arange(n)[::-1] * (T // n)", "return np.arange(n)[::-1] * (T // n) + 1"),
    ("np.arange(n)[::-1] * (T // n)", "(np.arange(n)[::-1] * (T / n)).round().astype(int)"),
    ("[:n].round().astype(int) - 1", "[:n].round().astype(int) - 2"),
    ("[:n].round().astype(int) - 1", "[:n].astype(int) - 1"),
    ("[:n].round().astype(int) - 1", ".round().astype(int) - 1"),  # n + 1 of them, by rounding
    ("np.linspace(0, T - 1, n)", "np.linspace(0, T, n, endpoint=False)"),
    ("[::-1].round().astype(int)", "[::-1].astype(int)"),
    ("np.linspace(log_snr[-1], log_snr[0], n)", "np.linspace(log_snr[-1], log_snr[0], n + 1)[:-1]"),
    ("np.minimum.accumulate(t + rank) - rank", "t"),
    ("np.maximum(t, rank[::-1])", "t"),
    ("if not 1 <= n <= T:", "if not 0 <= n <= T:"),
    ("abar.setflags(write=False)", "abar.setflags(write=True)"),
    ("(np.diff(abar) < 0).all()", "True"),
]

GAUSSIAN = [
    (
        "gather_schedule(np.sqrt(abar), t).reshape(shape)",
        "gather_schedule(abar, t).reshape(shape)",
    ),  # missing square root
    ("gather_schedule(np.sqrt(1.0 - abar), t)", "gather_schedule(1.0 - abar, t)"),  # variance for deviation
    ("gather_schedule(np.sqrt(1.0 - abar), t)", "gather_schedule(1.0 - np.sqrt(abar), t)"),
    ("return table[t] if", "return table[t - 1] if"),
    ("jnp.asarray(table, float)[t]", "jnp.asarray(table, float)[t - 1]"),
    ("jnp.asarray(table, float)[t]", "jnp.asarray(table, jnp.bfloat16)[t]"),
    ("return gather_schedule(schedule.log_snr, t)", "return gather_schedule(schedule.alphas_cumprod, t)"),
    ("return alpha * x0 + sigma * noise", "return alpha * x0 + sigma**2 * noise"),
    ("return alpha * noise - sigma * x0", "return alpha * noise + sigma * x0"),
    ("return alpha * noise - sigma * x0", "return alpha * x0 - sigma * noise"),
    ("return output, (x_t - alpha * output) / sigma", "return output, (x_t - output) / sigma"),
    ("return (x_t - sigma * output) / alpha, output", "return (x_t - sigma * output) / alpha**2, output"),
    ("return alpha * x_t - sigma * output,", "return alpha * x_t + sigma * output,"),
    ("sigma * x_t + alpha * output", "sigma * x_t - alpha * output"),
    ("sigma * x_t + alpha * output", "(x_t - alpha * (alpha * x_t - sigma * output)) / sigma"),  # ill conditioned
    ("output, prediction)[0]", "output, prediction)[1]"),
    ("alpha = abar_t / abar_s", "alpha = abar_t"),
    ("of_x_t = np.sqrt(alpha)", "of_x_t = alpha"),
    ("of_x_0 = np.sqrt(abar_s)", "of_x_0 = np.sqrt(abar_t)"),
    ("return of_x_t, of_x_0, beta * (1.0 - abar_s) / (1.0 - abar_t)", "return of_x_t, of_x_0, beta"),
    ('"eps": 1.0 / snr,', '"eps": snr,'),
    ('"v": 1.0 / (1.0 + snr)', '"v": 1.0 / snr'),
    ("np.minimum(snr, MIN_SNR_GAMMA)", "np.maximum(snr, MIN_SNR_GAMMA)"),
    ("MIN_SNR_GAMMA = 5.0", "MIN_SNR_GAMMA = 1.0"),
    ("np.exp(-SIGMOID_BIAS)", "np.exp(SIGMOID_BIAS)"),
    ("return 0.5 * speed * snr", "return 0.5 * snr"),
    ("return 0.5 * speed * snr", "return 0.5 * speed"),
    ("0, timesteps * batch_size)", "0, timesteps)"),  # offset within one step
    ("% batch_size\n    return", "\n    return"),
    ("// batch_size % timesteps", "// batch_size"),
    ("(offset + position * timesteps)", "(offset + position)"),
    ('if prediction == "eps" and schedule', 'if prediction == "x0" and schedule'),
]

SAMPLERS = [
    ("np.append(abar_t[1:], 1.0)", "np.append(abar_t[1:], abar_t[-1])"),
    ("np.append(abar_t[1:], 1.0)", "np.append(abar_t[1:], schedule.alphas_cumprod[0])"),
    (
        "abar_s = np.append(abar_t[1:], 1.0)",  # the reference's t - T // n
        "before = timesteps - len(schedule.alphas_cumprod) // len(timesteps)\n"
        "    abar_s = np.where(before < 0, 1.0, schedule.alphas_cumprod[before])",
    ),
    ("np.append(timesteps[1:], 0), x", "timesteps, x"),
    ('if variance == "small"', 'if variance == "large"'),
    ("np.where(abar_s < 1, 1.0 - abar_t / abar_s, 0.0)", "1.0 - abar_t / abar_s"),
    ("np.where(abar_s < 1, 1.0 - abar_t / abar_s, 0.0)", "np.where(abar_s < 1, 1.0 - abar_t, 0.0)"),
    ("np.sqrt(chosen)", "chosen"),  # variance for deviation
    ("noise = eta * np.sqrt((1.0 - abar_s)", "noise = eta * ((1.0 - abar_s)"),
    ("np.sqrt(1.0 - abar_t / np.maximum(abar_s, abar_t))", "np.sqrt(1.0 - abar_t)"),
    ("1.0 - abar_s - noise**2", "1.0 - abar_s"),
    ("1.0 - abar_s - noise**2", "1.0 - abar_s - noise"),
    ("np.sqrt(abar_s) - np.sqrt(abar_t) * x,", "np.sqrt(abar_s) + np.sqrt(abar_t) * x,"),
    ("np.sqrt(abar_s) - np.sqrt(abar_t) * x,", "np.sqrt(abar_t) - np.sqrt(abar_s) * x,"),
    ("0.5 * (np.log(abar) - np.log1p(-abar))", "(np.log(abar) - np.log1p(-abar))"),  # log-SNR for lambda
    ("h = lam_s - lam_t", "h = lam_t - lam_s"),
    ("whole = -alpha_s * np.expm1(-h)", "whole = alpha_s * np.expm1(h)"),
    ("alpha_s, inner = np.sqrt(abar_s)", "alpha_s, inner = np.sqrt(abar_t)"),
    ("other = -0.5 * whole", "other = 0.5 * whole"),
    ("other = -0.5 * whole", "other = -1.0 * whole"),
    ("np.divide(h, h_before,", "np.divide(h_before, h,"),
    ("np.append(np.inf, h[:-1])", "np.append(np.inf, h[1:])"),
    ("np.append(np.inf, h[:-1])", "np.append(h[0], h[:-1])"),  # an estimate before the first
    ("alpha_s - whole / h", "0.5 * whole"),  # the plain trapezoid
    ("alpha_s - whole / h", "alpha_s + whole / h"),
    ("return np.sqrt((1.0 - abar_s) / (1.0 - abar_t)), whole", "return (1.0 - abar_s) / (1.0 - abar_t), whole"),
    ("whole - other, other,", "whole, other,"),
    ("(x, x0), collect(x, x0)", "(x, other), collect(x, x0)"),  # an estimate that is never handed on
    ("estimate(row.x * x + (row.x0 + row.other) * x0, row.t_next)", "estimate(x, row.t_next)"),
    ("estimate(row.x * x + (row.x0 + row.other) * x0, row.t_next)", "x0"),
    ("(row.x0 + row.other) * x0, row.t_next)", "(row.x0 + row.other) * x0, row.t)"),
    ("jnp.full(x.shape[:1], t, jnp.int32)", "jnp.full(x.shape[:1], t - 1, jnp.int32)"),
    ("x + row.noise * normal", "x + row.noise**2 * normal"),
    ("normal(keys, row.t, x.shape[1:], dtype)", "normal(keys, 0, x.shape[1:], dtype)"),  # the same noise in each step
    ("jax.random.fold_in(key, salt)", "key"),
    ("jax.random.fold_in(key, salt)", "jax.random.fold_in(keys[0], salt)"),  # the same noise for each sample
    ("jnp.promote_types(x.dtype, jnp.float32)", "x.dtype"),
    ("elif keys is None:", "elif False:"),
    ('heun=method == "heun", keys=keys)', "heun=False, keys=keys)"),
    ("if not 0 <= eta <= 1 or", "if not 0 <= eta or"),
    ("INITIAL_NOISE_SALT = 2**31 - 1", "INITIAL_NOISE_SALT = 999"),
]

GUIDANCE = [
    ("x0 = without + amount *", "x0 = with_it + amount *"),  # the other convention of scale
    ("amount * (with_it - without)", "amount * (without - with_it)"),
    ("keep = jnp.arange(2 * len(x)) < len(x)", "keep = jnp.arange(2 * len(x)) >= len(x)"),
    ("keep=scale == 1)", "keep=True)"),
    ("scale in (0, 1) and", "False and"),
    ("(interval is None or scale == 1)", "True"),
    ("<= log_snr) & (log_snr <=", "< log_snr) & (log_snr <"),
    ("jnp.where(_per_sample(inside(t), x), x0, with_it)", "x0"),
    ("x0, with_it)\n\n", "x0, without)\n\n"),
    ("jax.lax.cond(jnp.any(inside(t)), two_passes, one_pass, x, t)", "two_passes(x, t)"),
    ("amount * ratio + (1.0 - amount)", "amount + (1.0 - amount) * ratio"),
    ("axes = tuple(range(1, x0.ndim))", "axes = tuple(range(x0.ndim))"),
    ("jnp.clip(denoise(x, t), low, high)", "jnp.clip(denoise(x, t), -high, high)"),
    ("s = jnp.maximum(s, 1.0)", "s = s"),
    ("jnp.clip(x0, -s, s) / s", "jnp.clip(x0, -s, s)"),
    ("jnp.quantile(jnp.abs(x0", "jnp.quantile((x0"),
]

EDITING = [
    ("t < strength * schedule.timesteps", "t >= strength * schedule.timesteps"),
    ("jnp.full(len(x0), t[0]), noise)", "jnp.full(len(x0), t[-1]), noise)"),
    ("np.append(i[1:] == i[:-1], False)", "np.append(i[1:] != i[:-1], False)"),
    ("ratio = np.where(again, abar_t / abar_s, 1.0)", "ratio = np.ones_like(abar_s)"),
    ("np.sqrt(ratio), np.sqrt(1.0 - ratio)", "np.sqrt(ratio), 1.0 - ratio"),
    ("r.alpha * known + r.sigma", "known + r.sigma"),
    ("jnp.where(mask, r.alpha", "jnp.where(~mask, r.alpha"),
    ("walk[:, starts[:, None] + place], 1, 0", "walk[:, 0 * starts[:, None] + place], 1, 0"),
    ("return total / jnp.maximum(weights, 1e-6)", "return total / windows"),
]

NOISE_FLOOR = [
    ("jnp.where(x <= EMPTY_LEVEL", "jnp.where(x >= EMPTY_LEVEL"),
    ("x - margin, x)", "x + margin, x)"),
    ("x - margin, x)", "x - margin, x - margin)"),
    ("jnp.clip(x, -1.0, 1.0)", "jnp.clip(x, -1.25, 1.0)"),
]

CONSISTENCY = [
    ("s = np.append(CLEAN, t[:-1])", "s = np.append(t[0], t[:-1])"),
    ("b = np.repeat(s[:: count // segments], count // segments)", "b = np.full(count, CLEAN)"),  # one segment
    ("on * x0 / whole, on_x0 / whole", "x0 / whole, on_x0 / whole"),
    ("on * x0 / whole, on_x0 / whole", "on * x0 / whole, on / whole"),
    ("on * x0 / whole, on_x0 / whole", "0 * x0, on_x0 / on_x0"),  # the student alone, which any constant satisfies
    ("1 :: count // segments] = starts", "1 :: count // segments] = starts - 1"),
    ("x[inner] *= samplers", "x[inner] /= samplers"),
    ("_column(steps.x, row, x_t) * x_t +", "x_t +"),
    ("* teacher + _column(steps.student, row, student) * student", "* teacher"),
    ("jnp.sqrt(mean_square + bend**2) - bend", "jnp.sqrt(mean_square + bend**2)"),
    ("jnp.sqrt(mean_square + bend**2) - bend", "mean_square"),
]

TABLES = (SCHEDULES, GAUSSIAN, SAMPLERS, GUIDANCE, EDITING, NOISE_FLOOR, CONSISTENCY)
MUTANTS = [
    (f"mdiff_jax/diffusion/{name}.py", old, new)
    for name, changes in zip(MODULES, TABLES, strict=True)
    for old, new in changes
]


def run_tests(folder: Path, cache: Path, first: str) -> str:
    """The first failing test, or '', beginning with those of module `first`. The copy shadows the installed package."""
    env = os.environ | {
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    tests = [f"tests/diffusion/test_{name}.py" for name in sorted(MODULES, key=lambda name: name != first)]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return "more than 300 s"
    if done.returncode == 0:
        return ""
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return failed[0].split(" - ")[0].split(" ", 1)[1] if failed else done.stdout[-300:] + done.stderr[-300:]


def copy_project(folder: Path) -> None:
    for part in ("mdiff_jax", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)


def judge(mutant: tuple[str, str, str], cache: Path) -> str:
    """The first test that fails for a mutant, or ''."""
    file, old, new = mutant
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_project(folder)
        text = (folder / file).read_text()
        if text.count(old) != 1:
            raise SystemExit(f"{file}: {old!r} occurs {text.count(old)} times: bring this mutant up to date")
        (folder / file).write_text(text.replace(old, new))
        return run_tests(folder, cache, Path(file).stem)


def main(words: list[str]) -> int:
    chosen = [m for m in MUTANTS if not words or any(w in " ".join(m) for w in words)]
    with tempfile.TemporaryDirectory() as cache, concurrent.futures.ThreadPoolExecutor(2) as pool:
        if failed := judge(("pyproject.toml", "[project]", "[project]"), Path(cache)):
            raise SystemExit(f"the tests fail without any mutant: {failed}")
        noticed = 0
        for mutant, failed in zip(chosen, pool.map(lambda m: judge(m, Path(cache)), chosen), strict=True):
            file, old, new = (part.replace("\n", "⏎") for part in mutant)
            noticed += bool(failed)
            print(f"{'noticed ' if failed else 'SURVIVED'} | {Path(file).stem} | {old} → {new} | {failed}", flush=True)
    print(f"{noticed} of {len(chosen)} mutants noticed ({noticed / len(chosen):.1%})")
    return noticed < NOTICED * len(chosen)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
