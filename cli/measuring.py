"""The form in which a version is computed, measured on the network that is trained, and told."""

from __future__ import annotations

from nhnas.timing import computed_text, form_text
from nhnas.trainer.forms import measured
from nhnas.trainer.gradmax import first_samples
from nhnas.work import Work


def measure(work: Work) -> None:
    """Go on in the fastest form for the network as it is now, and say where it is not the one of before.

    A deterministic run measures nothing. To be called before anything is in the slot: who goes on from there
    computes as it says.
    """
    engine, known = work.engine, work.exact.get("numerics")
    before = None if known is None else form_text(known)
    numerics, timing = measured(work.numerics, engine.network, first_samples(engine), engine.train, before)
    if timing is None:
        return
    work.compute(numerics)
    work.facts["timing"] = timing.as_dict()
    if known != numerics.as_dict():
        told = computed_text(numerics.as_dict())
        work.context.report.say(f"{told}: the fastest as measured now (show --timing)")
