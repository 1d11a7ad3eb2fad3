// Both convolutions, forward and backward. Square kernel, stride 1, no padding.
// Twin: host-trainer/src/engine/reference/conv2d.rs; in front of the second one, and on the way back, avg_pool2d.cuh.
//
//     conv1: pixels [n][28][28] u8 -> y1 [n][6][24][24]          conv2: pool1 [n][6][12][12] -> y2 [n][16][8][8]
//
// Each thread computes four neighbouring outputs, so that every value loaded is used up to 20 times.
//
// | kernel                  | blocks                           | threads                 | fused                            |
// |-------------------------|----------------------------------|-------------------------|----------------------------------|
// | conv2d_1_forward        | n                                | CONV1_THREADS           | gather, / 255, slots of BN 1     |
// | conv2d_2_forward        | n                                | CONV2_THREADS           | BN 1, sigmoid, pool, slots of BN 2 |
// | conv2d_2_backward       | ceil(n / EXAMPLES_PER_BLOCK)     | CONV2_BACKWARD_THREADS  | BN 2 backward; pool, sigmoid 1 backward |
// | conv2d_1_backward       | ceil(n / EXAMPLES_PER_BLOCK)     | CONV1_BACKWARD_THREADS  | BN 1 backward                    |
// | conv2d_backward_sum     | ceil(CONV_PARAMETERS / 32)       | SUM_THREADS             |                                  |
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
static_assert(CONV_PARAMETERS == CONV1_LAYER + CONV2_LAYER, "the slots of the gradients");

