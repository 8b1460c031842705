"""Warp kernels of the Winograd convolution, see `winograd.py`: the tile transforms, sixteen channels at a time.

Pictures lie with their channels last, (N, H, W, C); transformed tiles as (36, tiles, C), so that each of the 36 places
of a tile is one matrix. The numbers are those of the points 0, 3/4, -3/4, 3/2, -3/2 and infinity, all exact in binary.
"""

# Kernels are Warp's language, not typed Python.
# mypy: ignore-errors

import warp as wp

from likeness.kernels import KERNEL_OPTIONS

# Nothing here rests on the rounding of single products, and a fused multiply-add rounds once less.
wp.set_module_options({**KERNEL_OPTIONS, "fuse_fp": True})


# B^T d B of the 6 x 6 picture tile that begins at the padding's corner.
@wp.func_native("""
    typedef float lanes __attribute__((vector_size(64), aligned(4)));
    const int across = (columns + 2 * padding + 1) / 4, down = (rows + 2 * padding + 1) / 4;
    const int tile = first + index;
    const int left = tile % across * 4 - padding, top = tile / across % down * 4 - padding;
    const float* picture = pictures.data + (size_t)(tile / (across * down)) * rows * columns * channels;
    const size_t place = (size_t)tiles * channels;
    for (int c = 0; c < channels; c += 16) {
        lanes half[6][6];
        for (int j = 0; j < 6; ++j) {
            lanes d[6];
            const int x = left + j;
            for (int i = 0; i < 6; ++i) {
                const int y = top + i;
                if ((unsigned)x < (unsigned)columns && (unsigned)y < (unsigned)rows)
                    d[i] = *(const lanes*)(picture + ((size_t)y * columns + x) * channels + c);
                else
                    d[i] = (lanes){};
            }
            const lanes a = d[4] - 2.25f * d[2], b = 0.75f * d[3] - 1.6875f * d[1];
            const lanes e = d[4] - 0.5625f * d[2], f = 1.5f * d[3] - 0.84375f * d[1];
            half[0][j] = 1.265625f * d[0] - 2.8125f * d[2] + d[4];
            half[1][j] = a + b;
            half[2][j] = a - b;
            half[3][j] = e + f;
            half[4][j] = e - f;
            half[5][j] = 1.265625f * d[1] - 2.8125f * d[3] + d[5];
        }
        for (int i = 0; i < 6; ++i) {
            const lanes* d = half[i];
            const lanes a = d[4] - 2.25f * d[2], b = 0.75f * d[3] - 1.6875f * d[1];
            const lanes e = d[4] - 0.5625f * d[2], f = 1.5f * d[3] - 0.84375f * d[1];
            float* out = transformed.data + i * 6 * place + (size_t)index * channels + c;
            *(lanes*)out = 1.265625f * d[0] - 2.8125f * d[2] + d[4];
            *(lanes*)(out + place) = a + b;
            *(lanes*)(out + 2 * place) = a - b;
            *(lanes*)(out + 3 * place) = e + f;
            *(lanes*)(out + 4 * place) = e - f;
            *(lanes*)(out + 5 * place) = 1.265625f * d[1] - 2.8125f * d[3] + d[5];
        }
    }
""")
def transform_input_tile(
    pictures: wp.array1d(dtype=float),
    transformed: wp.array1d(dtype=float),
    index: int,
    first: int,
    tiles: int,
    rows: int,
    columns: int,
    channels: int,
    padding: int,
): ...


@wp.kernel
def transform_input(
    pictures: wp.array1d(dtype=float),
    transformed: wp.array1d(dtype=float),
    first: int,
    tiles: int,
    rows: int,
    columns: int,
    channels: int,
    padding: int,
):
    transform_input_tile(pictures, transformed, wp.tid(), first, tiles, rows, columns, channels, padding)


