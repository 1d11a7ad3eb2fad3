// The end of a step: the optimiser, and the moving statistics.
// Twins: host-trainer/src/engine/reference/{sgd,adamw}.rs; batch_norm.rs, function update_statistics.
//
//     sgd    parameter -= rate * gradient
//     adamw  m = BETA1 * m + (1 - BETA1) * gradient        v = BETA2 * v + (1 - BETA2) * gradient * gradient
//            parameter -= decay * parameter (weights), then rate * m / (root * sqrt(v) + ADAM_EPS)
//     moving = (1 - MOMENTUM) * moving + MOMENTUM * batch
//
// | kernel     | blocks                   | threads     |
// |------------|--------------------------|-------------|
// | sgd_step   | ceil(PARAMETERS / 256)   | SUM_THREADS |
// | adamw_step | ceil(PARAMETERS / 256)   | SUM_THREADS |
//
// rate, decay and root of each step of the call lie in coefficients [steps][COEFFICIENT_COUNT]; `step` has moved on already.
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

// The gradients hold zeros in the places of the moving statistics; a place with gradient zero is not even written, as another
// thread writes the statistics. A batch whose loss was not finite changes nothing.
extern "C" __global__ void __launch_bounds__(SUM_THREADS)
    sgd_step(float *__restrict__ parameters, const float *__restrict__ gradients, const float *__restrict__ batch_mean,
             const float *__restrict__ batch_var, const float *__restrict__ settings, const double *__restrict__ totals,
             const float *__restrict__ coefficients, const unsigned *__restrict__ step, unsigned n) {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (totals[TOTAL_STOPPED] != 0.0) {
        return;
    }
    follow(i, parameters, batch_mean, batch_var, settings, n);
    if (i < PARAMETERS && gradients[i] != 0.0f) {
        parameters[i] -= coefficients[(step[0] - 1) * COEFFICIENT_COUNT + COEFFICIENT_RATE] * gradients[i];
    }
}

// `treatments` [PARAMETERS] says what AdamW does in each place: nothing in those of the moving statistics, which another
// thread writes, and of biases before a BatchNorm. `first` and `second` [PARAMETERS] are m and v.
extern "C" __global__ void __launch_bounds__(SUM_THREADS)
    adamw_step(float *__restrict__ parameters, const float *__restrict__ gradients, const float *__restrict__ batch_mean,
               const float *__restrict__ batch_var, const float *__restrict__ settings, const double *__restrict__ totals,
               const float *__restrict__ coefficients, const unsigned *__restrict__ step,
               const unsigned char *__restrict__ treatments, float *__restrict__ first, float *__restrict__ second,
               unsigned n) {
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (totals[TOTAL_STOPPED] != 0.0) {
        return;
    }
    follow(i, parameters, batch_mean, batch_var, settings, n);
    if (i >= PARAMETERS || treatments[i] == TREATMENT_KEEP) {
        return;
    }
    const float *c = coefficients + (step[0] - 1) * COEFFICIENT_COUNT;
    const float g = gradients[i], decay = treatments[i] == TREATMENT_STEP_AND_DECAY ? c[COEFFICIENT_DECAY] : 0.0f;
    const float m = BETA1 * first[i] + (1.0f - BETA1) * g, v = BETA2 * second[i] + (1.0f - BETA2) * g * g;
    first[i] = m;
    second[i] = v;
    const float decayed = parameters[i] - decay * parameters[i];
    parameters[i] = decayed - c[COEFFICIENT_RATE] * m / (c[COEFFICIENT_ROOT] * sqrtf(v) + ADAM_EPS);
}
