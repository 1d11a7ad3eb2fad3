// BatchNorm, sigmoid and average pooling of one square of POOL x POOL values, forward and backward.
// Twins: host-trainer/src/engine/reference/{batch_norm,sigmoid,avg_pool2d}.rs. No kernel of its own: the maps before the
// pool are never written again, each reader normalises what the convolution left.
#pragma once

#include "batch_norm.cuh"
#include "sigmoid.cuh"

static_assert(POOL == 2, "squares of two rows of two");
constexpr float POOL_SHARE = 1.0f / (POOL * POOL);

// `x`: the square's first value in a map that is `side` wide, before BatchNorm. The mean of the four after sigmoid.
__device__ inline float avg_pool2d_forward(const float *x, int side, const Channel &channel) {
    float sum = 0.0f;
    for (int i = 0; i < POOL * POOL; i++) {
        sum += sigmoid_forward(channel.y(channel.x_hat(x[i / POOL * side + i % POOL])));
    }
    return sum * POOL_SHARE;
}

// Gradient at BatchNorm's output for one value x before it, whose square has the gradient d_pool.
__device__ inline float avg_pool2d_backward(float d_pool, float x_hat, const Channel &channel) {
    return sigmoid_backward(d_pool * POOL_SHARE, sigmoid_forward(channel.y(x_hat)));
}
