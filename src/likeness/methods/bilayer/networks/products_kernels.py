"""Warp kernels of `products.py`: the surroundings of pixels, and back, sixteen channels at a time.

Pictures lie with their channels last, (N, H, W, C). The surroundings of a pixel are 9 C numbers, the nine of a channel
side by side as they lie in a kernel (out, C, 3, 3). `pooled`: around every second pixel of the pictures averaged 2x2.
One thread takes one picture.
"""

# Kernels are Warp's language, not typed Python.
# mypy: ignore-errors

import warp as wp

from likeness.kernels import KERNEL_OPTIONS

wp.set_module_options(KERNEL_OPTIONS)


@wp.func_native("""
    typedef float lanes __attribute__((vector_size(64), aligned(4)));
    const int stride = pooled ? 2 : 1, side = pooled ? 4 : 3;
    const int down = rows / stride, across = columns / stride;
    const float* picture = pictures.data + (size_t)index * rows * columns * channels;
    float* out = around.data + (size_t)index * down * across * channels * 9;
    for (int row = 0; row < down; ++row)
        for (int column = 0; column < across; ++column)
            for (int c = 0; c < channels; c += 16, out += 144) {
                lanes d[4][4];
                for (int i = 0; i < side; ++i)
                    for (int j = 0; j < side; ++j) {
                        const int y = row * stride - 1 + i, x = column * stride - 1 + j;
                        if ((unsigned)x < (unsigned)columns && (unsigned)y < (unsigned)rows)
                            d[i][j] = *(const lanes*)(picture + ((size_t)y * columns + x) * channels + c);
                        else
                            d[i][j] = (lanes){};
                    }
                if (pooled)
                    for (int i = 0; i < 3; ++i)
                        for (int j = 0; j < 3; ++j)
                            d[i][j] = 0.25f * (d[i][j] + d[i][j + 1] + d[i + 1][j] + d[i + 1][j + 1]);
                for (int t = 0; t < 9; ++t) {
                    const lanes tap = d[t / 3][t % 3];
                    for (int l = 0; l < 16; ++l) out[l * 9 + t] = tap[l];
                }
            }
""")
def surround_picture(
    pictures: wp.array1d(dtype=float),
    around: wp.array1d(dtype=float),
    index: int,
    rows: int,
    columns: int,
    channels: int,
    pooled: int,
): ...


@wp.kernel
def surround(
    pictures: wp.array1d(dtype=float),
    around: wp.array1d(dtype=float),
    rows: int,
    columns: int,
    channels: int,
    pooled: int,
):
    surround_picture(pictures, around, wp.tid(), rows, columns, channels, pooled)


@wp.func_native("""
    typedef float lanes __attribute__((vector_size(64), aligned(4)));
    const int stride = pooled ? 2 : 1, side = pooled ? 4 : 3;
    const int down = rows / stride, across = columns / stride;
    float* picture = pictures.data + (size_t)index * rows * columns * channels;
    const float* in = around.data + (size_t)index * down * across * channels * 9;
    for (int row = 0; row < down; ++row)
        for (int column = 0; column < across; ++column)
            for (int c = 0; c < channels; c += 16, in += 144) {
                lanes d[4][4] = {};
                for (int t = 0; t < 9; ++t) {
                    lanes tap;
                    for (int l = 0; l < 16; ++l) tap[l] = in[l * 9 + t];
                    if (pooled) {
                        tap = 0.25f * tap;
                        for (int i = 0; i < 2; ++i)
                            for (int j = 0; j < 2; ++j) d[t / 3 + i][t % 3 + j] += tap;
                    } else
                        d[t / 3][t % 3] = tap;
                }
                for (int i = 0; i < side; ++i)
                    for (int j = 0; j < side; ++j) {
                        const int y = row * stride - 1 + i, x = column * stride - 1 + j;
                        if ((unsigned)x < (unsigned)columns && (unsigned)y < (unsigned)rows)
                            *(lanes*)(picture + ((size_t)y * columns + x) * channels + c) += d[i][j];
                    }
            }
""")
def spread_picture(
    around: wp.array1d(dtype=float),
    pictures: wp.array1d(dtype=float),
    index: int,
    rows: int,
    columns: int,
    channels: int,
    pooled: int,
): ...


@wp.kernel
def spread(
    around: wp.array1d(dtype=float),
    pictures: wp.array1d(dtype=float),
    rows: int,
    columns: int,
    channels: int,
    pooled: int,
):
    spread_picture(around, pictures, wp.tid(), rows, columns, channels, pooled)
