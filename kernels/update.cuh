// What a step does with one parameter, and with the moving statistics of one channel. The kernels, and the formulas: update.cu.
// Twins: host-trainer/src/engine/reference/{sgd,adamw}.rs; batch_norm.rs, function update_statistics.
#pragma once

#include "common.cuh"

// The parameter after the step. `step` [COEFFICIENT_COUNT] holds the step's rate, decay and root.
__device__ inline float sgd(float parameter, float gradient, const float *step) {
    return parameter - step[COEFFICIENT_RATE] * gradient;
}

// Likewise; `first` and `second` are the parameter's m and v. Not for TREATMENT_KEEP.
__device__ inline float adamw(float parameter, float gradient, float *first, float *second, unsigned treatment,
                              const float *step) {
    const float decay = treatment == TREATMENT_STEP_AND_DECAY ? step[COEFFICIENT_DECAY] : 0.0f;
    const float m = BETA1 * *first + (1.0f - BETA1) * gradient, v = BETA2 * *second + (1.0f - BETA2) * gradient * gradient;
    *first = m;
    *second = v;
    const float decayed = parameter - decay * parameter;
    return decayed - step[COEFFICIENT_RATE] * m / (step[COEFFICIENT_ROOT] * sqrtf(v) + ADAM_EPS);
}

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

// Lets the moving statistics follow the batch.
__device__ inline void follow(unsigned i, float *parameters, const float *batch_mean, const float *batch_var,
                              const float *settings, unsigned n) {
    if (i < BN_CHANNELS) {
        const Statistics at = statistics_of(i);
        const float count = values_per_channel(i, n);
        const float correction = settings[SETTING_UNBIASED] != 0.0f ? count / (count - 1.0f) : 1.0f;
        float *mean = parameters + at.mean, *var = parameters + at.mean + at.channels;
        *mean = (1.0f - MOMENTUM) * *mean + MOMENTUM * batch_mean[i];
        *var = (1.0f - MOMENTUM) * *var + MOMENTUM * (correction * batch_var[i]);
    }
}
