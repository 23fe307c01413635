"""Configuration files: found by name or path, read, and the comments on their keys.

They lie in `configs/` of the repository; an installed package has them as `mdiff_jax/configs/`.
"""

import ast
import importlib.util
import io
import runpy
import sys
import tokenize
import traceback
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from mdiff_jax.runtime.errors import InputError

PACKAGE = Path(__file__).parents[1]
INSTALLED = (PACKAGE / "configs").is_dir()
CONFIGS = (PACKAGE if INSTALLED else PACKAGE.parent) / "configs"


def known_names() -> list[str]:
    """Returns the names of the configurations that come with the package."""
    return sorted(path.stem for path in CONFIGS.glob("[!_]*.py"))


def find_config(name: str) -> Path:
    """Returns the file of a configuration: a name (`tiny`), a path, or `configs/tiny.py` in whatever folder.

    InputError if there is none.
    """
    if name in known_names():
        return CONFIGS / f"{name}.py"
    for path in (Path(name), CONFIGS.parent / name):
        if path.is_file():
            return path
    known = ", ".join(known_names())
    raise InputError(f"--config={name} is no file: give one of your own, or a name of {known}")


def load_config(name: str) -> Any:
    """Returns the ConfigDict of a configuration, by name or path; after a colon, the argument of its get_config().

    InputError for a file that is not there, fails, or makes something else. The file may do anything.
    """
    name, _, argument = name.partition(":")
    path = str(find_config(name))
    import_configs()
    try:
        make = runpy.run_path(path).get("get_config")
        if not callable(make):
            raise InputError(f"--config={name} has no function get_config(): define one that returns a ConfigDict")
        config = make(*([argument] if argument else []))
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"--config={name}: {describe_error(error, path)}") from None
    if not hasattr(type(config), "to_dict"):
        kind = type(config).__name__
        raise InputError(f"--config={name}: get_config() returns a {kind}, let it return a ConfigDict")
    return config


def import_configs() -> None:
    """Lets configurations import each other as `configs`, wherever they lie, and whatever else has that name."""
    if str(CONFIGS) not in getattr(sys.modules.get("configs"), "__path__", ()):
        spec = ModuleSpec("configs", None, is_package=True)
        spec.submodule_search_locations = [str(CONFIGS)]
        sys.modules["configs"] = importlib.util.module_from_spec(spec)


def describe_error(error: BaseException, path: str) -> str:
    """Returns the kind and text of an error, and the line of the file where it arose."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}" + (f" (line {line})" if line else "")


# ----------------------------------------------------------------------------- comments


def key_comments() -> dict[str, str]:
    """Returns the comment of each dotted key, general keys first."""
    return {key: comment for key, _, comment in default_rows()}


def default_rows() -> Iterator[tuple[str, str, str]]:
    """Yields (dotted key, default, comment) of configs/default.py, general keys first."""
    source = (CONFIGS / "default.py").read_text(encoding="utf-8")
    comments = {
        token.start[0]: token.string.removeprefix("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    functions = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    returned = next(node.value for node in functions["get_config"].body if isinstance(node, ast.Return))
    table = next(node for node in ast.walk(returned) if isinstance(node, ast.Dict))
    yield from dict_rows(functions, table, "", comments, {})


def dict_rows(functions: dict, table: ast.Dict, prefix: str, comments: dict, given: dict) -> Iterator[tuple]:
    """Yields the rows of a dict, nested dicts last; `given` maps argument names of its function to their values."""
    later = []
    for key, value in zip(table.keys, table.values, strict=True):
        name = f"{prefix}{ast.literal_eval(key)}"
        if isinstance(value, ast.Dict):
            later.append(dict_rows(functions, value, f"{name}.", comments, given))
        elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in functions:
            inner = functions[value.func.id].body[-1].value
            arguments = {k.arg: ast.unparse(k.value) for k in value.keywords}
            later.append(dict_rows(functions, inner, f"{name}.", comments, arguments))
        else:
            default = given.get(value.id, value.id) if isinstance(value, ast.Name) else ast.unparse(value)
            yield name, default, comments.get(value.end_lineno, "")
    for rest in later:
        yield from rest
