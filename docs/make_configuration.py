"""Writes docs/configuration.md from configs/default.py: every key, its default, and the comment beside it.

python docs/make_configuration.py
"""

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE, TARGET = ROOT / "configs" / "default.py", ROOT / "docs" / "configuration.md"
HEAD = """# Every configuration key

Made by `python docs/make_configuration.py` from `configs/default.py`; a test holds that the two agree. Each key can be
given on the command line, `--config.KEY=VALUE`; a name that is not here is refused, with the nearest one that is.
"""


def text() -> str:
    source = SOURCE.read_text()
    comments = {
        token.start[0]: token.string.removeprefix("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    functions = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    lines, section = [HEAD], None
    for key, value, comment in rows(functions, "get_config", "", comments):
        first = key.split(".")[0] if "." in key else "General"
        if first != section:
            section = first
            lines += [f"\n## {section}\n", "| key | default | |", "|---|---|---|"]
        lines.append(f"| `{key}` | `{value}` | {comment.replace('|', ',')} |")
    return "\n".join(lines) + "\n"


def rows(functions: dict, name: str, prefix: str, comments: dict[int, str]) -> Iterator[tuple[str, str, str]]:
    """(dotted key, default, comment) of a function that returns a dict, the general keys first."""
    function = functions[name]
    returned = next(node.value for node in function.body if isinstance(node, ast.Return))
    table = next(node for node in ast.walk(returned) if isinstance(node, ast.Dict))
    yield from of_dict(functions, table, prefix, comments, {})


def of_dict(functions: dict, table: ast.Dict, prefix: str, comments: dict, given: dict) -> Iterator[tuple]:
    later = []
    for key, value in zip(table.keys, table.values, strict=True):
        name = f"{prefix}{key.value}"
        if isinstance(value, ast.Dict):
            later.append(of_dict(functions, value, f"{name}.", comments, given))
        elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in functions:
            inner = functions[value.func.id].body[-1].value
            arguments = {k.arg: ast.unparse(k.value) for k in value.keywords}
            later.append(of_dict(functions, inner, f"{name}.", comments, arguments))
        else:
            default = given.get(value.id, value.id) if isinstance(value, ast.Name) else ast.unparse(value)
            yield name, default, comments.get(value.end_lineno, "")
    for rest in later:
        yield from rest


if __name__ == "__main__":
    TARGET.write_text(text())
