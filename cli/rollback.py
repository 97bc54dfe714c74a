"""Training that diverges goes back to its last good point, at half the rate, at most three times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from nhnas.commit import Saved
from nhnas.compiler.place import spec_key, store_folder
from nhnas.compiler.slot import Slot, read_slot, write_slot
from nhnas.opening import resume
from nhnas.out_of_memory import is_out_of_memory
from nhnas.spec.errors import TrainingError
from nhnas.work import Work

MOST = 3
"""Rollbacks of one version."""


def work_through(work: Work, work_on: Callable[[Work], Saved]) -> Saved:
    """`work_on(work)`; a loss, gradient, weight or statistic that is not finite costs at most an epoch.

    The good point is the last one between two epochs, wherever the command was interrupted since, so
    that it ends in the same bytes. Raises TrainingError after the third rollback, and where memory runs out.
    """
    while True:
        try:
            return work_on(work)
        except TrainingError as error:
            slot = _good_point(work)
            if slot is None or work.rollbacks == MOST:
                tried = f" after {work.rollbacks} rollbacks, each at half the rate" if work.rollbacks else ""
                raise TrainingError(f"{error}{tried}; nothing was saved; lower train.lr") from error
            count = work.rollbacks + 1
            work.context.report.say(
                f"{error}: back to the last good point, learning rate halved ({count} of {MOST})"
            )
            work = _back(work, slot, count)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            size = sum(parameter.numel() for parameter in work.engine.network.parameters())
            raise TrainingError(
                f"out of memory with {size:,} parameters; what grew is undone and version {work.version - 1} "
                "stays; lower train.batch, search.add or search.add_fraction"
            ) from error


def _good_point(work: Work) -> Slot | None:
    """What was saved last between two epochs of this version."""
    store, key = store_folder(work.context.spec), spec_key(work.context.spec)
    slot = read_slot(store, key, between_epochs=True)
    return slot if slot is not None and slot.data.get("version") == work.version else None


def _back(work: Work, slot: Slot, count: int) -> Work:
    """Work that goes on from `slot`; a kill from now on finds it with this count."""
    slot = replace(slot, goal=work.goal, data={**slot.data, "rollbacks": count})
    spec = work.context.spec
    write_slot(store_folder(spec), spec_key(spec), slot.goal, slot.tensors, slot.data)
    return resume(work.context, slot)
