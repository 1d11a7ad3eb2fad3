// The backward pass of the persistent kernel, from the gradient of the logits to the convolutions' slots. Its phases and their
// order: persistent.cu.
#pragma once

#include "persistent.cuh"

// Gradient of a linear layer's input, IN features, from that of its output, d_next [MINE][NEXT]: PARTS sums over a share of the
// outputs each, parts[PARTS][MINE][IN] in shared memory, so that more loads are under way.
template <int NEXT, int IN, int PARTS>
__device__ inline void persistent_d_input(const PersistentRun &run, unsigned at_weight, const float *d_next, float *parts) {
    constexpr int SHARE = NEXT / PARTS;
    static_assert(NEXT % PARTS == 0 && PARTS * IN <= PERSISTENT_THREADS, "a thread for each sum");
    const int part = threadIdx.x / IN, i = threadIdx.x % IN;
    if (part < PARTS) {
        float sums[MINE] = {};
#pragma unroll 15
        for (int k = part * SHARE; k < (part + 1) * SHARE; k++) {
            const float w = run.parameters[at_weight + k * IN + i];
            for (int e = 0; e < MINE; e++) {
                sums[e] += w * d_next[e * NEXT + k];
            }
        }
        for (int e = 0; e < MINE; e++) {
            parts[(part * MINE + e) * IN + i] = sums[e];
        }
    }
    __syncthreads();
}

// The sum of the parts, for example `e` and feature `i`.
template <int IN, int PARTS>
__device__ inline float persistent_d_input_sum(const float *parts, int e, int i) {
    float sum = 0.0f;
    for (int part = 0; part < PARTS; part++) {
        sum += parts[(part * MINE + e) * IN + i];
    }
    return sum;
}

// Backward to the front of a sigmoid: d [MINE][CHANNELS] from the gradient of the next linear layer, d_next [MINE][NEXT], and
// this block's slots of BatchNorm, [CHANNELS][blocks].
template <int NEXT, int CHANNELS, int PARTS>
__device__ inline void persistent_d_z(const PersistentRun &run, unsigned at_weight, const float *d_next, const float *x_hat,
                                      const float *y, float *d, float *slot_d, float *slot_d_x_hat) {
    float *parts = run.shared->within.parts;
    persistent_d_input<NEXT, CHANNELS, PARTS>(run, at_weight, d_next, parts);
    const unsigned c = threadIdx.x;
    if (c < CHANNELS) {
        float sum = 0.0f, along = 0.0f;
        for (unsigned e = 0; e < run.mine; e++) {
            const unsigned i = e * CHANNELS + c;
            d[i] = sigmoid_backward(persistent_d_input_sum<CHANNELS, PARTS>(parts, e, c), y[i]);
            sum += d[i];
            along += d[i] * x_hat[i];
        }
        slot_d[c * gridDim.x + blockIdx.x] = sum;
        slot_d_x_hat[c * gridDim.x + blockIdx.x] = along;
    }
}

// Merges those slots: batch_norm_merge_backward, TOGETHER channels a warp.
template <unsigned CHANNELS>
__device__ inline void persistent_merge_backward(const PersistentRun &run, ChannelGradient *shared, const float *slot_d,
                                                 const float *slot_d_x_hat, unsigned layer) {
#pragma unroll 1
    for (unsigned first = warp() * TOGETHER; first < CHANNELS; first += warps() * TOGETHER) {
        float d_beta[TOGETHER] = {}, d_gamma[TOGETHER] = {};
#pragma unroll 1
        for (unsigned s = lane(); s < gridDim.x; s += LANES) {
            for (unsigned k = 0; k < TOGETHER; k++) {
                const unsigned at = min(first + k, CHANNELS - 1) * gridDim.x + s;
                d_beta[k] += slot_d[at];
                d_gamma[k] += slot_d_x_hat[at];
            }
        }
        const float beta = warp_sums(d_beta), gamma = warp_sums(d_gamma);
        const unsigned c = first + warp_sums_index<TOGETHER>();
        if (lane() % (LANES / TOGETHER) == 0 && c < CHANNELS) {
            shared[c] = {beta / run.n, gamma / run.n};
            if (blockIdx.x == 0) {
                run.gradients[layer + c] = gamma;
                run.gradients[layer + CHANNELS + c] = beta;
            }
        }
    }
    __syncthreads();
}

