"""Which cells of a notebook a cell needs: those from which a value can come that it reads, found without running any.

A name that a cell reads comes from the nearest cell above that binds it, and from cells between that may bind it (in a
loop or a condition) or change it in place. A function reads names of the notebook where it is used, not where it is
defined; so does what holds one, such as a dictionary of functions. What the code does not show stays unseen: an alias
that is changed, a global state of a library.
"""

from __future__ import annotations

import ast
import builtins
import re
import symtable
from dataclasses import dataclass, field


def cells_needed(sources: list[str], wanted: list[int]) -> list[int]:
    """The wanted cells and those that they need, in order.

    Args:
        sources: the code of each cell, "" for one without. Lines that begin with % or ! do not count.
        wanted: positions of cells.
    """
    cells, known = [], {}
    for source in sources:
        cells.append(Cell(known))
        cells[-1].visit(ast.parse(re.sub(r"^[%!].*$", "", source, flags=re.MULTILINE)))
    needed, asked = set(wanted), set()
    todo = [(i, name) for i in wanted for name in cells[i].reads]
    while todo:
        i, name = place = todo.pop()
        if place in asked:
            continue
        asked.add(place)
        for k in reversed(range(i)):
            if name in cells[k].binds | cells[k].changes and k not in needed:
                needed.add(k)
                todo += [(k, read) for read in cells[k].reads]
            if name in cells[k].binds:
                break
    return sorted(needed)


@dataclass
class Later:
    """What a name of the notebook may read, and change, when it is used: it is a function, or holds one."""

    reads: set[str]
    parameters: list[str] = field(default_factory=list)
    changes: set[str] = field(default_factory=set)  # parameters, and names of the notebook, that it changes
    outlives: bool = False  # what a call returns reads names too: an object, an inner function


MODULE = Later(set())


class Cell(ast.NodeVisitor):
    """What a cell does with names, in the order in which Python does it.

    Args:
        known: `Later` by name, of the cells above; this cell adds its own.

    Attributes:
        reads: names that come from above.
        binds: names that it binds, whatever happens.
        changes: names that it may bind, or changes in place.
    """

    def __init__(self, known: dict[str, Later]):
        self.known = known
        self.reads, self.binds, self.changes = set(), set(), set()
        self.perhaps: set[str] | None = None  # bound so far in a loop or a condition

    def load(self, names: set[str]) -> None:
        names = names | set().union(*map(self.through, names))
        self.reads |= names - self.binds - (self.perhaps or set())

    def bind(self, name: str) -> None:
        (self.binds if self.perhaps is None else self.perhaps).add(name)
        self.known.pop(name, None)

    def through(self, name: str) -> set[str]:
        """All that a use of this name may read."""
        found, todo = set(), [name]
        while todo:
            new = getattr(self.known.get(todo.pop()), "reads", set()) - found
            found |= new
            todo += new
        return found

    def visit_Name(self, node: ast.Name) -> None:
        self.bind(node.id) if isinstance(node.ctx, ast.Store) else self.load({node.id})

    def visit_Attribute(self, node: ast.Attribute | ast.Subscript) -> None:
        self.generic_visit(node)
        if isinstance(node.ctx, ast.Store):
            self.changes.add(owner(node))

    visit_Subscript = visit_Attribute

    def visit_Assign(self, node: ast.Assign | ast.AnnAssign) -> None:
        if node.value is None:
            return
        self.visit(node.value)
        held = self.held(node.value)
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Attribute | ast.Subscript):
                held = held | self.known.get(owner(target), Later(set())).reads
            self.visit(target)
            for part in ast.walk(target):
                if isinstance(part, ast.Name) and held:
                    self.known[part.id] = Later(held)

    visit_AnnAssign = visit_Assign

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.load({owner(node.target)})
        self.visit(node.value)
        self.visit(node.target)

    def visit_Expr(self, node: ast.Expr) -> None:
        self.generic_visit(node)
        if isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
            name = owner(node.value.func)  # values.append(...) changes values
            if self.known.get(name) is not MODULE:
                self.changes.add(name)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        self.changes |= self.changed_by(node)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            name = (alias.asname or alias.name).partition(".")[0]
            self.bind(name)
            self.known[name] = MODULE

    visit_ImportFrom = visit_Import

    def visit_If(self, node: ast.stmt) -> None:
        outer, self.perhaps = self.perhaps, set(self.perhaps or ())
        if isinstance(node, ast.For):
            self.visit(node.iter)
        self.generic_visit(node)
        self.changes |= self.perhaps - self.binds
        self.perhaps = outer

    visit_For = visit_While = visit_Try = visit_If

    def visit_ListComp(self, node: ast.expr) -> None:
        self.load(names_of_notebook(ast.Expr(node)))
        for part in ast.walk(node):
            if isinstance(part, ast.Call):
                self.changes |= self.changed_by(part)

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_Lambda = visit_ListComp

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.ClassDef) -> None:
        is_class = isinstance(node, ast.ClassDef)
        now = node.bases if is_class else [*node.args.defaults, *filter(None, node.args.kw_defaults)]
        for part in (*now, *node.decorator_list):
            self.visit(part)
        self.bind(node.name)
        parts = [part for statement in node.body for part in ast.walk(statement)]
        outlives = is_class or any(isinstance(part, ast.FunctionDef | ast.Lambda) for part in parts)
        if is_class:
            self.known[node.name] = Later(names_of_notebook(node) - {node.name}, outlives=outlives)
            return
        arguments = node.args
        parameters = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        arguments.defaults, arguments.kw_defaults, node.decorator_list = (
            [],
            [None] * len(arguments.kwonlyargs),
            [],
        )
        reads = names_of_notebook(node) - {node.name}
        inside = Cell(dict(self.known))
        for statement in node.body:
            inside.visit(statement)
        changes = inside.changes & (reads | set(parameters))
        if any(isinstance(part, ast.Attribute) and part.attr in ("backward", "step") for part in parts):
            changes |= set(parameters)  # it trains what it is given
        self.known[node.name] = Later(reads, parameters, changes, outlives)

    visit_ClassDef = visit_FunctionDef

    def changed_by(self, call: ast.Call) -> set[str]:
        """The names that a call of a function of the notebook changes in place."""
        function = self.known.get(getattr(call.func, "id", ""), Later(set()))
        given = [
            *zip(function.parameters, call.args, strict=False),
            *((k.arg, k.value) for k in call.keywords),
        ]
        changed = {owner(value) for name, value in given if name in function.changes}
        return changed | (function.changes - set(function.parameters))

    def held(self, value: ast.expr) -> set[str]:
        """The names that a value reads when it is used later: functions in it, and what its lambdas read."""
        called = {id(part.func) for part in ast.walk(value) if isinstance(part, ast.Call)}
        held = set()
        for part in ast.walk(value):
            if isinstance(part, ast.Lambda):
                held |= names_of_notebook(ast.Expr(part))
            elif isinstance(part, ast.Name) and (later := self.known.get(part.id)):
                if id(part) not in called or later.outlives:
                    held.add(part.id)
        return held


def owner(node: ast.AST) -> str:
    """The name at the root of an attribute or item; "" where there is none."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def names_of_notebook(node: ast.stmt) -> set[str]:
    """The names of the notebook that a statement reads, in functions inside it too; not these functions' own names."""
    tables, names = [symtable.symtable(ast.unparse(node), "cell", "exec")], set()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        names |= {
            symbol.get_name()
            for symbol in table.get_symbols()
            if symbol.is_referenced() and (symbol.is_global() or table.get_type() == "module")
        }
    return names - set(dir(builtins))
