"""Warp kernel of the moments of channels, see `projection.py`: a row of pixels a thread, 16 channels at a time."""

# Kernels are Warp's language, not typed Python.
# mypy: ignore-errors

import warp as wp

from likeness.kernels import KERNEL_OPTIONS

wp.set_module_options({**KERNEL_OPTIONS, "fuse_fp": True})


@wp.func_native("""
    typedef float lanes __attribute__((vector_size(64), aligned(4)));
    const float* row = x.data + (size_t)index * columns * channels;
    for (int c = 0; c < channels; c += 16) {
        lanes sum = {}, squares = {};
        for (int p = 0; p < columns; ++p) sum += *(const lanes*)(row + (size_t)p * channels + c);
        const lanes mean = sum / (float)columns;
        for (int p = 0; p < columns; ++p) {
            const lanes off = *(const lanes*)(row + (size_t)p * channels + c) - mean;
            squares += off * off;
        }
        *(lanes*)(means.data + index * channels + c) = mean;
        *(lanes*)(deviations.data + index * channels + c) = squares;
    }
""")
def row_moments_of(
    x: wp.array1d(dtype=float),
    means: wp.array1d(dtype=float),
    deviations: wp.array1d(dtype=float),
    index: int,
    columns: int,
    channels: int,
): ...


@wp.kernel
def row_moments(
    x: wp.array1d(dtype=float),  # (N * H * W * C,)
    means: wp.array1d(dtype=float),  # (N * H * C,)
    deviations: wp.array1d(dtype=float),  # (N * H * C,) sum of squares about the row's mean
    columns: int,
    channels: int,
):
    row_moments_of(x, means, deviations, wp.tid(), columns, channels)
