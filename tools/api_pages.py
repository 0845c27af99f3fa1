"""The reference of bdlcore as Markdown pages, one a room, from signatures and docstrings.

A docstring here is plain text that reads well in a terminal: paragraphs, `code`, indented equations, tables, lists, and
the sections *Args*, *Attributes*, *Returns*, *Raises*. This turns it into MyST Markdown without changing a word:
equations stay as they are, in a block of their own, and the names of public things become links.
"""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType

import bdlcore

SECTIONS = ("Args", "Attributes", "Returns", "Raises", "Source")
ENTRIES = ("Args", "Attributes")
SPECIAL = re.compile(r"([\\*_<>\[\]$#{}~])")
PLACE = re.compile(r" at 0x[0-9a-f]+")


@dataclass(frozen=True)
class Entry:
    """Something that a page describes: `bdl.data.curve`, say, with what it is."""

    name: str
    value: object

    @property
    def kind(self) -> str:
        return "class" if inspect.isclass(self.value) else "function" if callable(self.value) else "data"


def pages() -> dict[str, str]:
    """Room -> its page in Markdown; `index` is the list of the rooms."""
    rooms = by_room()
    known = {
        name for entries in rooms.values() for entry in entries for name in (entry.name, *members(entry))
    }
    link = linker(known)
    lines = [
        "# bdlcore, name by name\n",
        "Everything is reached as `bdl.name` after `import bdlcore as bdl`.\n",
    ]
    lines += [f"{escaped(inspect.getdoc(bdlcore).split(chr(10))[0], link)}\n"]
    found = {}
    lines += ["| room | what is in it |", "|---|---|"]
    for room, entries in sorted(rooms.items()):
        names = ", ".join(link(entry.name.removeprefix("bdl.")) for entry in entries)
        lines.append(f"| [{title(room)}]({room}.md) | {names} |")
        found[room] = page(room, entries, link)
    toctree = "\n".join(["```{toctree}", ":hidden:", "", *sorted(rooms), "```"])
    return {"index": "\n".join([*lines, "", toctree, ""]), **found}


def title(room: str) -> str:
    return room.replace("_", " ").capitalize()


def by_room() -> dict[str, list[Entry]]:
    """The public names of bdlcore by the room that their module is in; a public module brings its functions."""
    rooms: dict[str, list[Entry]] = defaultdict(list)
    top = {id(getattr(bdlcore, name)) for name in bdlcore.__all__}
    for name in bdlcore.__all__:
        value = getattr(bdlcore, name)
        if not isinstance(value, ModuleType):
            rooms[value.__module__.split(".")[1]].append(Entry(f"bdl.{name}", value))
            continue
        room = value.__name__.split(".")[1]
        for inner in public_names(value):
            part = getattr(value, inner)
            if id(part) not in top and not isinstance(part, ModuleType):
                rooms[room].append(Entry(f"bdl.{name}.{inner}", part))
    return rooms


def public_names(module: ModuleType) -> list[str]:
    own = [
        name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
    ]
    return list(getattr(module, "__all__", [name for name in own if not name.startswith("_")]))


def page(room: str, entries: list[Entry], link: Callable[[str], str]) -> str:
    parent = getattr(bdlcore, room, None)
    intro = inspect.getdoc(parent) if isinstance(parent, ModuleType) else None
    parts = [f"# {title(room)}\n"]
    if intro:
        parts.append(markdown(intro, link))
    for entry in entries:
        parts.append(described(entry, link))
    return "\n".join(parts)


def described(entry: Entry, link: Callable[[str], str]) -> str:
    """A heading and a Python-domain directive, whose body is the docstring in Markdown."""
    short = entry.name.removeprefix("bdl.")
    head = f"## {escaped(short, str)}\n"
    if entry.kind == "data":
        shown = repr(entry.value)
        body = f"`{shown if len(shown) <= 200 else shown[:200] + ' ...'}`"
        return f"{head}\n````{{py:data}} {entry.name}\n\n{body}\n````\n"
    own = members(entry)

    def within(code: str) -> str:
        """A class means its own members first."""
        name = f"{entry.name}.{code.removesuffix('()')}"
        return f"{{py:obj}}`{code} <{name}>`" if name in own else link(code)

    body = [markdown(inspect.getdoc(entry.value) or "", within)]
    for name, member in own.items():
        body.append(member_text(name, member, member_doc(entry.value, name.rpartition(".")[2]), within))
    text = "\n".join(body)
    return f"{head}\n``````{{py:{entry.kind}}} {entry.name}{signature(entry.value)}\n\n{text}\n``````\n"


def members(entry: Entry) -> dict[str, object]:
    """The documented public methods and properties that bdlcore gives to a class, by full name."""
    if entry.kind != "class":
        return {}
    found = {}
    for name, value in inspect.getmembers_static(entry.value):
        plain = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        inner = plain.fget if isinstance(plain, property) else plain
        inner = getattr(inner, "func", inner)  # of a cached property
        from_here = getattr(inner, "__module__", "") or ""
        if not name.startswith("_") and inspect.isfunction(inner) and from_here.startswith("bdlcore"):
            found[f"{entry.name}.{name}"] = value
    order = {name: i for i, name in enumerate(vars(entry.value))}
    return dict(sorted(found.items(), key=lambda item: order.get(item[0].rpartition(".")[2], -1)))


