"""What running a graph costs, in multiply-accumulates of a convolution for one sample.

Measured at batch 64 on one core with AVX-512, torch 2.14, channels_last maps of 8 to 32 pixels, as time over
that of one multiply-accumulate of a wide convolution (float32: 60 a nanosecond, bfloat16: 120). Where the two
precisions differ the number stands between them, so that both are within 5% of the best of the choices that
were tried, for networks of 46 k and 0.63 M parameters.
"""

from __future__ import annotations

CALL = 4_000
"""Of calling a function at all (2 to 5 µs), shared by the samples of a batch of about 64."""

CAT = 15
"""Of copying an element into a concatenation (6 to 13 in float32, 6 to 14 in bfloat16)."""

ADD = 80
"""Of adding an element of a slice (7 to 11 in float32; 27 to 320 in bfloat16, without vectors)."""

MEAN = 4
"""Of a cell of the kernel at an element in taking means (1 to 5), against one lane of a convolution."""

WINDOWS = 2**22
"""Largest matrix [k·k, H·W] that takes means: 16 MiB in float32."""

LANES = 16
"""Outputs that a convolution computes at once: 17 cost as much as 32."""


def padded(outputs: int) -> int:
    """Outputs as they are computed."""
    return -(-outputs // LANES) * LANES
