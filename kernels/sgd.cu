// The end of a step: gradient descent, the moving statistics, and on to the next batch.
// Twins: host-trainer/src/engine/reference/sgd.rs; batch_norm.rs, function update_statistics.
//
//     parameter -= lr * gradient              moving = (1 - MOMENTUM) * moving + MOMENTUM * batch
//
// | kernel   | blocks                   | threads     |
// |----------|--------------------------|-------------|
// | sgd_step | ceil(PARAMETERS / 256)   | SUM_THREADS |
#pragma once

#include "common.cuh"

// Values a channel of the batch: n for a linear layer, n * h * w for a convolution.
__device__ inline float values_per_channel(unsigned channel, unsigned n) {
    if (channel < BN2) {
        return static_cast<float>(n * CONV1_SIDE * CONV1_SIDE);
    }
    return static_cast<float>(channel < BN3 ? n * CONV2_SIDE * CONV2_SIDE : n);
}

// Position in the parameters of a channel's running_mean; running_var lies `channels` further.
struct Statistics {
    unsigned mean, channels;
};

__device__ inline Statistics statistics_of(unsigned channel) {
    if (channel < BN2) {
        return {AT_BN1_RUNNING_MEAN + channel - BN1, CONV1_CHANNELS};
    }
    if (channel < BN3) {
        return {AT_BN2_RUNNING_MEAN + channel - BN2, CONV2_CHANNELS};
    }
    if (channel < BN4) {
        return {AT_BN3_RUNNING_MEAN + channel - BN3, LINEAR1};
    }
    return {AT_BN4_RUNNING_MEAN + channel - BN4, LINEAR2};
}

// The gradients hold zeros in the places of the moving statistics; a place with gradient zero is not even written, as another
// thread writes the statistics. A batch whose loss was not finite changes nothing.
extern "C" __global__ void __launch_bounds__(SUM_THREADS)
    sgd_step(float *__restrict__ parameters, const float *__restrict__ gradients, const float *__restrict__ batch_mean,
             const float *__restrict__ batch_var, const float *__restrict__ settings, const double *__restrict__ totals,
             unsigned *__restrict__ step, unsigned n) {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i == 0) {
        step[0] += 1;
    }
    if (totals[TOTAL_STOPPED] != 0.0) {
        return;
    }
    if (i < BN_CHANNELS) {
        const Statistics at = statistics_of(i);
        const float count = values_per_channel(i, n);
        const float correction = settings[SETTING_UNBIASED] != 0.0f ? count / (count - 1.0f) : 1.0f;
        float *mean = parameters + at.mean, *var = parameters + at.mean + at.channels;
        *mean = (1.0f - MOMENTUM) * *mean + MOMENTUM * batch_mean[i];
        *var = (1.0f - MOMENTUM) * *var + MOMENTUM * (correction * batch_var[i]);
    }
    if (i < PARAMETERS && gradients[i] != 0.0f) {
        parameters[i] -= settings[SETTING_LR] * gradients[i];
    }
}