// Backward through a linear layer's BatchNorm, in place: d [MINE][count], also in the workspace.
__device__ inline void persistent_d_y(const PersistentRun &run, const Channel *channels, const ChannelGradient *gradients,
                                      unsigned count, const float *x_hat, float *d, float *batch_d) {
#pragma unroll 1
    for (unsigned i = threadIdx.x; i < run.mine * count; i += blockDim.x) {
        d[i] = gradients[i % count].d_x(channels[i % count], d[i], x_hat[i]);
        batch_d[run.first * count + i] = d[i];
    }
    __syncthreads();
}

// BN 4 backward, and back to the front of the first hidden layer's sigmoid.
__device__ inline void persistent_d_hidden(const PersistentRun &run) {
    PersistentShared &s = *run.shared;
    persistent_merge_backward<LINEAR2>(run, s.gradients4, run.work(WORK_D4), run.work(WORK_D4_X_HAT), AT_BN4_GAMMA);
    persistent_d_y(run, s.channels4, s.gradients4, LINEAR2, s.x_hat4, s.d4, run.work(WORK_D_Y4));
    persistent_d_z<LINEAR2, LINEAR1, 4>(run, AT_LINEAR2_WEIGHT, s.d4, s.x_hat3, s.y3, s.d3, run.work(WORK_D3),
                                        run.work(WORK_D3_X_HAT));
}

// BN 3 backward, d_flat, and this block's slots of BN 2: a thread a feature, a channel's squares in neighbouring lanes.
__device__ inline void persistent_d_flat(const PersistentRun &run) {
    PersistentShared &s = *run.shared;
    persistent_merge_backward<LINEAR1>(run, s.gradients3, run.work(WORK_D3), run.work(WORK_D3_X_HAT), AT_BN3_GAMMA);
    persistent_d_y(run, s.channels3, s.gradients3, LINEAR1, s.x_hat3, s.d3, run.work(WORK_D_Y3));
    persistent_d_input<LINEAR1, FLAT, 2>(run, AT_LINEAR1_WEIGHT, s.d3, s.within.parts);
    const unsigned e = threadIdx.x / FLAT, feature = threadIdx.x % FLAT, o = feature / POOL2_MAP, square = feature % POOL2_MAP;
    const float d = persistent_d_input_sum<FLAT, 2>(s.within.parts, e, feature);
    s.d_flat[feature * MINE + e] = d;
    const float *x = s.y2 + e * CONV2_OUT + o * CONV2_MAP + square / POOL2_SIDE * POOL * CONV2_SIDE + square % POOL2_SIDE * POOL;
    float sum = 0.0f, along = 0.0f;
    for (int k = 0; k < POOL * POOL; k++) {
        const float x_hat = s.channels2[o].x_hat(x[k / POOL * CONV2_SIDE + k % POOL]);
        const float d_z = avg_pool2d_backward(d, x_hat, s.channels2[o]);
        sum += d_z;
        along += d_z * x_hat;
    }
    static_assert(LANES % POOL2_MAP == 0, "a channel is a part of one warp");
    sum = warp_sum<POOL2_MAP>(sum);
    along = warp_sum<POOL2_MAP>(along);
    if (square == 0 && e < run.mine) {
        run.work(WORK_D2)[o * run.n + run.first + e] = sum;
        run.work(WORK_D2_X_HAT)[o * run.n + run.first + e] = along;
    }
}

