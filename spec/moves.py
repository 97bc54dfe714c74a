"""Where each neuron of a site was before a list of edits: the record that snapshots keep, followed."""

from __future__ import annotations

from collections.abc import Iterable

from nhnas.spec.apply import applied
from nhnas.spec.edits import AddNeurons, Edit, RemoveNeurons, Rename
from nhnas.spec.model import Architecture
from nhnas.spec.structure import sites

NEW = -1
Origins = dict[str, tuple[int, ...]]


def origins(arch: Architecture, edits: Iterable[Edit]) -> tuple[Architecture, Origins]:
    """The architecture after `edits`, and for each of its sites the old position of each neuron, or -1.

    A neuron that goes and comes back is a new one. Raises InputError where the edits do not fit.
    """
    found: Origins = {key: tuple(range(site.neurons)) for key, site in sites(arch).items()}
    for edit in edits:
        arch = applied(arch, edit)
        if isinstance(edit, AddNeurons | RemoveNeurons):
            found[edit.site] = _resized(found[edit.site], edit)
        elif isinstance(edit, Rename):
            found = {_renamed(key, edit): value for key, value in found.items()}
        else:
            found = _present(arch, found)
    return arch, found


def _resized(before: tuple[int, ...], edit: AddNeurons | RemoveNeurons) -> tuple[int, ...]:
    at = set(edit.at)
    if isinstance(edit, RemoveNeurons):
        return tuple(origin for n, origin in enumerate(before) if n not in at)
    kept = iter(before)
    return tuple(NEW if n in at else next(kept) for n in range(len(before) + len(at)))


def _renamed(key: str, edit: Rename) -> str:
    name, dot, rest = key.partition(".")
    return f"{edit.new if name == edit.old else name}{dot}{rest}"


def _present(arch: Architecture, found: Origins) -> Origins:
    """Sites that there are now; those that another edit brought begin with new neurons."""
    return {key: found.get(key, (NEW,) * site.neurons) for key, site in sites(arch).items()}
