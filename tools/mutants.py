"""Small changes of every solution, made by rule: does its check refuse them? `python tools/mutants.py [PART ...]`.

The hand-written wrong answers are mistakes that somebody thought of. Here a program makes others: a sum for a mean, a
minus for a plus, another axis, a term left out, arguments swapped, a bound moved by one, an input changed in place.
Each mutant differs from the solution in one place. One that a check accepts *survives*: either it is a right answer,
since the change makes no difference that the text forbids, or the check has a gap. So every survivor is read by
somebody and stands in tests/exercises/mutants.json with the reason why it may live.

`make mutants` tries all of them and stores what survives; reasons that are already there are kept.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import hashlib
import inspect
import json
import signal
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from exercise_notebooks import ROOT, Lesson, lessons, run_cells
from prove_checks import LessonProof, _Solutions

from bdlcore.exercises import examine
from bdlcore.exercises._records import CORRECT

STORE = Path("tests/exercises/mutants.json")
SEEDS = (0, 1)
SECONDS = 20  # a mutant that loops for ever is refused

OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Div, ast.MatMult: ast.Mult, ast.Mod: ast.FloorDiv,
}  # fmt: skip
COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
}  # fmt: skip
NAMES = {
    "mean": "sum", "sum": "mean", "exp": "log", "log": "exp", "var": "std", "std": "var", "amax": "amin", "max": "min",
    "amin": "amax", "min": "max", "argmax": "argmin", "argmin": "argmax", "softmax": "log_softmax",
    "log_softmax": "softmax", "sqrt": "square", "square": "sqrt", "sin": "cos", "cos": "sin", "logsumexp": "sum",
    "median": "mean", "cumsum": "cumprod", "diagonal": "sum", "quantile": "median", "floor": "ceil", "ceil": "floor",
    "zeros": "ones", "ones": "zeros", "zeros_like": "ones_like", "ones_like": "zeros_like", "all": "any", "any": "all",
    "logdet": "det", "rand": "randn", "randn": "rand", "roll": "flip", "sort": "flip", "argsort": "sort",
}  # fmt: skip
DROPPED = {"sqrt", "square", "exp", "log", "abs", "clamp", "flip", "softmax", "log_softmax"}
IN_PLACE = {ast.Add: "add_", ast.Sub: "sub_", ast.Mult: "mul_", ast.Div: "div_"}


def mutants(source: str) -> Iterator[tuple[str, str]]:
    """(what was changed, the changed source) of a function's source, each once."""
    tree = ast.parse(textwrap.dedent(source))
    function = tree.body[0]
    parameters = {argument.arg for argument in function.args.args}
    original, seen = ast.unparse(tree), set()
    for number, node in enumerate(ast.walk(tree)):
        for what, change in _changes(node, parameters):
            mutant = copy.deepcopy(tree)
            twin = next(other for k, other in enumerate(ast.walk(mutant)) if k == number)
            replacement = change(twin)
            if replacement is not twin:
                mutant = _Replace(twin, replacement).visit(mutant)
            text = ast.unparse(ast.fix_missing_locations(mutant))
            if text != original and text not in seen:
                seen.add(text)
                yield f"line {node.lineno}, column {node.col_offset}: {what}", text


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)


