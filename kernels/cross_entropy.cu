// The last linear layer, softmax and cross-entropy, forward and backward.
// Twins: host-trainer/src/engine/reference/{linear,cross_entropy}.rs. linear3's own gradients: linear.cu.
//
//     y4 [84][n] -> logits [10][n] -> loss = log(sum exp(logits)) - logits[label]
//     d_logits = (softmax - one_hot(label)) / n
//
// With label smoothing s the one-hot target gives a share s away, evenly to all classes: target = (1 - s) one_hot + s / classes,
// loss = log(sum exp(logits)) - target . logits.
//
// With a teacher of weight w and temperature T, whose logits are theirs, p = softmax(logits / T) and q = softmax(theirs / T):
//
//     loss = (1 - w) loss + w T^2 sum(q log(q / p)),   d_logits = (1 - w) d_logits + w T (p - q) / n
//
// A weight of 0 is no teacher, and nothing of it is read.
//
// | kernel                | blocks       | threads |
// |-----------------------|--------------|---------|
// | cross_entropy_forward | ceil(n / 32) | 32      |
//
// One thread an example. The gradient is one subtraction away from the loss, so forward computes both.
#pragma once

#include "cross_entropy.cuh"

// logits, d_logits [10][n] and a slot of the totals a block, from y4 [84][n]. `teacher` is [order][10].
extern "C" __global__ void __launch_bounds__(LANES)
    cross_entropy_forward(const float *__restrict__ y4, const unsigned char *__restrict__ labels,
                          const unsigned *__restrict__ order, const unsigned *__restrict__ step,
                          const float *__restrict__ teacher, const float *__restrict__ parameters,
                          const float *__restrict__ settings, float *__restrict__ logits,
                          float *__restrict__ d_logits, double *__restrict__ loss_slots, unsigned n) {
    __shared__ float weight[CLASSES * LINEAR2 + CLASSES];
    load_shared(weight, parameters + AT_LINEAR3_WEIGHT, CLASSES * LINEAR2 + CLASSES);
    static_assert(AT_LINEAR3_BIAS == AT_LINEAR3_WEIGHT + CLASSES * LINEAR2, "the bias follows its weight");
    __syncthreads();

    const unsigned example = blockIdx.x * LANES + lane();
    Loss result = {0.0f, false};
    if (example < n) {
        float values[CLASSES];
        for (int k = 0; k < CLASSES; k++) {
            values[k] = weight[CLASSES * LINEAR2 + k];
        }
#pragma unroll 4
        for (int i = 0; i < LINEAR2; i++) {
            const float x = y4[i * n + example];
            for (int k = 0; k < CLASSES; k++) {
                values[k] += weight[k * LINEAR2 + i] * x;
            }
        }
        float own[CLASSES];
        for (int k = 0; k < CLASSES; k++) {
            own[k] = logits[k * n + example] = values[k];
        }
        const unsigned sample = step[0] * n + example, label = labels[example_of(order[sample])];
        const float smoothing = settings[SETTING_LABEL_SMOOTHING], share = smoothing / CLASSES;
        result = cross_entropy(values, label, smoothing);
        for (unsigned k = 0; k < CLASSES; k++) {
            values[k] -= k == label ? 1.0f - smoothing + share : share;
        }
        if (settings[SETTING_TEACHER_WEIGHT] != 0.0f) {
            float theirs[CLASSES];
            for (int k = 0; k < CLASSES; k++) {
                theirs[k] = teacher[sample * CLASSES + k];
            }
            result.loss = learn_from_teacher(own, theirs, settings[SETTING_TEACHER_WEIGHT], settings[SETTING_TEMPERATURE],
                                             result.loss, values);
        }
        for (unsigned k = 0; k < CLASSES; k++) {
            d_logits[k * n + example] = values[k] / n;
        }
    }
    const double loss = warp_sum(static_cast<double>(result.loss));
    const double correct = warp_sum(result.correct ? 1.0 : 0.0);
    if (lane() == 0) {
        loss_slots[2 * blockIdx.x] = loss;
        loss_slots[2 * blockIdx.x + 1] = correct;
    }
}
