// The logistic function. Twin: host-trainer/src/engine/reference/sigmoid.rs. No kernel of its own: one value at a time,
// fused behind every BatchNorm.
#pragma once

// y = 1 / (1 + exp(-x))
__device__ inline float sigmoid_forward(float x) { return 1.0f / (1.0f + expf(-x)); }

// d_x = d_y * y * (1 - y), from the forward pass's result y.
__device__ inline float sigmoid_backward(float d_y, float y) { return d_y * y * (1.0f - y); }
