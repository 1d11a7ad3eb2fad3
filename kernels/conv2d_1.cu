// The first convolution, forward and backward. Shapes and what both convolutions share: conv2d.cuh.
// Twins: host-trainer/src/engine/reference/{conv2d,batch_norm,sigmoid,avg_pool2d}.rs.
//
// | kernel                  | blocks                       | threads                | fused                              |
// |-------------------------|------------------------------|------------------------|------------------------------------|
// | conv2d_1_forward        | n                            | CONV1_THREADS          | gather, / 255, slots of BN 1       |
// | conv2d_1_backward       | ceil(n / EXAMPLES_PER_BLOCK) | CONV1_BACKWARD_THREADS | pool, sigmoid and BN 1 backward    |
#pragma once

#include "conv2d.cuh"

// y1 [n][6][24][24] of the samples order[step * n ..], and each example's slots of BN 1, [6][n].
extern "C" __global__ void __launch_bounds__(CONV1_THREADS)
    conv2d_1_forward(const unsigned char *__restrict__ images, const unsigned *__restrict__ order,
                     const unsigned *__restrict__ step, const float *__restrict__ parameters, float *__restrict__ y1,
                     float *__restrict__ slot_mean, float *__restrict__ slot_m2, unsigned n) {
    __shared__ __align__(16) float image[PIXELS];
    __shared__ float layer[CONV1_LAYER];
    __shared__ float scratch[CONV1_CHANNELS * MAX_WARPS];
    const unsigned example = blockIdx.x;
    const unsigned sample = order[step[0] * n + example];
    load_image(image, pixels_of(images, sample), sample);
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

// d_gamma and d_beta of BN 1, and of conv1's weights one slot a block. Nobody asks for the gradient of the image.
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
    __shared__ float partial[GROUPS * CONV1_WEIGHTS];
    __shared__ Channel channels[CONV1_CHANNELS];
    __shared__ ChannelGradient channel_gradients[CONV1_CHANNELS];
    batch_norm_load(channels, batch_mean + BN1, batch_var + BN1, parameters, AT_BN1_GAMMA, CONV1_CHANNELS,
                    settings[SETTING_EPS]);
    batch_norm_merge_backward(channel_gradients, slot_d_y1, slot_d_y1_x_hat, n, n * CONV1_MAP, gradients, AT_BN1_GAMMA,
                              CONV1_CHANNELS);

    const int t = threadIdx.x, group = t / ROWS, c = t % ROWS / KERNEL, a = t % KERNEL;
    float d_weight[KERNEL] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    const unsigned first = blockIdx.x * EXAMPLES_PER_BLOCK;
    for (unsigned example = first; example < min(first + EXAMPLES_PER_BLOCK, n); example++) {
        const unsigned sample = order[step[0] * n + example];
        load_image(image, pixels_of(images, sample), sample);
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
                conv2d_d_weight_row<CONV1_SIDE>(d_weight, d_y + c * CONV1_MAP + row * CONV1_SIDE,
                                                image + (row + a) * IMAGE_SIDE);
            }
        }
        __syncthreads();
    }
    if (group < GROUPS) {
        for (int j = 0; j < KERNEL; j++) {
            partial[group * CONV1_WEIGHTS + (c * KERNEL + a) * KERNEL + j] = d_weight[j];
        }
    }
    __syncthreads();
    for (int i = t; i < CONV1_WEIGHTS; i += blockDim.x) {
        float sum = 0.0f;
        for (int g = 0; g < GROUPS; g++) {
            sum += partial[g * CONV1_WEIGHTS + i];
        }
        conv_slots[blockIdx.x * CONV_WEIGHTS + i] = sum;
    }
}
