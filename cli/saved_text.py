"""What is said of a version as soon as it is saved."""

from __future__ import annotations

from nhnas.commit import Saved
from nhnas.log import edits_text, measure_text


def saved_text(saved: Saved) -> str:
    """Version, state, file, test figure and size; the edits and how far they moved the outputs."""
    size = f"{saved.totals['parameters']:,} parameters, {saved.totals['neurons']} neurons"
    return (
        f"version {saved.version} ({saved.state}) in {saved.path}: test {measure_text(saved.test)}, {size}\n"
        f"  edits: {edits_text(saved.edits)}; largest |Δoutput| {saved.max_change:.1e}"
    )
