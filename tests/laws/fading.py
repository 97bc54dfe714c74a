"""What weights look like at the end of fading, written from DESIGN §6 with plain loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from nhnas.spec.edits import RemoveNeurons
from nhnas.spec.model import Architecture
from nhnas.spec.structure import Leaf, leaves, nodes


def faded(
    arch: Architecture, leaving: Sequence[RemoveNeurons], tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Copies of `tensors` in which nothing that leaves is heard any more.

    Outgoing columns are 0. Where a residual empties its columns stay, and what writes its node's output
    from it is silenced instead; what empties inside it is unheard already, and held as it is.
    """
    result = {name: tensor.clone() for name, tensor in tensors.items()}
    sizes = {node.hidden_site: node.hidden for node in nodes(arch)}
    emptied = [e.site.removesuffix(".hidden") for e in leaving if len(e.at) == sizes.get(e.site)]
    for edit in leaving:
        path = edit.site.removesuffix(".hidden")
        if path in emptied:
            if not any(path.startswith(f"{outer}.") for outer in emptied):
                silence_residual(arch, path, result)
            continue
        for leaf in leaves(arch):
            if leaf.reads.site == edit.site:
                for neuron in edit.at:
                    per = leaf.reads.columns
                    result[f"{leaf.path}.weight"][:, neuron * per : (neuron + 1) * per] = 0.0
    return result


def silence_residual(arch: Architecture, path: str, tensors: dict[str, Tensor]) -> None:
    """Every leaf that writes the output of the node at `path` from its residual."""
    for leaf in leaves(arch):
        head, _, rest = leaf.path.partition(f"{path}.")
        if head == "" and set(rest.split(".")) == {"second"}:
            silence(leaf, tensors)


def silence(leaf: Leaf, tensors: dict[str, Tensor]) -> None:
    """Gain and offset of a norm to 0; without norm the weight."""
    if leaf.norm == "batch":
        tensors[f"{leaf.path}.norm.weight"].zero_()
        tensors[f"{leaf.path}.norm.bias"].zero_()
    else:
        tensors[f"{leaf.path}.weight"].zero_()