# A^T m A: the 4 x 4 results of a tile, with the bias.
@wp.func_native("""
    typedef float lanes __attribute__((vector_size(64), aligned(4)));
    const int across = (columns + 3) / 4, down = (rows + 3) / 4;
    const int tile = first + index;
    const int left = tile % across * 4, top = tile / across % down * 4;
    float* picture = pictures.data + (size_t)(tile / (across * down)) * rows * columns * channels;
    const size_t place = (size_t)tiles * channels;
    for (int c = 0; c < channels; c += 16) {
        const float* in = products.data + (size_t)index * channels + c;
        const lanes offset = *(const lanes*)(bias.data + c);
        lanes half[4][6];
        for (int j = 0; j < 6; ++j) {
            lanes m[6];
            for (int i = 0; i < 6; ++i) m[i] = *(const lanes*)(in + (i * 6 + j) * place);
            const lanes a = m[1] + m[2], b = m[1] - m[2], e = m[3] + m[4], f = m[3] - m[4];
            half[0][j] = m[0] + a + e;
            half[1][j] = 0.75f * b + 1.5f * f;
            half[2][j] = 0.5625f * a + 2.25f * e;
            half[3][j] = 0.421875f * b + 3.375f * f + m[5];
        }
        for (int i = 0; i < 4 && top + i < rows; ++i) {
            const lanes* m = half[i];
            const lanes a = m[1] + m[2], b = m[1] - m[2], e = m[3] + m[4], f = m[3] - m[4];
            const lanes result[4] = {m[0] + a + e, 0.75f * b + 1.5f * f, 0.5625f * a + 2.25f * e,
                                     0.421875f * b + 3.375f * f + m[5]};
            float* out = picture + ((size_t)(top + i) * columns + left) * channels + c;
            for (int j = 0; j < 4 && left + j < columns; ++j)
                *(lanes*)(out + (size_t)j * channels) = result[j] + offset;
        }
    }
""")
def transform_output_tile(
    products: wp.array1d(dtype=float),
    bias: wp.array1d(dtype=float),
    pictures: wp.array1d(dtype=float),
    index: int,
    first: int,
    tiles: int,
    rows: int,
    columns: int,
    channels: int,
): ...


@wp.kernel
def transform_output(
    products: wp.array1d(dtype=float),
    bias: wp.array1d(dtype=float),
    pictures: wp.array1d(dtype=float),
    first: int,
    tiles: int,
    rows: int,
    columns: int,
    channels: int,
):
    transform_output_tile(products, bias, pictures, wp.tid(), first, tiles, rows, columns, channels)


# A g A^T: the 4 x 4 gradients of a tile's results, spread over its 36 products.
@wp.func_native("""
    typedef float lanes __attribute__((vector_size(64), aligned(4)));
    const int across = (columns + 3) / 4, down = (rows + 3) / 4;
    const int tile = first + index;
    const int left = tile % across * 4, top = tile / across % down * 4;
    const float* picture = gradients.data + (size_t)(tile / (across * down)) * rows * columns * channels;
    const size_t place = (size_t)tiles * channels;
    for (int c = 0; c < channels; c += 16) {
        lanes half[6][4];
        for (int j = 0; j < 4; ++j) {
            lanes g[4];
            for (int i = 0; i < 4; ++i)
                if (left + j < columns && top + i < rows)
                    g[i] = *(const lanes*)(picture + ((size_t)(top + i) * columns + left + j) * channels + c);
                else
                    g[i] = (lanes){};
            const lanes a = g[0] + 0.5625f * g[2], b = 0.75f * g[1] + 0.421875f * g[3];
            const lanes e = g[0] + 2.25f * g[2], f = 1.5f * g[1] + 3.375f * g[3];
            half[0][j] = g[0];
            half[1][j] = a + b;
            half[2][j] = a - b;
            half[3][j] = e + f;
            half[4][j] = e - f;
            half[5][j] = g[3];
        }
        for (int i = 0; i < 6; ++i) {
            const lanes* g = half[i];
            const lanes a = g[0] + 0.5625f * g[2], b = 0.75f * g[1] + 0.421875f * g[3];
            const lanes e = g[0] + 2.25f * g[2], f = 1.5f * g[1] + 3.375f * g[3];
            float* out = transformed.data + i * 6 * place + (size_t)index * channels + c;
            *(lanes*)out = g[0];
            *(lanes*)(out + place) = a + b;
            *(lanes*)(out + 2 * place) = a - b;
            *(lanes*)(out + 3 * place) = e + f;
            *(lanes*)(out + 4 * place) = e - f;
            *(lanes*)(out + 5 * place) = g[3];
        }
    }
""")
def transform_gradient_tile(
    gradients: wp.array1d(dtype=float),
    transformed: wp.array1d(dtype=float),
    index: int,
    first: int,
    tiles: int,
    rows: int,
    columns: int,
    channels: int,
): ...


@wp.kernel
def transform_gradient(
    gradients: wp.array1d(dtype=float),
    transformed: wp.array1d(dtype=float),
    first: int,
    tiles: int,
    rows: int,
    columns: int,
    channels: int,
):
    transform_gradient_tile(gradients, transformed, wp.tid(), first, tiles, rows, columns, channels)


