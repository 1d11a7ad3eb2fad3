// Softmax and cross-entropy of one example. The kernel, and the formulas: cross_entropy.cu.
// Twin: host-trainer/src/engine/reference/cross_entropy.rs.
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
