"""Warp kernels of `passes.py` for a processor: a row of a picture a thread, 16 values at a time, channels last."""

# Kernels are Warp's language, not typed Python.
# mypy: ignore-errors

import warp as wp

from likeness.kernels import KERNEL_OPTIONS

# Nothing here rests on the rounding of single products, and a fused multiply-add rounds once less.
wp.set_module_options({**KERNEL_OPTIONS, "fuse_fp": True})


@wp.func_native("""
    typedef float lanes __attribute__((vector_size(64), aligned(4)));
    const size_t first = (size_t)index * columns;
    const float *p = predicted.data + first, *t = truth.data + first, *w = weight.data + first;
    float* r = result.data + first;
    lanes sums = {};
    int j = 0;
    for (; j + 16 <= columns; j += 16) {
        const lanes error = *(const lanes*)(p + j) - *(const lanes*)(t + j), factor = *(const lanes*)(w + j);
        const lanes weighted = error * (squared ? factor * factor : factor);
        sums += error * weighted;
        *(lanes*)(r + j) = weighted * scale;
    }
    float sum = 0.0f;
    for (; j < columns; ++j) {
        const float error = p[j] - t[j], weighted = error * (squared ? w[j] * w[j] : w[j]);
        sum += error * weighted;
        r[j] = weighted * scale;
    }
    for (int k = 0; k < 16; ++k) sum += sums[k];
    total.data[index] = sum;
""")
def _square_error_row(
    predicted: wp.array1d(dtype=float),
    truth: wp.array1d(dtype=float),
    weight: wp.array1d(dtype=float),
    result: wp.array1d(dtype=float),
    total: wp.array1d(dtype=float),
    index: int,
    columns: int,
    squared: bool,
    scale: float,
): ...


@wp.kernel
def square_error(
    predicted: wp.array1d(dtype=float),  # (B H W C,)
    truth: wp.array1d(dtype=float),
    weight: wp.array1d(dtype=float),
    result: wp.array1d(dtype=float),  # scale * weighted error
    total: wp.array1d(dtype=float),  # (B H,), the sum of each row
    columns: int,
    squared: bool,  # the weight is
    scale: float,
):
    _square_error_row(predicted, truth, weight, result, total, wp.tid(), columns, squared, scale)


@wp.func_native("""
    typedef float lanes __attribute__((vector_size(64), aligned(4)));
    const size_t first = (size_t)index * columns;
    const float *g = gradient.data + first, *t = texture.data + first;
    const float* f = factors.data + (size_t)(index / rows) * columns;
    float* r = result.data + first;
    // Three times 16 values hold whole colours.
    lanes sum[3] = {}, moment[3] = {};
    float channel[6] = {};
    int j = 0;
    for (; j + 48 <= columns; j += 48)
        for (int k = 0; k < 3; ++k) {
            const lanes value = *(const lanes*)(g + j + 16 * k);
            sum[k] += value;
            moment[k] += value * *(const lanes*)(t + j + 16 * k);
            *(lanes*)(r + j + 16 * k) = value * *(const lanes*)(f + j + 16 * k);
        }
    for (int k = 0; k < 48; ++k) {
        channel[k % 3] += moment[k / 16][k % 16];
        channel[3 + k % 3] += sum[k / 16][k % 16];
    }
    for (; j < columns; ++j) {
        channel[j % 3] += g[j] * t[j];
        channel[3 + j % 3] += g[j];
        r[j] = g[j] * f[j];
    }
    for (int k = 0; k < 6; ++k) totals.data[(size_t)index * 6 + k] = channel[k];
""")
def _scaled_backward_row(
    gradient: wp.array1d(dtype=float),
    texture: wp.array1d(dtype=float),
    factors: wp.array1d(dtype=float),
    result: wp.array1d(dtype=float),
    totals: wp.array1d(dtype=float),
    index: int,
    rows: int,
    columns: int,
): ...


@wp.kernel
def scaled_backward(
    gradient: wp.array1d(dtype=float),  # (B H W 3,)
    texture: wp.array1d(dtype=float),
    factors: wp.array1d(dtype=float),  # (B W 3,), the gains again and again
    result: wp.array1d(dtype=float),
    totals: wp.array1d(dtype=float),  # (B H 6,): of gains and of biases, the sum of each row
    rows: int,
    columns: int,
):
    _scaled_backward_row(gradient, texture, factors, result, totals, wp.tid(), rows, columns)


