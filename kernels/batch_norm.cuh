// Batch normalization in training mode, forward and backward, fused into the kernels of the layers before and behind it.
// Twin: host-trainer/src/engine/reference/batch_norm.rs, functions batch_norm_train and batch_norm_backward.
//
//     x_hat = (x - mean) / sqrt(var + eps)        y = gamma * x_hat + beta
//     d_x = gamma / sqrt(var + eps) * (d_y - mean(d_y) - x_hat * mean(d_y * x_hat))
//
// A channel of a convolution spans the whole batch, so its statistics are the one thing a block cannot know alone. Each
// example leaves a slot, [channels][n], with its own mean and its sum of squared distances from that mean (both found in
// two passes over registers); whoever needs the batch's statistics merges the slots (Chan et al. 1983, equal counts). A
// feature of a linear layer belongs to one block, which holds all its examples: no slots.
#pragma once

#include "approximate.cuh"
#include "common.cuh"

// What a normalisation needs of one channel.
struct Channel {
    float mean, inverse_deviation, gamma, beta;

    __device__ float x_hat(float x) const { return (x - mean) * inverse_deviation; }
    __device__ float y(float x_hat) const { return gamma * x_hat + beta; }
};

// `layer` is the position of gamma in the parameters; beta, running_mean and running_var follow it, `channels` apart.
__device__ inline Channel batch_norm_channel(const float *parameters, unsigned layer, unsigned channels, unsigned c,
                                             float mean, float var, float eps) {
    return {mean, approximate_inverse_root(var + eps), parameters[layer + c], parameters[layer + channels + c]};
}

// Forward: merges `slots` slots a channel of `per_slot` values each into mean and biased variance, one warp a channel.
// Writes shared[channels]; block 0 also leaves both for the moving statistics in batch_mean and batch_var, [channels].
__device__ inline void batch_norm_merge(Channel *shared, const float *slot_mean, const float *slot_m2, unsigned slots,
                                        unsigned per_slot, const float *parameters, unsigned layer, unsigned channels,
                                        float eps, float *batch_mean, float *batch_var) {
    for (unsigned c = warp(); c < channels; c += warps()) {
        float sum = 0.0f;
        for (unsigned s = lane(); s < slots; s += LANES) {
            sum += slot_mean[c * slots + s];
        }
        const float mean = warp_sum(sum) / slots;
        float m2 = 0.0f;
        for (unsigned s = lane(); s < slots; s += LANES) {
            const float distance = slot_mean[c * slots + s] - mean;
            m2 += slot_m2[c * slots + s] + per_slot * (distance * distance);
        }
        const float var = warp_sum(m2) / (static_cast<float>(slots) * per_slot);
        if (lane() == 0) {
            shared[c] = batch_norm_channel(parameters, layer, channels, c, mean, var, eps);
            if (blockIdx.x == 0) {
                batch_mean[c] = mean;
                batch_var[c] = var;
            }
        }
    }
    __syncthreads();
}

// For the backward pass: the statistics that batch_norm_merge left. The caller synchronises.
__device__ inline void batch_norm_load(Channel *shared, const float *batch_mean, const float *batch_var,
                                       const float *parameters, unsigned layer, unsigned channels, float eps) {
    for (unsigned c = threadIdx.x; c < channels; c += blockDim.x) {
        shared[c] = batch_norm_channel(parameters, layer, channels, c, batch_mean[c], batch_var[c], eps);
    }
}

// What the backward pass takes away from d_y: its mean, and its component along x_hat.
struct ChannelGradient {
    float mean_d_y, mean_d_y_x_hat;

    __device__ float d_x(const Channel &channel, float d_y, float x_hat) const {
        return channel.gamma * channel.inverse_deviation * (d_y - mean_d_y - x_hat * mean_d_y_x_hat);
    }
};

// Backward: sums `slots` slots a channel of (sum d_y, sum d_y * x_hat), one warp a channel. Writes shared[channels];
// block 0 writes d_gamma and d_beta at their place in the gradients. `count` is the number of values a channel.
__device__ inline void batch_norm_merge_backward(ChannelGradient *shared, const float *slot_d_y,
                                                 const float *slot_d_y_x_hat, unsigned slots, unsigned count,
                                                 float *gradients, unsigned layer, unsigned channels) {
    for (unsigned c = warp(); c < channels; c += warps()) {
        float d_beta = 0.0f, d_gamma = 0.0f;
        for (unsigned s = lane(); s < slots; s += LANES) {
            d_beta += slot_d_y[c * slots + s];
            d_gamma += slot_d_y_x_hat[c * slots + s];
        }
        d_beta = warp_sum(d_beta);
        d_gamma = warp_sum(d_gamma);
        if (lane() == 0) {
            shared[c] = {d_beta / count, d_gamma / count};
            if (blockIdx.x == 0) {
                gradients[layer + c] = d_gamma;
                gradients[layer + channels + c] = d_beta;
            }
        }
    }
    __syncthreads();
}
