// The second pool: from conv2's maps to the flat features of the linear layers, and back.
// Twins: host-trainer/src/engine/reference/{batch_norm,sigmoid,avg_pool2d}.rs, and on the way back linear.rs.
//
// From here on activations are feature-major, [features][n]: threads that hold neighbouring examples read neighbouring
// words, and a block that owns a feature owns its BatchNorm.
//
// | kernel                | blocks | threads        | fused                                           |
// |-----------------------|--------|----------------|-------------------------------------------------|
// | avg_pool2d_2_forward  | n      | FLAT           | BN 2, sigmoid                                   |
// | avg_pool2d_2_backward | FLAT   | LINEAR_THREADS | input's gradient of linear1, sigmoid, slots of BN 2 |
#pragma once

#include "conv2d.cuh"
#include "linear.cu"

// flat [256][n] from y2 [n][16][8][8] and the slots of BN 2.
extern "C" __global__ void __launch_bounds__(FLAT)
    avg_pool2d_2_forward(const float *__restrict__ y2, const float *__restrict__ slot_mean,
                         const float *__restrict__ slot_m2, const float *__restrict__ parameters,
                         const float *__restrict__ settings, float *__restrict__ batch_mean,
                         float *__restrict__ batch_var, float *__restrict__ flat, unsigned n) {
    __shared__ Channel channels[CONV2_CHANNELS];
    batch_norm_merge(channels, slot_mean, slot_m2, n, CONV2_MAP, parameters, AT_BN2_GAMMA, CONV2_CHANNELS,
                     settings[SETTING_EPS], batch_mean + BN2, batch_var + BN2);
    const int o = threadIdx.x / POOL2_MAP, row = threadIdx.x % POOL2_MAP / POOL2_SIDE, column = threadIdx.x % POOL2_SIDE;
    const float *x = y2 + blockIdx.x * CONV2_OUT + o * CONV2_MAP + row * POOL * CONV2_SIDE + column * POOL;
    flat[threadIdx.x * n + blockIdx.x] = avg_pool2d_forward(x, CONV2_SIDE, channels[o]);
}

// d_flat [256][n] = W1^T d_y3, and BN 2's slots: one a pooled position, [16][4 * 4].
extern "C" __global__ void __launch_bounds__(LINEAR_THREADS, 2)
    avg_pool2d_2_backward(const float *__restrict__ d_y3, const float *__restrict__ y2,
                          const float *__restrict__ batch_mean, const float *__restrict__ batch_var,
                          const float *__restrict__ parameters, const float *__restrict__ settings,
                          float *__restrict__ d_flat, float *__restrict__ slot_d_y, float *__restrict__ slot_d_y_x_hat,
                          unsigned n) {
    __shared__ float weight[LINEAR1];
    __shared__ float scratch[2 * MAX_WARPS];
    const int feature = blockIdx.x, o = feature / POOL2_MAP, square = feature % POOL2_MAP;
    for (int i = threadIdx.x; i < LINEAR1; i += blockDim.x) {
        weight[i] = parameters[AT_LINEAR1_WEIGHT + i * FLAT + feature];
    }
    const Channel channel = batch_norm_channel(parameters, AT_BN2_GAMMA, CONV2_CHANNELS, o, batch_mean[BN2 + o],
                                               batch_var[BN2 + o], settings[SETTING_EPS]);
    __syncthreads();

    const int corner = o * CONV2_MAP + square / POOL2_SIDE * POOL * CONV2_SIDE + square % POOL2_SIDE * POOL;
    float sums[2] = {0.0f, 0.0f};
    for (unsigned example = threadIdx.x; example < n; example += blockDim.x) {
        const float d = linear_dot<LINEAR1>(weight, d_y3 + example, n, 0.0f);
        d_flat[feature * n + example] = d;
        const float *x = y2 + example * CONV2_OUT + corner;
        for (int k = 0; k < POOL * POOL; k++) {
            const float x_hat = channel.x_hat(x[k / POOL * CONV2_SIDE + k % POOL]);
            const float d_z = avg_pool2d_backward(d, x_hat, channel);
            sums[0] += d_z;
            sums[1] += d_z * x_hat;
        }
    }
    block_sums(sums, scratch);
    if (threadIdx.x == 0) {
        slot_d_y[feature] = sums[0];
        slot_d_y_x_hat[feature] = sums[1];
    }
}