@wp.func_native("""
    typedef float lanes __attribute__((vector_size(64), aligned(4)));
    float* o = out.data + (size_t)index * columns;
    const float* t = texels.data + (size_t)(index % rows) * columns;
    int j = 0;
    for (; j + 16 <= columns; j += 16) {
        const lanes value = *(lanes*)(o + j) + *(const lanes*)(t + j);
        *(lanes*)(o + j) = value > 0.0f ? value : value * slope;
    }
    for (; j < columns; ++j) {
        const float value = o[j] + t[j];
        o[j] = value > 0.0f ? value : value * slope;
    }
""")
def _shift_and_rectify_row(
    out: wp.array1d(dtype=float),
    texels: wp.array1d(dtype=float),
    index: int,
    rows: int,
    columns: int,
    slope: float,
): ...


@wp.kernel
def shift_and_rectify(
    out: wp.array1d(dtype=float),  # (B H W C,), overwritten
    texels: wp.array1d(dtype=float),  # (H W C,), added to each picture
    rows: int,
    columns: int,
    slope: float,
):
    _shift_and_rectify_row(out, texels, wp.tid(), rows, columns, slope)


@wp.func_native("""
    typedef float lanes __attribute__((vector_size(64), aligned(4)));
    const size_t first = (size_t)index * columns * channels;
    for (int c = 0; c < channels; c += 16) {
        lanes sum = {};
        size_t place = first + c;
        for (int p = 0; p < columns; ++p, place += channels) {
            const lanes g = *(const lanes*)(gradient.data + place);
            const lanes before = *(const lanes*)(out.data + place) > 0.0f ? g : g * slope;
            sum += before;
            *(lanes*)(result.data + place) = before;
        }
        *(lanes*)(sums.data + (size_t)index * channels + c) = sum;
    }
""")
def _rectified_gradient_row(
    gradient: wp.array1d(dtype=float),
    out: wp.array1d(dtype=float),
    result: wp.array1d(dtype=float),
    sums: wp.array1d(dtype=float),
    index: int,
    columns: int,
    channels: int,
    slope: float,
): ...


@wp.kernel
def rectified_gradient(
    gradient: wp.array1d(dtype=float),  # (B H W C,), C a multiple of 16
    out: wp.array1d(dtype=float),
    result: wp.array1d(dtype=float),  # may be `gradient`
    sums: wp.array1d(dtype=float),  # (B H C,), of each row
    columns: int,
    channels: int,
    slope: float,
):
    _rectified_gradient_row(gradient, out, result, sums, wp.tid(), columns, channels, slope)


@wp.func_native("""
    const int sample = index / (height + 1), block_row = index % (height + 1);
    const int run = 2 * channels, length = width * run;
    for (int below = 0; below < 2; ++below) {
        const int y = 2 * block_row - 1 + below;
        if (y < 0 || y >= 2 * height) continue;
        const float* from = blocks.data + ((size_t)index * (width + 1) * 2 + below) * run;
        float* to = out.data + ((size_t)sample * 2 * height + y) * length;
        const float* added = texels.data + (size_t)y * length;
        for (int k = channels; k < run; ++k) to[k - channels] = from[k] + added[k - channels];
        for (int x = 1; x < width; ++x) {
            const int place = x * run - channels;
            const float* block = from + (size_t)x * 2 * run;
            for (int k = 0; k < run; ++k) to[place + k] = block[k] + added[place + k];
        }
        const float* last = from + (size_t)width * 2 * run;
        for (int k = 0; k < channels; ++k) to[length - channels + k] = last[k] + added[length - channels + k];
    }
""")
def _interleave_row(
    blocks: wp.array1d(dtype=float),
    texels: wp.array1d(dtype=float),
    out: wp.array1d(dtype=float),
    index: int,
    height: int,
    width: int,
    channels: int,
): ...


@wp.kernel
def interleave(
    blocks: wp.array1d(dtype=float),  # (B (H + 1) (W + 1) 2 2 C,): blocks of 2 x 2 pixels
    texels: wp.array1d(dtype=float),  # (2H 2W C,), added to each picture
    out: wp.array1d(dtype=float),  # (B 2H 2W C,): the blocks side by side without their outermost ring of pixels
    height: int,
    width: int,
    channels: int,
):
    _interleave_row(blocks, texels, out, wp.tid(), height, width, channels)
