"""Warp kernel of StyleGAN2's doubling, see `stylegan2_ops.py`: a row of the result a thread, 16 channels at a time."""

# Kernels are Warp's language, not typed Python.
# mypy: ignore-errors

import warp as wp

from likeness.kernels import KERNEL_OPTIONS

wp.set_module_options({**KERNEL_OPTIONS, "fuse_fp": True})


# Taps 3/4 and 1/4 along either direction; outside the picture there are zeros.
@wp.func_native("""
    typedef float lanes __attribute__((vector_size(64), aligned(4)));
    const int sample = index / (2 * rows), row = index % (2 * rows);
    const int near = row / 2, far = row % 2 ? near + 1 : near - 1;
    const size_t width = (size_t)columns * channels;
    const float* close = x.data + ((size_t)sample * rows + near) * width;
    const bool inside = far >= 0 && far < rows;
    const float* other = inside ? x.data + ((size_t)sample * rows + far) * width : close;
    const float share = inside ? 0.25f * gain : 0.0f, most = 0.75f * gain;
    float* out = result.data + (size_t)index * 2 * width;
    for (int c = 0; c < channels; c += 16) {
        lanes before = {}, here = *(const lanes*)(close + c) * most + *(const lanes*)(other + c) * share;
        for (int p = 0; p < columns; ++p) {
            const size_t next = (size_t)(p + 1) * channels + c;
            lanes after = {};
            if (p + 1 < columns) after = *(const lanes*)(close + next) * most + *(const lanes*)(other + next) * share;
            float* pair = out + (size_t)(2 * p) * channels + c;
            *(lanes*)pair = here * 0.75f + before * 0.25f;
            *(lanes*)(pair + channels) = here * 0.75f + after * 0.25f;
            before = here;
            here = after;
        }
    }
""")
def doubled_row(
    x: wp.array1d(dtype=float),
    result: wp.array1d(dtype=float),
    index: int,
    rows: int,
    columns: int,
    channels: int,
    gain: float,
): ...


@wp.kernel
def doubled(
    x: wp.array1d(dtype=float),  # (N * H * W * C,)
    result: wp.array1d(dtype=float),  # (N * 2 H * 2 W * C,)
    rows: int,
    columns: int,
    channels: int,
    gain: float,
):
    doubled_row(x, result, wp.tid(), rows, columns, channels, gain)
