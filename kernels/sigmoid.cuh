// The logistic function. Twin: host-trainer/src/engine/reference/sigmoid.rs. No kernel of its own: one value at a time,
// fused behind every BatchNorm. Made of what the hardware has an instruction for, powers of two and reciprocals to some 2^-22: at
// |x| = 10 that is an error of 6e-7 of y * (1 - y).
#pragma once

#include "approximate.cuh"

constexpr float LOG2_E = 1.44269504f;

// y = 1 / (1 + exp(-x))
__device__ inline float sigmoid_forward(float x) {
    return approximate_reciprocal(1.0f + approximate_power_of_two(x * -LOG2_E));
}

// d_x = d_y * y * (1 - y), from the forward pass's result y.
__device__ inline float sigmoid_backward(float d_y, float y) { return d_y * y * (1.0f - y); }
