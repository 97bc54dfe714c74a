"""The memory of where neurons came and stayed: MA ← 0.8·MA + 0.2·ΔN once a step (DESIGN §6 Grow)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

KEEP = 0.8


def update(
    previous: Mapping[str, float],
    sites: Iterable[str],
    added: Mapping[str, int],
    removed: Mapping[str, int],
) -> dict[str, float]:
    """The moving averages of `sites` after a step that added and removed so many neurons of each.

    A site that is new starts at 0; one that is not among `sites` is forgotten.
    """
    return {
        site: KEEP * previous.get(site, 0.0) + (1.0 - KEEP) * (added.get(site, 0) - removed.get(site, 0))
        for site in sites
    }