def _changes(node: ast.AST, parameters: set[str]) -> Iterator[tuple[str, Callable[[ast.AST], ast.AST]]]:
    """What can be changed at a node: a description, and a function that changes its copy or returns another node."""
    if isinstance(node, ast.BinOp):
        yield from _changes_of_sum(node, parameters)
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        new = COMPARISONS[type(node.ops[0])]
        yield f"{ast.unparse(node)}: {new.__name__}", lambda n: _with(n, ops=[new(), *n.ops[1:]])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant):
        yield f"0 for {ast.unparse(node)}", lambda n: ast.Constant(0)  # the last axis is the second of two
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Invert | ast.Not):
        yield f"{ast.unparse(node)} without its sign", lambda n: n.operand
    elif isinstance(node, ast.Attribute) and node.attr in NAMES:
        new_name = NAMES[node.attr]
        yield f"{new_name} for {node.attr}", lambda n: _with(n, attr=new_name)
    elif isinstance(node, ast.Call):
        yield from _changes_of_call(node)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield f"{not node.value} for {node.value}", lambda n: _with(n, value=not n.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        for new_value in (node.value + 1, node.value - 1, 2 * node.value) if node.value else (1, -1):
            yield f"{new_value} for {node.value}", lambda n, v=new_value: _with(n, value=v)
    elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        yield f"all of {ast.unparse(node.value)}", lambda n: n.value


def _changes_of_sum(
    node: ast.BinOp, parameters: set[str]
) -> Iterator[tuple[str, Callable[[ast.AST], ast.AST]]]:
    text = ast.unparse(node)
    if (new := OPERATORS.get(type(node.op))) is not None:
        yield f"{text}: {new.__name__}", lambda n: _with(n, op=new())
    yield f"{text}: the left part only", lambda n: n.left
    yield f"{text}: the right part only", lambda n: n.right
    if isinstance(node.op, ast.Sub | ast.Div | ast.MatMult | ast.Pow):
        yield f"{text}: the parts swapped", lambda n: _with(n, left=n.right, right=n.left)
    if isinstance(node.left, ast.Name) and node.left.id in parameters and type(node.op) in IN_PLACE:
        name = IN_PLACE[type(node.op)]
        yield (
            f"{text} in place",
            lambda n: ast.Call(ast.Attribute(n.left, name, ast.Load()), [n.right], []),
        )


def _changes_of_call(node: ast.Call) -> Iterator[tuple[str, Callable[[ast.AST], ast.AST]]]:
    if len(node.args) >= 2 and not any(isinstance(argument, ast.Starred) for argument in node.args[:2]):
        yield (
            f"{ast.unparse(node)}: arguments swapped",
            lambda n: _with(n, args=[n.args[1], n.args[0], *n.args[2:]]),
        )
    for k, keyword in enumerate(node.keywords):
        yield (
            f"{ast.unparse(node)} without {keyword.arg}",
            lambda n, k=k: _with(n, keywords=[*n.keywords[:k], *n.keywords[k + 1 :]]),
        )
    if isinstance(node.func, ast.Attribute) and node.func.attr in DROPPED:
        yield f"{node.func.attr} left out", lambda n: n.func.value
    if isinstance(node.func, ast.Attribute) and node.args and node.func.attr in NAMES:
        yield f"{ast.unparse(node)} over everything", lambda n: _with(n, args=[])


def _with(node: ast.AST, **fields: object) -> ast.AST:
    for name, value in fields.items():
        setattr(node, name, value)
    return node


class TooSlow(BaseException):
    """A mutant that does not come to its end; no Exception, so that no check takes it for one of the answer."""


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Raises TooSlow in the block after so many seconds, where the system has such a clock (not on Windows)."""

    def ring(*_: object) -> None:
        raise TooSlow

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def survives(id: str, function: Callable, source: str, seeds: Sequence[int] = SEEDS) -> bool:
    """Whether the check takes the function with this source for a right answer, on every seed."""
    namespace = dict(function.__globals__)
    try:
        with at_most(SECONDS):
            exec(compile(source, f"<a mutant of {id}>", "exec"), namespace)
            return all(examine(id, namespace[function.__name__], seed).state == CORRECT for seed in seeds)
    except (TooSlow, Exception):
        return False


class _Mutated(_Solutions):
    """Stands in for `check` while a solutions notebook runs, and tries the mutants of each solution."""

    def __init__(self, lesson: Lesson) -> None:
        super().__init__(LessonProof(lesson, {}), ())
        self.rows: dict[str, dict] = {}

    def check(self, id: str, answer: object, **_: object) -> None:
        if not inspect.isfunction(answer):
            return
        tried = list(mutants(inspect.getsource(answer)))
        alive = [what for what, text in tried if survives(id, answer, text)]
        self.rows[id] = {"digest": digests(self.proof.lesson)[id], "tried": len(tried), "alive": alive}

    def _judge(self, found: object) -> None:
        pass


def digests(lesson: Lesson) -> dict[str, str]:
    """Per exercise a digest of its solution cell: its mutants are made of that."""
    sources = {entry.id: lesson.notebook.cells[entry.cells["solution"]].source for entry in lesson.entries}
    return {id: hashlib.sha256(source.encode()).hexdigest()[:16] for id, source in sources.items()}


def try_all(wanted: Sequence[Lesson], root: Path = ROOT) -> dict[str, dict]:
    """Per exercise whose answer is a function: a digest of its solution, how many mutants, and which survive."""
    rows: dict[str, dict] = {}
    for lesson in wanted:
        seen = _Mutated(lesson)
        if broken := run_cells(root / "solutions" / lesson.path, seen.names()):
            raise RuntimeError(f"solutions/{lesson.path.as_posix()} does not run to its end: {broken}")
        rows |= seen.rows
        alive = sum(len(row["alive"]) for row in seen.rows.values())
        tried = sum(row["tried"] for row in seen.rows.values())
        print(f"{lesson.path.as_posix()}: {tried} mutants, {alive} alive", flush=True)
    return rows


def stored(root: Path = ROOT) -> dict[str, dict]:
    path = root / STORE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def merged(rows: dict[str, dict], before: dict[str, dict]) -> dict[str, dict]:
    """New rows over old ones; the reason why a survivor may live stays with it, and "" asks for one."""
    kept = dict(before)
    for id, row in rows.items():
        reasons = before.get(id, {}).get("alive", {})
        kept[id] = row | {"alive": {what: reasons.get(what, "") for what in row["alive"]}}
    return dict(sorted(kept.items()))


def score(rows: dict[str, dict]) -> str:
    """The share that is refused, and how many of the survivors are right answers, as a sentence."""
    tried = sum(row["tried"] for row in rows.values())
    alive = sum(len(row["alive"]) for row in rows.values())
    refused = f"the checks refuse {tried - alive:,}; {alive} survive"
    return f"Of {tried:,} generated mutants of {len(rows)} solutions {refused}"


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="only notebooks with this in their path")
    options = parser.parse_args(arguments)
    wanted = [
        lesson
        for lesson in lessons(root)
        if not options.parts or any(part in lesson.path.as_posix() for part in options.parts)
    ]
    if not wanted:
        parser.error("no solutions notebook has that in its path")
    rows = merged(try_all(wanted, root), stored(root))
    (root / STORE).write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(score(rows) + ".")
    unread = [
        f"{id}: {what}" for id, row in rows.items() for what, reason in row["alive"].items() if not reason
    ]
    if unread:
        print(
            f"{len(unread)} survivors have no reason yet; read them, mend the check or say why they may live:"
        )
        print("\n".join(f"  {line}" for line in unread))
    return 1 if unread else 0


if __name__ == "__main__":
    raise SystemExit(main())
