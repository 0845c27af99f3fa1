"""Tensors in safetensors files: written whole or not at all, and read without running anything that is in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex

from torch import Tensor

PARTIAL = ".part"  # ends the name of a file that is being written


def save(path: str | Path, kind: str, tensors: dict[str, Tensor], facts: dict | None = None) -> None:
    """Write tensors, and facts that are plain JSON; nothing is left behind if writing fails.

    Raises OSError, of the kind that the system gave, where the file cannot be written: what was there before stays.
    """
    from safetensors.torch import save_file

    metadata = {"kind": kind, "facts": json.dumps(facts or {})}
    tensors = _apart({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
    _whole(Path(path), lambda partial: save_file(tensors, partial, metadata=metadata))


def save_json(path: str | Path, facts: dict) -> None:
    """Write plain JSON, as `save` writes tensors."""
    _whole(Path(path), lambda partial: partial.write_text(json.dumps(facts, indent=1), encoding="utf-8"))


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same, with copies of those that share memory, which the format refuses."""
    seen: set[int] = set()
    for name, value in tensors.items():
        storage = value.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != value.nbytes:
            tensors[name] = value.clone()
        seen.add(storage.data_ptr())
    return tensors


def _whole(path: Path, write: Callable[[Path], object]) -> None:
    """Have a file written under another name, which nobody else uses, and give it its own name when it is whole."""
    from safetensors import SafetensorError

    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent} to write {path.name} to. Make it first.")
    partial = path.with_name(f"{path.name}.{token_hex(4)}{PARTIAL}")
    try:
        write(partial)
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        kind = type(error) if isinstance(error, OSError) else OSError
        before = " What it held before is still there." if path.is_file() else ""
        raise kind(
            f"{path} could not be written ({error}). Free space on its disk or see to its permissions and save again, "
            f"or give another path.{before}"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def load(path: str | Path, kind: str, *others: str) -> tuple[dict[str, Tensor], dict]:
    """Tensors and facts of a file that `save` wrote. Raises FileNotFoundError or ValueError.

    Where it may be of several kinds, the fact "kind" says which.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).exists():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            found = metadata.get("kind")
            if found not in (kind, *others):
                raise ValueError(f"{path} is a safetensors file but holds no {kind}.")
            tensors, facts = (
                {name: file.get_tensor(name) for name in file.keys()},
                json.loads(metadata["facts"]),
            )
            return tensors, facts | ({"kind": found} if others else {})
    except (SafetensorError, OSError, json.JSONDecodeError, KeyError, RuntimeError) as error:
        raise ValueError(
            f"{path} cannot be read as a {kind} ({error}): it is cut off, empty or something else. Save it again."
        ) from error