# G g G^T of one output channel's filters, for all input channels; `turned` takes them by half a turn.
@wp.func_native("""
    typedef float lanes __attribute__((vector_size(64), aligned(4)));
    const float* filter = filters.data + (size_t)index * channels * 9;
    const size_t place = (size_t)outputs * channels;
    for (int c = 0; c < channels; c += 16) {
        lanes g[3][3], half[6][3];
        for (int k = 0; k < 9; ++k)
            for (int l = 0; l < 16; ++l) g[k / 3][k % 3][l] = filter[(size_t)(c + l) * 9 + (turned ? 8 - k : k)];
        for (int j = 0; j < 3; ++j) {
            const lanes a = -g[0][j] / 1.8984375f - g[2][j] / 3.375f, b = g[1][j] / -2.53125f;
            const lanes e = g[0][j] / 7.59375f + g[2][j] / 3.375f, f = g[1][j] / 5.0625f;
            half[0][j] = g[0][j] / 1.265625f;
            half[1][j] = a + b;
            half[2][j] = a - b;
            half[3][j] = e + f;
            half[4][j] = e - f;
            half[5][j] = g[2][j];
        }
        for (int i = 0; i < 6; ++i) {
            const lanes* h = half[i];
            const lanes a = -h[0] / 1.8984375f - h[2] / 3.375f, b = h[1] / -2.53125f;
            const lanes e = h[0] / 7.59375f + h[2] / 3.375f, f = h[1] / 5.0625f;
            float* out = transformed.data + i * 6 * place + (size_t)index * channels + c;
            *(lanes*)out = h[0] / 1.265625f;
            *(lanes*)(out + place) = a + b;
            *(lanes*)(out + 2 * place) = a - b;
            *(lanes*)(out + 3 * place) = e + f;
            *(lanes*)(out + 4 * place) = e - f;
            *(lanes*)(out + 5 * place) = h[2];
        }
    }
""")
def transform_filters_of(
    filters: wp.array1d(dtype=float),
    transformed: wp.array1d(dtype=float),
    index: int,
    outputs: int,
    channels: int,
    turned: int,
): ...


@wp.kernel
def transform_filters(
    filters: wp.array1d(dtype=float), transformed: wp.array1d(dtype=float), outputs: int, channels: int, turned: int
):
    transform_filters_of(filters, transformed, wp.tid(), outputs, channels, turned)


# G^T u G: the gradient of one output channel's filters, from that of their transforms.
@wp.func_native("""
    typedef float lanes __attribute__((vector_size(64), aligned(4)));
    float* filter = filters.data + (size_t)index * channels * 9;
    const size_t place = (size_t)outputs * channels;
    for (int c = 0; c < channels; c += 16) {
        const float* in = transformed.data + (size_t)index * channels + c;
        lanes half[3][6];
        for (int j = 0; j < 6; ++j) {
            lanes u[6];
            for (int i = 0; i < 6; ++i) u[i] = *(const lanes*)(in + (i * 6 + j) * place);
            const lanes a = u[1] + u[2], e = u[3] + u[4];
            half[0][j] = u[0] / 1.265625f - a / 1.8984375f + e / 7.59375f;
            half[1][j] = (u[2] - u[1]) / 2.53125f + (u[3] - u[4]) / 5.0625f;
            half[2][j] = (e - a) / 3.375f + u[5];
        }
        for (int i = 0; i < 3; ++i) {
            const lanes* u = half[i];
            const lanes a = u[1] + u[2], e = u[3] + u[4];
            const lanes result[3] = {u[0] / 1.265625f - a / 1.8984375f + e / 7.59375f,
                                     (u[2] - u[1]) / 2.53125f + (u[3] - u[4]) / 5.0625f, (e - a) / 3.375f + u[5]};
            for (int j = 0; j < 3; ++j)
                for (int l = 0; l < 16; ++l) filter[(size_t)(c + l) * 9 + i * 3 + j] = result[j][l];
        }
    }
""")
def gather_filters_of(
    transformed: wp.array1d(dtype=float), filters: wp.array1d(dtype=float), index: int, outputs: int, channels: int
): ...


@wp.kernel
def gather_filters(transformed: wp.array1d(dtype=float), filters: wp.array1d(dtype=float), outputs: int, channels: int):
    gather_filters_of(transformed, filters, wp.tid(), outputs, channels)
