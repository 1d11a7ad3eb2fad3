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

#include "update.cuh"

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
        parameters[i] = sgd(parameters[i], gradients[i], coefficients + (step[0] - 1) * COEFFICIENT_COUNT);
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
    parameters[i] = adamw(parameters[i], gradients[i], first + i, second + i, treatments[i],
                          coefficients + (step[0] - 1) * COEFFICIENT_COUNT);
}
