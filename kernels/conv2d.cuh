// What both convolutions share: sizes, the accumulation of the forward pass, that of the weights' gradient, and the way back to
// conv2's input. Square kernel, stride 1, no padding. The kernels: conv2d_1.cu, conv2d_2.cu, inference.cu; the persistent kernel takes
// sizes and images from here, and sums its own way. Twin: host-trainer/src/engine/reference/conv2d.rs.
//
//     conv1: pixels [n][28][28] u8 -> y1 [n][6][24][24]          conv2: pool1 [n][6][12][12] -> y2 [n][16][8][8]
//
// Each thread computes four neighbouring outputs, so that every value loaded is used up to 20 times.
#pragma once

#include "avg_pool2d.cuh"

constexpr int TAPS = KERNEL * KERNEL;
constexpr int CONV1_MAP = CONV1_SIDE * CONV1_SIDE;
constexpr int CONV2_MAP = CONV2_SIDE * CONV2_SIDE;
constexpr int POOL1_MAP = POOL1_SIDE * POOL1_SIDE;
constexpr int POOL2_MAP = POOL2_SIDE * POOL2_SIDE;
constexpr int CONV1_OUT = CONV1_CHANNELS * CONV1_MAP;
constexpr int CONV2_OUT = CONV2_CHANNELS * CONV2_MAP;
constexpr int POOL1_OUT = CONV1_CHANNELS * POOL1_MAP;
constexpr int CONV1_WEIGHTS = CONV1_CHANNELS * TAPS;
constexpr int CONV2_WEIGHTS = CONV2_CHANNELS * CONV1_CHANNELS * TAPS;
constexpr int CONV1_LAYER = CONV1_WEIGHTS + CONV1_CHANNELS;
constexpr int CONV2_LAYER = CONV2_WEIGHTS + CONV2_CHANNELS;
// Inputs under four neighbouring outputs, rounded up to whole vectors.
constexpr int SPAN = VECTOR + KERNEL - 1;

static_assert(IMAGE_SIDE % VECTOR == 0 && CONV1_SIDE % VECTOR == 0 && POOL1_SIDE % VECTOR == 0 && CONV2_SIDE % VECTOR == 0 &&
                  SPAN % VECTOR == 0,
              "rows are loaded four values at a time");
static_assert(AT_CONV1_BIAS == AT_CONV1_WEIGHT + CONV1_WEIGHTS && AT_CONV2_BIAS == AT_CONV2_WEIGHT + CONV2_WEIGHTS,
              "a bias follows its weight");
static_assert(CONV_WEIGHTS == CONV1_WEIGHTS + CONV2_WEIGHTS, "the slots of the gradients");

// The bytes of a sample's example.
__device__ inline const unsigned char *pixels_of(const unsigned char *images, unsigned sample) {
    return images + static_cast<size_t>(example_of(sample)) * PIXELS;
}

// One sample, whose example's bytes are `pixels`, as shares of white, [28][28], into shared memory: mirrored and shifted as its
// word says, black where nothing is shifted in. Twin: host-trainer/src/data/augment.rs, function show. The caller synchronises.
__device__ inline void load_image(float *image, const unsigned char *pixels, unsigned sample) {
    const int right = shift_of(sample, SAMPLE_RIGHT_AT), down = shift_of(sample, SAMPLE_DOWN_AT);
    for (unsigned i = threadIdx.x; i < PIXELS; i += blockDim.x) {
        const int row = static_cast<int>(i / IMAGE_SIDE) - down, shifted = static_cast<int>(i % IMAGE_SIDE) - right;
        const int column = sample & SAMPLE_FLIP ? IMAGE_SIDE - 1 - shifted : shifted;
        const bool inside = row >= 0 && row < IMAGE_SIDE && column >= 0 && column < IMAGE_SIDE;
        image[i] = inside ? pixels[row * IMAGE_SIDE + column] / 255.0f : 0.0f;
    }
}

// The accumulation of every forward: OUT channels x four neighbours at (row, column) of a map `side` wide, from one input
// plane. `weight` is the kernel of the first output channel for this plane, the next channel's is `stride` further.
template <int OUT>
__device__ inline void conv2d_accumulate(float (&sums)[OUT][VECTOR], const float *plane, int side, int row, int column,
                                         const float *weight, int stride) {
    for (int i = 0; i < KERNEL; i++) {
        float x[SPAN];
        load_row(x, plane + (row + i) * side + column);
        for (int o = 0; o < OUT; o++) {
            for (int j = 0; j < KERNEL; j++) {
                const float w = weight[o * stride + i * KERNEL + j];
                for (int k = 0; k < VECTOR; k++) {
                    sums[o][k] += w * x[j + k];
                }
            }
        }
    }
}

// Four neighbours of conv1 in all channels. `image` and `layer` (weights, then biases) lie in shared memory.
__device__ inline void conv2d_1_at(float (&sums)[CONV1_CHANNELS][VECTOR], const float *image, const float *layer, int row,
                                   int column) {
    for (int c = 0; c < CONV1_CHANNELS; c++) {
        for (int k = 0; k < VECTOR; k++) {
            sums[c][k] = layer[CONV1_WEIGHTS + c];
        }
    }
    conv2d_accumulate(sums, image, IMAGE_SIDE, row, column, layer, TAPS);
}