// One image as shares of white, [28][28], into shared memory. The caller synchronises.
__device__ inline void load_image(float *image, const unsigned char *images, unsigned example) {
    const unsigned char *pixels = images + static_cast<size_t>(example) * PIXELS;
    for (unsigned i = threadIdx.x; i < PIXELS; i += blockDim.x) {
        image[i] = pixels[i] / 255.0f;
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

// y1 [n][6][24][24] of the images order[step * n ..], and each example's slots of BN 1, [6][n].
extern "C" __global__ void __launch_bounds__(CONV1_THREADS)
    conv2d_1_forward(const unsigned char *__restrict__ images, const unsigned *__restrict__ order,
                     const unsigned *__restrict__ step, const float *__restrict__ parameters, float *__restrict__ y1,
                     float *__restrict__ slot_mean, float *__restrict__ slot_m2, unsigned n) {
    __shared__ __align__(16) float image[PIXELS];
    __shared__ float layer[CONV1_LAYER];
    __shared__ float scratch[CONV1_CHANNELS * MAX_WARPS];
    const unsigned example = blockIdx.x;
    load_image(image, images, order[step[0] * n + example]);
    load_shared(layer, parameters + AT_CONV1_WEIGHT, CONV1_LAYER);
    __syncthreads();

    // The block is rounded up to whole warps; threads beyond the map add nothing.
    const bool active = threadIdx.x < CONV1_MAP / VECTOR;
    const int position = active ? threadIdx.x * VECTOR : 0;
    float y[CONV1_CHANNELS][VECTOR];
    conv2d_1_at(y, image, layer, position / CONV1_SIDE, position % CONV1_SIDE);

    float mean[CONV1_CHANNELS], m2[CONV1_CHANNELS];
    for (int c = 0; c < CONV1_CHANNELS; c++) {
        if (active) {
            store4(y1 + example * CONV1_OUT + c * CONV1_MAP + position, y[c]);
        }
        mean[c] = active ? (y[c][0] + y[c][1]) + (y[c][2] + y[c][3]) : 0.0f;
    }
    block_sums(mean, scratch);
    for (int c = 0; c < CONV1_CHANNELS; c++) {
        mean[c] /= CONV1_MAP;
        m2[c] = 0.0f;
        for (int k = 0; k < VECTOR; k++) {
            const float distance = active ? y[c][k] - mean[c] : 0.0f;
            m2[c] += distance * distance;
        }
    }
    block_sums(m2, scratch);
    if (threadIdx.x == 0) {
        for (int c = 0; c < CONV1_CHANNELS; c++) {
            slot_mean[c * n + example] = mean[c];
            slot_m2[c * n + example] = m2[c];
        }
    }
}

// pool1 [n][6][12][12] from y1, then y2 [n][16][8][8] and its slots of BN 2, [16][n].
extern "C" __global__ void __launch_bounds__(CONV2_THREADS)
    conv2d_2_forward(const float *__restrict__ y1, const float *__restrict__ slot_mean1,
                     const float *__restrict__ slot_m2_1, const float *__restrict__ parameters,
                     const float *__restrict__ settings, float *__restrict__ batch_mean, float *__restrict__ batch_var,
                     float *__restrict__ pool1, float *__restrict__ y2, float *__restrict__ slot_mean,
                     float *__restrict__ slot_m2, unsigned n) {
    __shared__ __align__(16) float pool[POOL1_OUT];
    __shared__ float layer[CONV2_LAYER];
    __shared__ Channel channels[CONV1_CHANNELS];
    const unsigned example = blockIdx.x;
    load_shared(layer, parameters + AT_CONV2_WEIGHT, CONV2_LAYER);
    batch_norm_merge(channels, slot_mean1, slot_m2_1, n, CONV1_MAP, parameters, AT_BN1_GAMMA, CONV1_CHANNELS,
                     settings[SETTING_EPS], batch_mean + BN1, batch_var + BN1);

    for (int i = threadIdx.x; i < POOL1_OUT; i += blockDim.x) {
        const int c = i / POOL1_MAP, row = i % POOL1_MAP / POOL1_SIDE, column = i % POOL1_SIDE;
        const float *x = y1 + example * CONV1_OUT + c * CONV1_MAP + row * POOL * CONV1_SIDE + column * POOL;
        pool[i] = avg_pool2d_forward(x, CONV1_SIDE, channels[c]);
        pool1[example * POOL1_OUT + i] = pool[i];
    }
    __syncthreads();

    // Four neighbours a thread: CONV2_MAP / 4 threads in a row of lanes share a channel.
    constexpr int SEGMENT = CONV2_MAP / VECTOR;
    static_assert(CONV2_THREADS == CONV2_CHANNELS * SEGMENT && LANES % SEGMENT == 0, "a channel is a part of one warp");
    const int o = threadIdx.x / SEGMENT, position = threadIdx.x % SEGMENT * VECTOR;
    float y[1][VECTOR];
    conv2d_2_at(y, pool, layer, o, position / CONV2_SIDE, position % CONV2_SIDE);
    store4(y2 + example * CONV2_OUT + o * CONV2_MAP + position, y[0]);

    const float mean = warp_sum<SEGMENT>((y[0][0] + y[0][1]) + (y[0][2] + y[0][3])) / CONV2_MAP;
    float m2 = 0.0f;
    for (int k = 0; k < VECTOR; k++) {
        m2 += (y[0][k] - mean) * (y[0][k] - mean);
    }
    m2 = warp_sum<SEGMENT>(m2);
    if (position == 0) {
        slot_mean[o * n + example] = mean;
        slot_m2[o * n + example] = m2;
    }
}

// Columns of zeros on both sides of d_y2, so that the gradient of the input needs no bounds.
constexpr int PAD = KERNEL - 1;
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

// One thread's share of d_weight: the KERNEL weights of one kernel row, summed over an example's map.
// `d_y` and `x` are the rows that meet; rows are `d_y_side` and `x_side` apart.
template <int WIDTH>
__device__ inline void conv2d_d_weight_row(float (&d_weight)[KERNEL], float &d_bias, const float *d_y, const float *x) {
    for (int column = 0; column < WIDTH; column += 2 * VECTOR) {
        float d[2 * VECTOR], inputs[2 * VECTOR + PAD];
        load_row(d, d_y + column);
        load_row(inputs, x + column);
        for (int k = 0; k < 2 * VECTOR; k++) {
            for (int j = 0; j < KERNEL; j++) {
                d_weight[j] += d[k] * inputs[k + j];
            }
            d_bias += d[k];
        }
    }
}
static_assert(CONV1_SIDE % (2 * VECTOR) == 0 && CONV2_SIDE % (2 * VECTOR) == 0, "rows are read eight values at a time");

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

// d_pool1 [n][6][12][12], BN 1's slots (slot_d_y, slot_d_y_x_hat) [6][n], d_gamma and d_beta of BN 2, and of conv2's
// parameters one slot a block: conv_slots[block][CONV_PARAMETERS], behind those of conv1.
extern "C" __global__ void __launch_bounds__(CONV2_BACKWARD_THREADS)
    conv2d_2_backward(const float *__restrict__ d_flat, const float *__restrict__ slot_d_y2,
                      const float *__restrict__ slot_d_y2_x_hat, const float *__restrict__ y1,
                      const float *__restrict__ pool1, const float *__restrict__ y2,
                      const float *__restrict__ batch_mean, const float *__restrict__ batch_var,
                      const float *__restrict__ parameters, const float *__restrict__ settings,
                      float *__restrict__ d_pool1, float *__restrict__ slot_d_y, float *__restrict__ slot_d_y_x_hat,
                      float *__restrict__ conv_slots, float *__restrict__ gradients, unsigned n) {
    __shared__ __align__(16) float d_y[CONV2_CHANNELS * CONV2_SIDE * PADDED];
    __shared__ __align__(16) float pool[POOL1_OUT];
    __shared__ __align__(16) float halves[2 * POOL1_OUT];
    __shared__ float sums[2 * POOL1_OUT];
    __shared__ float layer[CONV2_WEIGHTS];
    __shared__ Channel channels1[CONV1_CHANNELS], channels2[CONV2_CHANNELS];
    __shared__ ChannelGradient channel_gradients[CONV2_CHANNELS];
    const float eps = settings[SETTING_EPS];
    load_shared(layer, parameters + AT_CONV2_WEIGHT, CONV2_WEIGHTS);
    for (int i = threadIdx.x; i < CONV2_CHANNELS * CONV2_SIDE * PADDED; i += blockDim.x) {
        d_y[i] = 0.0f;
    }
    batch_norm_load(channels1, batch_mean + BN1, batch_var + BN1, parameters, AT_BN1_GAMMA, CONV1_CHANNELS, eps);
    batch_norm_load(channels2, batch_mean + BN2, batch_var + BN2, parameters, AT_BN2_GAMMA, CONV2_CHANNELS, eps);
    batch_norm_merge_backward(channel_gradients, slot_d_y2, slot_d_y2_x_hat, POOL2_MAP, n * CONV2_MAP, gradients,
                              AT_BN2_GAMMA, CONV2_CHANNELS);

    // Of the weights a thread owns one row of one kernel; of the input's gradient four neighbours from half the channels.
    const int t = threadIdx.x, plane_row = t % (CONV1_CHANNELS * KERNEL), a = t % KERNEL;
    const int o = t / (CONV1_CHANNELS * KERNEL), i = plane_row / KERNEL;
    constexpr int QUARTERS = POOL1_OUT / VECTOR;
    static_assert(CONV2_BACKWARD_THREADS >= 2 * QUARTERS, "the gradient of the input takes one round");
    static_assert(CONV2_BACKWARD_THREADS == CONV2_CHANNELS * CONV1_CHANNELS * KERNEL, "a thread for each kernel row");
    float d_weight[KERNEL] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f}, d_bias = 0.0f;

    const unsigned first = blockIdx.x * EXAMPLES_PER_BLOCK;
    for (unsigned example = first; example < min(first + EXAMPLES_PER_BLOCK, n); example++) {
        conv2d_2_d_y(d_y, y2, d_flat, example, n, channels2, channel_gradients);
        load_shared(pool, pool1 + example * POOL1_OUT, POOL1_OUT);
        __syncthreads();
        for (int row = 0; row < CONV2_SIDE; row++) {
            conv2d_d_weight_row<CONV2_SIDE>(d_weight, d_bias, d_y + (o * CONV2_SIDE + row) * PADDED + PAD,
                                            pool + i * POOL1_MAP + (row + a) * POOL1_SIDE);
        }
        if (t < 2 * QUARTERS) {
            const int half = t / QUARTERS, position = t % QUARTERS * VECTOR;
            conv2d_2_d_input(halves + half * POOL1_OUT, d_y, layer, half, position / POOL1_MAP,
                             position % POOL1_MAP / POOL1_SIDE, position % POOL1_SIDE);
        }
        __syncthreads();
        avg_pool2d_1_backward(d_pool1, sums, halves, y1, example, channels1);
        __syncthreads();
        for (unsigned r = warp(); r < 2 * CONV1_CHANNELS; r += warps()) {
            float sum = 0.0f;
            for (int k = lane(); k < POOL1_MAP; k += LANES) {
                sum += sums[r * POOL1_MAP + k];
            }
            sum = warp_sum(sum);
            if (lane() == 0) {
                (r < CONV1_CHANNELS ? slot_d_y : slot_d_y_x_hat)[r % CONV1_CHANNELS * n + example] = sum;
            }
        }
        // No barrier: the next example touches `sums` two barriers from here, and nobody reads the rest any more.
    }
    float *slot = conv_slots + blockIdx.x * CONV_PARAMETERS + CONV1_LAYER;
    for (int j = 0; j < KERNEL; j++) {
        slot[t * KERNEL + j] = d_weight[j];
    }
    if (plane_row == 0) {
        slot[CONV2_WEIGHTS + o] = d_bias;
    }
}

// d_gamma and d_beta of BN 1, and of conv1's parameters one slot a block. Nobody asks for the gradient of the image.
extern "C" __global__ void __launch_bounds__(CONV1_BACKWARD_THREADS, 4)
    conv2d_1_backward(const unsigned char *__restrict__ images, const unsigned *__restrict__ order,
                      const unsigned *__restrict__ step, const float *__restrict__ d_pool1,
                      const float *__restrict__ slot_d_y1, const float *__restrict__ slot_d_y1_x_hat,
                      const float *__restrict__ y1, const float *__restrict__ batch_mean,
                      const float *__restrict__ batch_var, const float *__restrict__ parameters,
                      const float *__restrict__ settings, float *__restrict__ conv_slots, float *__restrict__ gradients,
                      unsigned n) {
    // A thread owns one row of one kernel, over GROUP_ROWS rows of the map; the groups are added at the end.
    constexpr int GROUP_ROWS = 3, GROUPS = CONV1_SIDE / GROUP_ROWS, ROWS = CONV1_CHANNELS * KERNEL;
    static_assert(CONV1_SIDE % GROUP_ROWS == 0 && CONV1_BACKWARD_THREADS >= ROWS * GROUPS, "a thread for each group");
    __shared__ __align__(16) float image[PIXELS];
    __shared__ __align__(16) float d_y[CONV1_OUT];
    __shared__ float partial[GROUPS * CONV1_LAYER];
    __shared__ Channel channels[CONV1_CHANNELS];
    __shared__ ChannelGradient channel_gradients[CONV1_CHANNELS];
    batch_norm_load(channels, batch_mean + BN1, batch_var + BN1, parameters, AT_BN1_GAMMA, CONV1_CHANNELS,
                    settings[SETTING_EPS]);
    batch_norm_merge_backward(channel_gradients, slot_d_y1, slot_d_y1_x_hat, n, n * CONV1_MAP, gradients, AT_BN1_GAMMA,
                              CONV1_CHANNELS);

    const int t = threadIdx.x, group = t / ROWS, c = t % ROWS / KERNEL, a = t % KERNEL;
    float d_weight[KERNEL] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f}, d_bias = 0.0f;
    const unsigned first = blockIdx.x * EXAMPLES_PER_BLOCK;
    for (unsigned example = first; example < min(first + EXAMPLES_PER_BLOCK, n); example++) {
        load_image(image, images, order[step[0] * n + example]);
        for (int i = t; i < CONV1_OUT; i += blockDim.x) {
            const int channel = i / CONV1_MAP, row = i % CONV1_MAP / CONV1_SIDE, column = i % CONV1_SIDE;
            const int square = channel * POOL1_MAP + row / POOL * POOL1_SIDE + column / POOL;
            const float x_hat = channels[channel].x_hat(y1[example * CONV1_OUT + i]);
            const float d_z = avg_pool2d_backward(d_pool1[example * POOL1_OUT + square], x_hat, channels[channel]);
            d_y[i] = channel_gradients[channel].d_x(channels[channel], d_z, x_hat);
        }
        __syncthreads();
        if (group < GROUPS) {
            for (int row = group * GROUP_ROWS; row < (group + 1) * GROUP_ROWS; row++) {
                conv2d_d_weight_row<CONV1_SIDE>(d_weight, d_bias, d_y + c * CONV1_MAP + row * CONV1_SIDE,
                                                image + (row + a) * IMAGE_SIDE);
            }
        }
        __syncthreads();
    }
    if (group < GROUPS) {
        for (int j = 0; j < KERNEL; j++) {
            partial[group * CONV1_LAYER + (c * KERNEL + a) * KERNEL + j] = d_weight[j];
        }
        if (a == 0) {
            partial[group * CONV1_LAYER + CONV1_WEIGHTS + c] = d_bias;
        }
    }
    __syncthreads();
    for (int i = t; i < CONV1_LAYER; i += blockDim.x) {
        float sum = 0.0f;
        for (int g = 0; g < GROUPS; g++) {
            sum += partial[g * CONV1_LAYER + i];
        }
        conv_slots[blockIdx.x * CONV_PARAMETERS + i] = sum;
    }
}

// Adds up the slots of both convolutions: 32 parameters a block, each summed by one lane of every warp.
extern "C" __global__ void __launch_bounds__(SUM_THREADS)
    conv2d_backward_sum(const float *__restrict__ conv_slots, unsigned slots, float *__restrict__ gradients) {
    __shared__ float partial[SUM_THREADS];
    const int parameter = blockIdx.x * LANES + lane();
    float sum = 0.0f;
    if (parameter < CONV_PARAMETERS) {
        for (unsigned s = warp(); s < slots; s += warps()) {
            sum += conv_slots[s * CONV_PARAMETERS + parameter];
        }
    }
    partial[threadIdx.x] = sum;
    __syncthreads();
    if (warp() == 0 && parameter < CONV_PARAMETERS) {
        for (unsigned w = 1; w < warps(); w++) {
            sum += partial[w * LANES + lane()];
        }
        const int at = parameter < CONV1_LAYER ? AT_CONV1_WEIGHT + parameter : AT_CONV2_WEIGHT + parameter - CONV1_LAYER;
        gradients[at] = sum;
    }
}
