"""Tensors in safetensors files: written whole or not at all, and read without running anything that is in them."""

from __future__ import annotations

import json
from pathlib import Path

from torch import Tensor


def save(path: str | Path, kind: str, tensors: dict[str, Tensor], facts: dict | None = None) -> None:
    """Write tensors, and facts that are plain JSON; nothing is left behind if writing fails."""
    from safetensors.torch import save_file

    path = Path(path)
    partial = path.with_name(path.name + ".part")
    # copies, since the format refuses tensors that share memory
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    try:
        save_file(tensors, partial, metadata={"kind": kind, "facts": json.dumps(facts or {})})
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict]:
    """Tensors and facts of a file that `save` wrote. Raises FileNotFoundError or ValueError."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).exists():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("kind") != kind:
                raise ValueError(f"{path} is a safetensors file but holds no {kind}.")
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            return tensors, json.loads(metadata["facts"])
    except (SafetensorError, OSError, json.JSONDecodeError, KeyError, RuntimeError) as error:
        raise ValueError(
            f"{path} cannot be read as a {kind} ({error}): it is cut off, empty or something else. Save it again."
        ) from error