// Four neighbours of conv2 in channel `o`. `pool` [6][12][12] and `layer` lie in shared memory.
__device__ inline void conv2d_2_at(float (&sums)[1][VECTOR], const float *pool, const float *layer, int o, int row,
                                   int column) {
    for (int k = 0; k < VECTOR; k++) {
        sums[0][k] = layer[CONV2_WEIGHTS + o];
    }
    for (int i = 0; i < CONV1_CHANNELS; i++) {
        const float *weight = layer + (o * CONV1_CHANNELS + i) * TAPS;
        conv2d_accumulate(sums, pool + i * POOL1_MAP, POOL1_SIDE, row, column, weight, 0);
    }
}

// Values beyond the four neighbours that a row of a kernel reaches.
constexpr int PAD = KERNEL - 1;

// One thread's share of d_weight: the KERNEL weights of one kernel row, summed over an example's map.
// `d_y` and `x` are the rows that meet; rows are `d_y_side` and `x_side` apart.
template <int WIDTH>
__device__ inline void conv2d_d_weight_row(float (&d_weight)[KERNEL], const float *d_y, const float *x) {
    for (int column = 0; column < WIDTH; column += 2 * VECTOR) {
        float d[2 * VECTOR], inputs[2 * VECTOR + PAD];
        load_row(d, d_y + column);
        load_row(inputs, x + column);
        for (int k = 0; k < 2 * VECTOR; k++) {
            for (int j = 0; j < KERNEL; j++) {
                d_weight[j] += d[k] * inputs[k + j];
            }
        }
    }
}
static_assert(CONV1_SIDE % (2 * VECTOR) == 0 && CONV2_SIDE % (2 * VECTOR) == 0, "rows are read eight values at a time");

// Columns of zeros on both sides of d_y2, so that the gradient of the input needs no bounds.
constexpr int PADDED = CONV2_SIDE + 2 * PAD;
static_assert(PAD % VECTOR == 0 && PADDED % VECTOR == 0, "padded rows are loaded four values at a time");

// d_y2 of one example into shared memory, [16][8][PADDED]; the padding has been zeroed.
__device__ inline void conv2d_2_d_y(float *d_y, const float *y2, const float *d_flat, unsigned example, unsigned n,
                                    const Channel *channels, const ChannelGradient *channel_gradients) {
    for (int i = threadIdx.x; i < CONV2_OUT; i += blockDim.x) {
        const int o = i / CONV2_MAP, row = i % CONV2_MAP / CONV2_SIDE, column = i % CONV2_SIDE;
        const int feature = o * POOL2_MAP + row / POOL * POOL2_SIDE + column / POOL;
        const float x_hat = channels[o].x_hat(y2[example * CONV2_OUT + i]);
        const float d_z = avg_pool2d_backward(d_flat[feature * n + example], x_hat, channels[o]);
        d_y[(o * CONV2_SIDE + row) * PADDED + PAD + column] = channel_gradients[o].d_x(channels[o], d_z, x_hat);
    }
}

// Four neighbours of d_pool1 in plane `i`, from half of the output channels.
__device__ inline void conv2d_2_d_input(float *d_pool, const float *d_y, const float *layer, int half, int i, int row,
                                        int column) {
    float sums[VECTOR] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int o = half * CONV2_CHANNELS / 2; o < (half + 1) * CONV2_CHANNELS / 2; o++) {
        for (int a = 0; a < KERNEL; a++) {
            if (row - a < 0 || row - a >= CONV2_SIDE) {
                continue;
            }
            float d[SPAN];
            load_row(d, d_y + (o * CONV2_SIDE + row - a) * PADDED + column);
            for (int b = 0; b < KERNEL; b++) {
                const float w = layer[((o * CONV1_CHANNELS + i) * KERNEL + a) * KERNEL + b];
                for (int k = 0; k < VECTOR; k++) {
                    sums[k] += w * d[k - b + PAD];
                }
            }
        }
    }
    store4(d_pool + i * POOL1_MAP + row * POOL1_SIDE + column, sums);
}

// The squares' way back through pool and sigmoid of layer 1: d_pool1 [n][6][12][12], and for BN 1 the sums over each
// square, sums[2][6][12][12].
__device__ inline void avg_pool2d_1_backward(float *d_pool1, float *sums, const float *halves, const float *y1,
                                             unsigned example, const Channel *channels) {
    for (int i = threadIdx.x; i < POOL1_OUT; i += blockDim.x) {
        const float d_pool = halves[i] + halves[POOL1_OUT + i];
        d_pool1[example * POOL1_OUT + i] = d_pool;
        const int c = i / POOL1_MAP, row = i % POOL1_MAP / POOL1_SIDE, column = i % POOL1_SIDE;
        const float *x = y1 + example * CONV1_OUT + c * CONV1_MAP + row * POOL * CONV1_SIDE + column * POOL;
        float sum = 0.0f, along = 0.0f;
        for (int k = 0; k < POOL * POOL; k++) {
            const float x_hat = channels[c].x_hat(x[k / POOL * CONV1_SIDE + k % POOL]);
            const float d_z = avg_pool2d_backward(d_pool, x_hat, channels[c]);
            sum += d_z;
            along += d_z * x_hat;
        }
        sums[i] = sum;
        sums[POOL1_OUT + i] = along;
    }
}
