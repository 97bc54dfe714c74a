"""How the incoming weights of neurons that growth adds begin: the key `search.newcomers`.

Their outgoing weights are zero whatever it says, so that growth leaves the function as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from nhnas.compiler.network import Network
from nhnas.spec.edits import AddNeurons
from nhnas.spec.structure import biases, leaves
from nhnas.trainer.gradmax import first_samples, set_rows
from nhnas.work import Work

SMALL = 0.1
"""Factor of what is heard of a newcomer at first with `newcomers: small`."""


def start_newcomers(work: Work, added: Sequence[AddNeurons]) -> None:
    """Change the rows that growth has just drawn for the neurons of `added`, as the settings say."""
    rows = {edit.site: edit.at for edit in added}
    network = work.engine.network
    if work.search.newcomers == "small":
        shrink_rows(network, rows, SMALL)
    elif work.search.newcomers == "gradmax":
        count = set_rows(network, first_samples(work.engine), work.engine.train, rows)
        total = sum(map(len, rows.values()))
        work.context.report.say(f"newcomers: {count} of {total} by gradmax, the others at random")


def shrink_rows(network: Network, rows: Mapping[str, Sequence[int]], factor: float) -> None:
    """Make what all leaves and biases write of these neurons, by site, so much smaller; in place.

    It is the weight of the leaf's norm where it has one, else its own: a norm undoes what its input is
    multiplied with. What a residual's first neurons bring along in `second` are rows of older neurons: they
    stay.
    """
    tensors, arch = network.tensors(), network.arch
    written = [
        (leaf.writes.site, f"{leaf.path}.{'weight' if leaf.norm == 'none' else 'norm.weight'}")
        for leaf in leaves(arch)
    ]
    written += [(node.writes.site, f"{node.path}.bias") for node in biases(arch)]
    with torch.no_grad():
        for site, name in written:
            if site in rows:
                tensors[name][list(rows[site])] *= factor