// BN 2 backward, the gradients of conv2's input and weights, and this block's slots of BN 1. As conv2d_2_backward.
__device__ inline void persistent_conv2_backward(const PersistentRun &run) {
    PersistentShared &s = *run.shared;
    float *d_y = s.within.conv2.d_y, *halves = s.within.conv2.halves, *sums = s.within.conv2.sums;
    for (int i = threadIdx.x; i < CONV2_CHANNELS * CONV2_SIDE * PADDED; i += blockDim.x) {
        d_y[i] = 0.0f;
    }
    batch_norm_merge_backward(s.gradients2, run.work(WORK_D2), run.work(WORK_D2_X_HAT), run.n, run.n * CONV2_MAP, run.gradients,
                              AT_BN2_GAMMA, CONV2_CHANNELS);
    const int t = threadIdx.x, plane_row = t % (CONV1_CHANNELS * KERNEL), a = t % KERNEL;
    const int o = t / (CONV1_CHANNELS * KERNEL), plane = plane_row / KERNEL;
    const bool owns_row = o < CONV2_CHANNELS;
    constexpr int QUARTERS = POOL1_OUT / VECTOR;
    float d_weight[KERNEL] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f}, d_bias = 0.0f;
    for (unsigned e = 0; e < run.mine; e++) {
        float *pool = s.pool1 + e * POOL1_OUT;
        conv2d_2_d_y(d_y, s.y2, s.d_flat, e, MINE, s.channels2, s.gradients2);
        __syncthreads();
#pragma unroll 1
        for (int row = 0; row < CONV2_SIDE && owns_row; row++) {
            conv2d_d_weight_row<CONV2_SIDE>(d_weight, d_bias, d_y + (o * CONV2_SIDE + row) * PADDED + PAD,
                                            pool + plane * POOL1_MAP + (row + a) * POOL1_SIDE);
        }
        if (t < 2 * QUARTERS) {
            const int half = t / QUARTERS, position = t % QUARTERS * VECTOR;
            conv2d_2_d_input(halves + half * POOL1_OUT, d_y, s.layer2, half, position / POOL1_MAP,
                             position % POOL1_MAP / POOL1_SIDE, position % POOL1_SIDE);
        }
        __syncthreads();
        avg_pool2d_1_backward(s.pool1, sums, halves, s.y1, e, s.channels1);
        __syncthreads();
        for (unsigned r = warp(); r < 2 * CONV1_CHANNELS; r += warps()) {
            float sum = 0.0f;
#pragma unroll 4
            for (int k = lane(); k < POOL1_MAP; k += LANES) {
                sum += sums[r * POOL1_MAP + k];
            }
            sum = warp_sum(sum);
            if (lane() == 0) {
                float *slots = run.work(r < CONV1_CHANNELS ? WORK_D1 : WORK_D1_X_HAT);
                slots[r % CONV1_CHANNELS * run.n + run.first + e] = sum;
            }
        }
    }
    float *slot = run.work(WORK_CONV_SLOTS) + blockIdx.x * CONV_PARAMETERS + CONV1_LAYER;
    for (int j = 0; j < KERNEL && owns_row; j++) {
        slot[t * KERNEL + j] = d_weight[j];
    }
    if (plane_row == 0 && owns_row) {
        slot[CONV2_WEIGHTS + o] = d_bias;
    }
}

// BN 1 backward and the gradient of conv1's weights. As conv2d_1_backward.
__device__ inline void persistent_conv1_backward(const PersistentRun &run) {
    PersistentShared &s = *run.shared;
    batch_norm_merge_backward(s.gradients1, run.work(WORK_D1), run.work(WORK_D1_X_HAT), run.n, run.n * CONV1_MAP, run.gradients,
                              AT_BN1_GAMMA, CONV1_CHANNELS);
#pragma unroll 1
    for (unsigned i = threadIdx.x; i < run.mine * CONV1_OUT; i += blockDim.x) {
        const int map = i / CONV1_MAP, row = i % CONV1_MAP / CONV1_SIDE, column = i % CONV1_SIDE, c = map % CONV1_CHANNELS;
        const float x_hat = s.channels1[c].x_hat(s.y1[i]);
        const float d = s.pool1[map * POOL1_MAP + row / POOL * POOL1_SIDE + column / POOL];
        s.y1[i] = s.gradients1[c].d_x(s.channels1[c], avg_pool2d_backward(d, x_hat, s.channels1[c]), x_hat);
    }
    __syncthreads();
    constexpr int ROWS = CONV1_CHANNELS * KERNEL, GROUPS_EACH = CONV1_GROUPS / MINE;
    const int group = threadIdx.x / ROWS, c = threadIdx.x % ROWS / KERNEL, a = threadIdx.x % KERNEL;
    const int e = group / GROUPS_EACH, first_row = group % GROUPS_EACH * CONV1_GROUP_ROWS;
    if (group < CONV1_GROUPS) {
        float d_weight[KERNEL] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f}, d_bias = 0.0f;
#pragma unroll 1
        for (int row = first_row; row < first_row + CONV1_GROUP_ROWS && e < static_cast<int>(run.mine); row++) {
            conv2d_d_weight_row<CONV1_SIDE>(d_weight, d_bias, s.y1 + (e * CONV1_CHANNELS + c) * CONV1_MAP + row * CONV1_SIDE,
                                            s.image + e * PIXELS + (row + a) * IMAGE_SIDE);
        }
        for (int j = 0; j < KERNEL; j++) {
            s.within.conv1[group * CONV1_LAYER + (c * KERNEL + a) * KERNEL + j] = d_weight[j];
        }
        if (a == 0) {
            s.within.conv1[group * CONV1_LAYER + CONV1_WEIGHTS + c] = d_bias;
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < CONV1_LAYER; i += blockDim.x) {
        float sum = 0.0f;
        for (int g = 0; g < CONV1_GROUPS; g++) {
            sum += s.within.conv1[g * CONV1_LAYER + i];
        }
        run.work(WORK_CONV_SLOTS)[blockIdx.x * CONV_PARAMETERS + i] = sum;
    }
    __syncthreads();
}
