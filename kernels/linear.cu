// The linear layers with the BatchNorm and sigmoid behind them, forward and backward.
// Twins: host-trainer/src/engine/reference/{linear,batch_norm,sigmoid}.rs.
//
//     flat [256][n] -> linear1 -> BN 3, sigmoid -> [120][n] -> linear2 -> BN 4, sigmoid -> [84][n]   (linear3: cross_entropy.cu)
//
// A block owns one feature and a thread some of its examples, so that a BatchNorm's sums stay inside the block. On the way
// back the block that knows a feature's gradient also computes that feature's row of weights.
//
// | kernel            | blocks                      | threads        | fused                                              |
// |-------------------|-----------------------------|----------------|----------------------------------------------------|
// | linear_1_forward  | LINEAR1                     | LINEAR_THREADS | BN 3, sigmoid                                      |
// | linear_2_forward  | LINEAR2                     | LINEAR_THREADS | BN 4, sigmoid                                      |
// | linear_2_backward | LINEAR2 + CLASSES + 1       | LINEAR_THREADS | linear3's gradients, sigmoid, BN 4; the batch's totals |
// | linear_1_backward | LINEAR1                     | LINEAR_THREADS | linear2's input gradient, sigmoid, BN 3            |
#pragma once

#include "batch_norm.cuh"
#include "sigmoid.cuh"
#include "totals.cuh"

