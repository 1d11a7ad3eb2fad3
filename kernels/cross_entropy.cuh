// Softmax and cross-entropy of one example, and what a teacher adds. The kernel, and the formulas: cross_entropy.cu.
// Twins: host-trainer/src/engine/reference/cross_entropy.rs, host-trainer/src/engine/distill.rs.
#pragma once

#include "common.cuh"

struct Loss {
    float loss;
    bool correct;
};

// Turns one example's logits into probabilities. The largest logit is taken off first, which keeps exp from overflowing;
// the lowest index wins a tie. A NaN among the logits makes the loss NaN.
__device__ inline Loss cross_entropy(float (&logits)[CLASSES], unsigned label, float smoothing) {
    unsigned best = 0;
    for (unsigned k = 1; k < CLASSES; k++) {
        best = logits[k] > logits[best] ? k : best;
    }
    float largest = logits[0], label_logit = 0.0f, sum = 0.0f, all = 0.0f;
    for (unsigned k = 1; k < CLASSES; k++) {
        largest = k == best ? logits[k] : largest;
    }
    for (unsigned k = 0; k < CLASSES; k++) {
        const float logit = logits[k] - largest;
        label_logit = k == label ? logit : label_logit;
        all += logit;
        logits[k] = expf(logit);
        sum += logits[k];
    }
    for (unsigned k = 0; k < CLASSES; k++) {
        logits[k] /= sum;
    }
    return {logf(sum) - ((1.0f - smoothing) * label_logit + smoothing / CLASSES * all), best == label};
}

// Logits divided by the temperature become logarithms of probabilities.
__device__ inline void log_softmax(float (&logits)[CLASSES], float temperature) {
    float largest = logits[0], sum = 0.0f;
    for (unsigned k = 1; k < CLASSES; k++) {
        largest = fmaxf(largest, logits[k]);
    }
    for (unsigned k = 0; k < CLASSES; k++) {
        logits[k] = (logits[k] - largest) / temperature;
        sum += expf(logits[k]);
    }
    for (unsigned k = 0; k < CLASSES; k++) {
        logits[k] -= logf(sum);
    }
}

// The loss of an example that also learns what a teacher says of it, from the one with its label; and in place of that one's
// gradient by the logits, `d`, the whole gradient. `ours` and `theirs` are logits, and are not kept.
__device__ inline float learn_from_teacher(float (&ours)[CLASSES], float (&theirs)[CLASSES], float weight, float temperature,
                                           float loss, float (&d)[CLASSES]) {
    log_softmax(ours, temperature);
    log_softmax(theirs, temperature);
    float divergence = 0.0f;
    for (unsigned k = 0; k < CLASSES; k++) {
        const float share = expf(theirs[k]);
        divergence += share * (theirs[k] - ours[k]);
        d[k] = (1.0f - weight) * d[k] + weight * temperature * (expf(ours[k]) - share);
    }
    return (1.0f - weight) * loss + weight * temperature * temperature * divergence;
}
