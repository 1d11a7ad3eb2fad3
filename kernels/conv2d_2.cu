// The second convolution, forward and backward, and the sum of both convolutions' gradients. Shapes and what both share:
// conv2d.cuh. Twins: host-trainer/src/engine/reference/{conv2d,batch_norm,sigmoid,avg_pool2d}.rs.
//
// | kernel                  | blocks                       | threads                | fused                              |
// |-------------------------|------------------------------|------------------------|------------------------------------|
// | conv2d_2_forward        | n                            | CONV2_THREADS          | BN 1, sigmoid, pool, slots of BN 2 |
// | conv2d_2_backward       | ceil(n / EXAMPLES_PER_BLOCK) | CONV2_BACKWARD_THREADS | pool, sigmoid and BN 2 backward; pool and sigmoid 1 backward |
// | conv2d_backward_sum     | ceil(CONV_WEIGHTS / 32)   | SUM_THREADS            |                                    |
#pragma once

#include "conv2d.cuh"

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

// d_pool1 [n][6][12][12], BN 1's slots (slot_d_y, slot_d_y_x_hat) [6][n], d_gamma and d_beta of BN 2, and of conv2's
// weights one slot a block: conv_slots[block][CONV_WEIGHTS], behind those of conv1.
extern "C" __global__ void __launch_bounds__(CONV2_BACKWARD_THREADS, 2)
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
    float d_weight[KERNEL] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f};

    const unsigned first = blockIdx.x * EXAMPLES_PER_BLOCK;
    for (unsigned example = first; example < min(first + EXAMPLES_PER_BLOCK, n); example++) {
        conv2d_2_d_y(d_y, y2, d_flat, example, n, channels2, channel_gradients);
        load_shared(pool, pool1 + example * POOL1_OUT, POOL1_OUT);
        __syncthreads();
        for (int row = 0; row < CONV2_SIDE; row++) {
            conv2d_d_weight_row<CONV2_SIDE>(d_weight, d_y + (o * CONV2_SIDE + row) * PADDED + PAD,
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
                float *const slots = r < CONV1_CHANNELS ? slot_d_y : slot_d_y_x_hat;
                slots[r % CONV1_CHANNELS * n + example] = sum;
            }
        }
        // No barrier: the next example touches `sums` two barriers from here, and nobody reads the rest any more.
    }
    float *slot = conv_slots + blockIdx.x * CONV_WEIGHTS + CONV1_WEIGHTS;
    for (int j = 0; j < KERNEL; j++) {
        slot[t * KERNEL + j] = d_weight[j];
    }
}

// Adds up the slots of both convolutions: 32 parameters a block, each summed by one lane of every warp. The last kernel of a
// batch that looks at its samples has run, so the step moves on.
extern "C" __global__ void __launch_bounds__(SUM_THREADS)
    conv2d_backward_sum(const float *__restrict__ conv_slots, unsigned slots, float *__restrict__ gradients,
                        unsigned *__restrict__ step) {
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        step[0] += 1;
    }
    __shared__ float partial[SUM_THREADS];
    const int parameter = blockIdx.x * LANES + lane();
    float sum = 0.0f;
    if (parameter < CONV_WEIGHTS) {
        for (unsigned s = warp(); s < slots; s += warps()) {
            sum += conv_slots[s * CONV_WEIGHTS + parameter];
        }
    }
    partial[threadIdx.x] = sum;
    __syncthreads();
    if (warp() == 0 && parameter < CONV_WEIGHTS) {
        for (unsigned w = 1; w < warps(); w++) {
            sum += partial[w * LANES + lane()];
        }
        const int at = parameter < CONV1_WEIGHTS ? AT_CONV1_WEIGHT + parameter : AT_CONV2_WEIGHT + parameter - CONV1_WEIGHTS;
        gradients[at] = sum;
    }
}