// start + sum of row[i] * x[i * stride]: four sums side by side, so that no addition waits for the one before.
template <int COUNT>
__device__ inline float linear_dot(const float *row, const float *__restrict__ x, unsigned stride, float start) {
    static_assert(COUNT % 4 == 0, "four sums side by side");
    float sums[4] = {start, 0.0f, 0.0f, 0.0f};
#pragma unroll 4
    for (int i = 0; i < COUNT; i += 4) {
        for (int k = 0; k < 4; k++) {
            sums[k] += row[i + k] * x[(i + k) * stride];
        }
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// Where one linear layer, its BatchNorm and their activations lie.
struct LinearLayer {
    const float *weight; // [out][IN]
    const float *bias;   // [out]
    const float *parameters;
    unsigned gamma;    // position of gamma in the parameters
    unsigned channels; // features
    float *x_hat;      // [out][n]
    float *y;          // [out][n]
    float *mean, *var; // [out]
};

// Forward of this block's feature. `x` [IN][n]; shared: `row` [IN], `scratch` [MAX_WARPS].
template <int IN>
__device__ inline void linear_forward(const LinearLayer &layer, const float *__restrict__ x, float eps, unsigned n,
                                      float *row, float *scratch) {
    const unsigned feature = blockIdx.x;
    load_shared(row, layer.weight + feature * IN, IN);
    __syncthreads();
    float *values = layer.x_hat + feature * n;

    // Two passes over what this thread itself has written.
    float sum[1] = {0.0f}, m2[1] = {0.0f};
    for (unsigned example = threadIdx.x; example < n; example += blockDim.x) {
        values[example] = linear_dot<IN>(row, x + example, n, layer.bias[feature]);
        sum[0] += values[example];
    }
    block_sums(sum, scratch);
    const float mean = sum[0] / n;
    for (unsigned example = threadIdx.x; example < n; example += blockDim.x) {
        const float distance = values[example] - mean;
        m2[0] += distance * distance;
    }
    block_sums(m2, scratch);
    const float var = m2[0] / n;

    const Channel channel =
        batch_norm_channel(layer.parameters, layer.gamma, layer.channels, feature, mean, var, eps);
    for (unsigned example = threadIdx.x; example < n; example += blockDim.x) {
        const float x_hat = channel.x_hat(values[example]);
        values[example] = x_hat;
        layer.y[feature * n + example] = sigmoid_forward(channel.y(x_hat));
    }
    if (threadIdx.x == 0) {
        layer.mean[feature] = mean;
        layer.var[feature] = var;
    }
}

// Row of d_weight [IN]: sums over the batch of d_y [n] times x [IN][n], eight weights a warp at a time.
template <int IN>
__device__ inline void linear_d_weight_row(float *__restrict__ d_weight, const float *d_y, const float *__restrict__ x,
                                           unsigned n) {
    constexpr int COLUMNS = 8;
    for (unsigned first = warp() * COLUMNS; first < IN; first += warps() * COLUMNS) {
        float sums[COLUMNS] = {};
        for (unsigned example = lane(); example < n; example += LANES) {
            const float d = d_y[example];
            for (unsigned i = 0; i < COLUMNS; i++) {
                // Beyond the last column: read something, write nothing.
                sums[i] += d * x[min(first + i, IN - 1u) * n + example];
            }
        }
        const float sum = warp_sums(sums);
        const unsigned column = first + warp_sums_index<COLUMNS>();
        if (lane() % (LANES / COLUMNS) == 0 && column < IN) {
            d_weight[column] = sum;
        }
    }
}

// Backward through what lies behind this block's feature: the next linear layer's weights, sigmoid and BatchNorm.
// `d_next` [NEXT][n] is the gradient of the next layer's output, `next_weight` [NEXT][channels]. Writes d_y [out][n], the
// gradient of this layer's output, and d_gamma, d_beta. Shared: `column` [NEXT], `scratch` [2 * MAX_WARPS].
template <int NEXT>
__device__ inline void linear_d_y(const LinearLayer &layer, const float *__restrict__ d_next,
                                  const float *__restrict__ next_weight, float *d_y, float *gradients,
                                  float eps, unsigned n, float *column, float *scratch) {
    const unsigned feature = blockIdx.x;
    for (unsigned i = threadIdx.x; i < NEXT; i += blockDim.x) {
        column[i] = next_weight[i * layer.channels + feature];
    }
    __syncthreads();
    float *values = d_y + feature * n;
    const float *x_hat = layer.x_hat + feature * n;

    float sums[2] = {0.0f, 0.0f};
    for (unsigned example = threadIdx.x; example < n; example += blockDim.x) {
        float d = 0.0f;
#pragma unroll 4
        for (int i = 0; i < NEXT; i++) {
            d += column[i] * d_next[i * n + example];
        }
        const float d_z = sigmoid_backward(d, layer.y[feature * n + example]);
        values[example] = d_z;
        sums[0] += d_z;
        sums[1] += d_z * x_hat[example];
    }
    block_sums(sums, scratch);

    const Channel channel = batch_norm_channel(layer.parameters, layer.gamma, layer.channels, feature,
                                               layer.mean[feature], layer.var[feature], eps);
    const ChannelGradient gradient = {sums[0] / n, sums[1] / n};
    for (unsigned example = threadIdx.x; example < n; example += blockDim.x) {
        values[example] = gradient.d_x(channel, values[example], x_hat[example]);
    }
    if (threadIdx.x == 0) {
        gradients[layer.gamma + feature] = sums[1];
        gradients[layer.gamma + layer.channels + feature] = sums[0];
    }
    __syncthreads(); // the row of weights reads what other threads have written
}

// x_hat3, y3 [120][n] from flat [256][n].
extern "C" __global__ void __launch_bounds__(LINEAR_THREADS, 2)
    linear_1_forward(const float *__restrict__ flat, const float *__restrict__ parameters,
                     const float *__restrict__ settings, float *__restrict__ batch_mean, float *__restrict__ batch_var,
                     float *__restrict__ x_hat3, float *__restrict__ y3, unsigned n) {
    __shared__ float row[FLAT];
    __shared__ float scratch[MAX_WARPS];
    const LinearLayer layer = {parameters + AT_LINEAR1_WEIGHT, parameters + AT_LINEAR1_BIAS, parameters, AT_BN3_GAMMA,
                               LINEAR1, x_hat3, y3, batch_mean + BN3, batch_var + BN3};
    linear_forward<FLAT>(layer, flat, settings[SETTING_EPS], n, row, scratch);
}

// x_hat4, y4 [84][n] from y3 [120][n].
extern "C" __global__ void __launch_bounds__(LINEAR_THREADS, 2)
    linear_2_forward(const float *__restrict__ y3, const float *__restrict__ parameters,
                     const float *__restrict__ settings, float *__restrict__ batch_mean, float *__restrict__ batch_var,
                     float *__restrict__ x_hat4, float *__restrict__ y4, unsigned n) {
    __shared__ float row[LINEAR1];
    __shared__ float scratch[MAX_WARPS];
    const LinearLayer layer = {parameters + AT_LINEAR2_WEIGHT, parameters + AT_LINEAR2_BIAS, parameters, AT_BN4_GAMMA,
                               LINEAR2, x_hat4, y4, batch_mean + BN4, batch_var + BN4};
    linear_forward<LINEAR1>(layer, y3, settings[SETTING_EPS], n, row, scratch);
}

// d_y4 [84][n] and the gradients of linear3, BN 4 and linear2, from d_logits [10][n]. Blocks beyond the features compute a
// class's row of linear3 each; the last one adds the batch's loss and hits to the totals.
extern "C" __global__ void __launch_bounds__(LINEAR_THREADS, 2)
    linear_2_backward(const float *__restrict__ d_logits, float *__restrict__ x_hat4, float *__restrict__ y4,
                      const float *__restrict__ y3, float *__restrict__ batch_mean, float *__restrict__ batch_var,
                      const float *__restrict__ parameters, const float *__restrict__ settings,
                      const double *__restrict__ loss_slots, double *__restrict__ totals, float *__restrict__ d_y4,
                      float *__restrict__ gradients, unsigned n) {
    __shared__ float column[CLASSES];
    __shared__ float scratch[2 * MAX_WARPS];
    __shared__ double totals_scratch[2 * MAX_WARPS];
    const unsigned block = blockIdx.x;
    if (block < LINEAR2) {
        const LinearLayer layer = {nullptr, nullptr, parameters, AT_BN4_GAMMA, LINEAR2, x_hat4, y4, batch_mean + BN4,
                                   batch_var + BN4};
        linear_d_y<CLASSES>(layer, d_logits, parameters + AT_LINEAR3_WEIGHT, d_y4, gradients,
                            settings[SETTING_EPS], n, column, scratch);
        linear_d_weight_row<LINEAR1>(gradients + AT_LINEAR2_WEIGHT + block * LINEAR1, d_y4 + block * n, y3, n);
    } else if (block < LINEAR2 + CLASSES) {
        const unsigned k = block - LINEAR2;
        const float *d = d_logits + k * n;
        linear_d_weight_row<LINEAR2>(gradients + AT_LINEAR3_WEIGHT + k * LINEAR2, d, y4, n);
        float d_bias[1] = {0.0f};
        for (unsigned example = threadIdx.x; example < n; example += blockDim.x) {
            d_bias[0] += d[example];
        }
        block_sums(d_bias, scratch);
        if (threadIdx.x == 0) {
            gradients[AT_LINEAR3_BIAS + k] = d_bias[0];
        }
    } else {
        add_totals(totals, loss_slots, (n + LANES - 1) / LANES, n, totals_scratch);
    }
}

// d_y3 [120][n] and the gradients of BN 3 and linear1, from d_y4 [84][n].
extern "C" __global__ void __launch_bounds__(LINEAR_THREADS, 2)
    linear_1_backward(const float *__restrict__ d_y4, float *__restrict__ x_hat3, float *__restrict__ y3,
                      const float *__restrict__ flat, float *__restrict__ batch_mean, float *__restrict__ batch_var,
                      const float *__restrict__ parameters, const float *__restrict__ settings,
                      float *__restrict__ d_y3, float *__restrict__ gradients, unsigned n) {
    __shared__ float column[LINEAR2];
    __shared__ float scratch[2 * MAX_WARPS];
    const LinearLayer layer = {nullptr, nullptr, parameters, AT_BN3_GAMMA, LINEAR1, x_hat3, y3, batch_mean + BN3,
                               batch_var + BN3};
    linear_d_y<LINEAR2>(layer, d_y4, parameters + AT_LINEAR2_WEIGHT, d_y3, gradients,
                        settings[SETTING_EPS], n, column, scratch);
    linear_d_weight_row<FLAT>(gradients + AT_LINEAR1_WEIGHT + blockIdx.x * FLAT, d_y3 + blockIdx.x * n, flat, n);
}