def member_doc(owner: type, name: str) -> str:
    """A member's docstring, or that of the one in bdlcore which it overrides; none comes from another library."""
    classes = [base for base in owner.__mro__ if base.__module__.startswith("bdlcore") and name in vars(base)]
    return inspect.cleandoc(next(filter(None, (vars(base)[name].__doc__ for base in classes)), ""))


def member_text(name: str, value: object, doc: str, link: Callable[[str], str]) -> str:
    plain = value.__func__ if isinstance(value, classmethod | staticmethod) else value
    method = inspect.isfunction(plain)
    kind, call = (
        ("method", signature(plain, bound=not isinstance(value, staticmethod)))
        if method
        else ("property", "")
    )
    return f"`````{{py:{kind}}} {name}{call}\n\n{markdown(doc, link)}\n`````\n"


def signature(value: object, bound: bool = False) -> str:
    """As written, without the names of modules; a default that is an object shows as its type."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return "()"
    parameters = list(found.parameters.values())[1 if bound else 0 :]
    kept = []
    for parameter in parameters:
        default = parameter.default
        if default is not parameter.empty and (PLACE.search(repr(default)) or repr(default).startswith("<")):
            parameter = parameter.replace(default=Plain(getattr(default, "__name__", type(default).__name__)))
        kept.append(parameter)
    # not from a class: what its call returns is itself
    returned = found.return_annotation if inspect.isfunction(value) else found.empty
    text = str(found.replace(parameters=kept, return_annotation=returned))
    return re.sub(r"'([\w.\[\], |]+)'(?=[,)=\s]|$)", r"\1", text) if "'" in text else text


class Plain:
    """Shows as the given text."""

    def __init__(self, text: str):
        self.text = text

    def __repr__(self) -> str:
        return self.text


# --- a docstring in Markdown ---


def linker(known: set[str]) -> Callable[[str], str]:
    """A function that turns `code` into a link where it names something public, and into code elsewhere."""

    def link(code: str) -> str:
        name = code.removeprefix("bdl.").removesuffix("()")
        return f"{{py:obj}}`{code} <bdl.{name}>`" if f"bdl.{name}" in known else f"`{code}`"

    return link


def escaped(text: str, link: Callable[[str], str]) -> str:
    """Plain text with nothing in it that Markdown would take for markup, except its `code`."""
    parts = re.split(r"`([^`]+)`", text)
    return "".join(link(part) if i % 2 else SPECIAL.sub(r"\\\1", part) for i, part in enumerate(parts))


def blocks(text: str) -> Iterator[list[str]]:
    """The parts of a docstring: a section with all that is indented below it, or what stands between blank lines."""
    block: list[str] = []
    for line in [*text.splitlines(), ""]:
        heading = line.rstrip(":") in SECTIONS and line.endswith(":")
        inside = bool(block) and block[0].rstrip(":") in SECTIONS and block[0].endswith(":")
        ends = heading or (not line.startswith(" ") if inside and line else not line)
        if not inside and block and line and line.startswith("    ") != block[-1].startswith("    "):
            ends = True  # an equation right below its sentence
        if ends and block:
            yield block
            block = []
        if line or inside:
            block.append(line)
    if any(block):
        yield block


def markdown(text: str, link: Callable[[str], str]) -> str:
    parts = []
    for block in blocks(text):
        first = block[0]
        if first.endswith(":") and first.rstrip(":") in SECTIONS:
            parts.append(section(first.rstrip(":"), [line[4:] for line in block[1:]], link))
        elif first.startswith((">>>", "    ")):
            language = "python" if first.lstrip().startswith(">>>") else "text"
            code = inspect.cleandoc("\n" + "\n".join(block))
            parts.append(f"```{language}\n{code}\n```")
        elif first.startswith("|"):
            parts.append("\n".join(escaped(line, link) for line in block))
        else:
            parts.append("\n".join(escaped_line(line, link) for line in block))
    return "\n\n".join(parts) + "\n"


def escaped_line(line: str, link: Callable[[str], str]) -> str:
    mark, rest = re.match(r"(\s*(?:- |\* |\d+\. )?)(.*)", line).groups()
    return mark + escaped(rest, link)


def section(name: str, lines: list[str], link: Callable[[str], str]) -> str:
    if name not in ENTRIES:
        return f"**{name}** " + " ".join(escaped(line.strip(), link) for line in lines if line.strip())
    entries: list[list[str]] = []
    for line in lines:
        if line and not line.startswith(" "):
            entries.append([line])
        elif line.strip() and entries:
            entries[-1].append(line.strip())
    shown = [f"**{name}**", ""]
    for head, *rest in entries:
        names, colon, told = head.partition(": ")
        if not colon:
            names, told = head.rstrip(":"), ""
        shown += [", ".join(f"`{each.strip()}`" for each in names.split(",")), ": " + escaped(told, link)]
        for line in rest:
            choice = re.match(r'"[\w-]+":', line)
            shown += ["", f"  - {escaped(line, link)}"] if choice else ["  " + escaped(line, link)]
        shown.append("")
    return "\n".join(shown)
