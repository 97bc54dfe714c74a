"""`nhnas show --timing`: how fast each form of a version's network was when it was measured; never torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nhnas.compiler.history import load_info
from nhnas.compiler.place import store_folder
from nhnas.spec.document import Document


def timing_of(document: Document, spec: Path) -> dict[str, Any] | None:
    """`numerics` (device, precision, …) and `timing` (samples, milliseconds by form and by threads) of the
    version that the file names; `timing` None where it was not measured; None for an untrained file.

    Raises InputError where the version is damaged or not in the store.
    """
    if document.state is None:
        return None
    state = load_info(store_folder(spec), document.state).state
    return {"numerics": state["exact"]["numerics"], "timing": state["info"]["facts"].get("timing")}


def timing_text(found: dict[str, Any] | None) -> str:
    """A line for what was chosen, and one for each form that was measured, fastest first."""
    if found is None:
        return "timing: untrained, nothing was measured yet"
    numerics, timing = found["numerics"], found["timing"]
    title, chosen = computed_text(numerics), form_text(numerics)
    if timing is None:
        why = " (train.deterministic)" if numerics["deterministic"] else ""
        return f"{title}; not measured{why}"
    rows = sorted(timing["forms"].items(), key=lambda row: row[1])
    width = max(len(name) for name, _ in rows)
    lines = [
        f"  {name:<{width}}  {milli:9.3f} ms{'  chosen' if name == chosen else ''}" for name, milli in rows
    ]
    lines += [f"  {precision} gives another loss: not taken" for precision in timing.get("refused", ())]
    more = [f"  threads {threads}: {milli:.3f} ms" for threads, milli in timing["threads"].items()]
    head = f"{title}; forward and back over {timing['samples']} samples, fastest of some passes:"
    return "\n".join([head, *lines, *more])


def computed_text(numerics: Mapping[str, Any]) -> str:
    """`computed on cpu with 2 threads, bfloat16 channels_last plain`."""
    threads = numerics["threads"]
    return (
        f"computed on {numerics['device']} with {threads} thread{'s' * (threads != 1)}, {form_text(numerics)}"
    )


def form_text(numerics: Mapping[str, Any]) -> str:
    """`bfloat16 channels_last plain`: the name of a form in `timing`."""
    fused = "fused" if numerics.get("fused") else "plain"
    return f"{numerics['precision']} {numerics['memory_format']} {fused}"
