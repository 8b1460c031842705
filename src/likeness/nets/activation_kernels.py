"""Warp kernels of what follows a StyleGAN2 convolution, see `activation.py`: a row of pixels a thread, 16 channels at a
time, pictures with their channels last."""

# Kernels are Warp's language, not typed Python.
# mypy: ignore-errors

import warp as wp

from likeness.kernels import KERNEL_OPTIONS

# Nothing here rests on the rounding of single products, and a fused multiply-add rounds once less.
wp.set_module_options({**KERNEL_OPTIONS, "fuse_fp": True})


@wp.func_native("""
    typedef float lanes __attribute__((vector_size(64), aligned(4)));
    const int sample = index / rows;
    const float* random = noise.data + (size_t)(noises == 1 ? index % rows : index) * columns;
    const lanes high = bound - (lanes){}, low = -bound / leak - (lanes){};
    float* pixel = x.data + (size_t)index * columns * channels;
    for (int p = 0; p < columns; ++p, pixel += channels) {
        const float added = noises ? random[p] * strength.data[0] : 0.0f;
        for (int c = 0; c < channels; c += 16) {
            lanes y = *(lanes*)(pixel + c) * *(const lanes*)(scale.data + sample * channels + c)
                + (*(const lanes*)(bias.data + c) + added);
            y *= gain;
            y = y < high ? y : high;
            y = y > low ? y : low;
            *(lanes*)(pixel + c) = y > 0.0f ? y : y * leak;
        }
    }
""")
def activate_row(
    x: wp.array1d(dtype=float),
    scale: wp.array1d(dtype=float),
    bias: wp.array1d(dtype=float),
    noise: wp.array1d(dtype=float),
    strength: wp.array1d(dtype=float),
    index: int,
    rows: int,
    columns: int,
    channels: int,
    noises: int,
    gain: float,
    leak: float,
    bound: float,
): ...


@wp.kernel
def activate(
    x: wp.array1d(dtype=float),  # (N * H * W * C,), overwritten
    scale: wp.array1d(dtype=float),  # (N * C,)
    bias: wp.array1d(dtype=float),  # (C,)
    noise: wp.array1d(dtype=float),  # (noises * H * W,)
    strength: wp.array1d(dtype=float),  # (1,)
    rows: int,
    columns: int,
    channels: int,
    noises: int,  # 0, 1 or N
    gain: float,
    leak: float,
    bound: float,
):
    activate_row(x, scale, bias, noise, strength, wp.tid(), rows, columns, channels, noises, gain, leak, bound)


@wp.func_native("""
    typedef float lanes __attribute__((vector_size(64), aligned(4)));
    const int sample = index / rows;
    const size_t first = (size_t)index * columns * channels;
    const float* random = noise.data + (size_t)(noises == 1 ? index % rows : index) * columns;
    const float amount = noises ? strength.data[0] : 0.0f, back = 1.0f / leak, inverse_gain = 1.0f / gain;
    // What was clamped has no slope; the bound below is met up to rounding.
    const lanes high = bound - (lanes){}, low = bound * -0.999999f - (lanes){}, none = {};
    lanes along_noise = {};
    // A few blocks of channels at a time: their sums stay in registers, and a pixel's share is some whole cache lines.
    struct Four { enum { count = 4 }; };
    struct One { enum { count = 1 }; };
    auto blocks = [&](auto kind, int c) {
        constexpr int count = decltype(kind)::count;
        lanes sum[count] = {}, moment[count] = {}, drawn_sum[count] = {}, factor[count], offset[count];
        for (int k = 0; k < count; ++k) {
            factor[k] = *(const lanes*)(scale.data + sample * channels + c + 16 * k) * gain;
            offset[k] = *(const lanes*)(bias.data + c + 16 * k);
        }
        for (int p = 0; p < columns; ++p) {
            const size_t place = first + (size_t)p * channels + c;
            const float drawn = noises ? random[p] : 0.0f, added = drawn * amount;
            #pragma unroll
            for (int k = 0; k < count; ++k) {
                const lanes value = *(const lanes*)(y.data + place + 16 * k);
                lanes g = *(const lanes*)(gradient.data + place + 16 * k);
                g = value > 0.0f ? g : g * leak;
                g = value < high ? g : none;
                g = value > low ? g : none;
                sum[k] += g;
                moment[k] += g * ((value > 0.0f ? value : value * back) * inverse_gain - (offset[k] + added));
                drawn_sum[k] += g * drawn;
                *(lanes*)(of_x.data + place + 16 * k) = g * factor[k];
            }
        }
        for (int k = 0; k < count; ++k) {
            along_noise += drawn_sum[k];
            *(lanes*)(sums.data + index * channels + c + 16 * k) = sum[k] * gain;
            *(lanes*)(moments.data + index * channels + c + 16 * k) = moment[k] * gain;
        }
    };
    int c = 0;
    for (; c + 64 <= channels; c += 64) blocks(Four(), c);
    for (; c < channels; c += 16) blocks(One(), c);
    float total = 0.0f;
    for (int l = 0; l < 16; ++l) total += along_noise[l];
    of_strength.data[index] = total * gain;
""")
def activate_row_backward(
    gradient: wp.array1d(dtype=float),
    y: wp.array1d(dtype=float),
    scale: wp.array1d(dtype=float),
    bias: wp.array1d(dtype=float),
    noise: wp.array1d(dtype=float),
    strength: wp.array1d(dtype=float),
    of_x: wp.array1d(dtype=float),
    sums: wp.array1d(dtype=float),
    moments: wp.array1d(dtype=float),
    of_strength: wp.array1d(dtype=float),
    index: int,
    rows: int,
    columns: int,
    channels: int,
    noises: int,
    gain: float,
    leak: float,
    bound: float,
): ...


@wp.kernel
def activate_backward(
    gradient: wp.array1d(dtype=float),
    y: wp.array1d(dtype=float),
    scale: wp.array1d(dtype=float),
    bias: wp.array1d(dtype=float),
    noise: wp.array1d(dtype=float),
    strength: wp.array1d(dtype=float),
    of_x: wp.array1d(dtype=float),
    sums: wp.array1d(dtype=float),  # (N * H * C,) of the gradient before scaling
    moments: wp.array1d(dtype=float),  # (N * H * C,) of it times what was scaled
    of_strength: wp.array1d(dtype=float),  # (N * H,)
    rows: int,
    columns: int,
    channels: int,
    noises: int,
    gain: float,
    leak: float,
    bound: float,
):
    activate_row_backward(
        gradient, y, scale, bias, noise, strength, of_x, sums, moments, of_strength, wp.tid(), rows, columns, channels,
        noises, gain, leak, bound,
    )  # fmt: skip
