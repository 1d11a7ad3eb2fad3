// Losses and hits: every group of 32 examples (one example, in inference) leaves a slot (sum of losses, hits), and one block
// adds the slots to the totals of the call. In f64, so that a call may be split anywhere.
// Twin: host-trainer/src/engine/mod.rs, struct Totals.
#pragma once

#include "common.cuh"

// totals[TOTAL_COUNT]: loss, hits, examples, and 1 once a batch's loss was not finite: from then on nothing is added and no
// step is made. Called by one block; shared: `scratch` [2 * MAX_WARPS].
__device__ inline void add_totals(double *totals, const double *slots, unsigned count, unsigned examples,
                                  double *scratch) {
    double sums[2] = {0.0, 0.0};
    for (unsigned s = threadIdx.x; s < count; s += blockDim.x) {
        sums[0] += slots[2 * s];
        sums[1] += slots[2 * s + 1];
    }
    block_sums(sums, scratch);
    if (threadIdx.x == 0 && totals[TOTAL_STOPPED] == 0.0) {
        totals[TOTAL_LOSS] += sums[0];
        totals[TOTAL_CORRECT] += sums[1];
        totals[TOTAL_EXAMPLES] += examples;
        totals[TOTAL_STOPPED] = isfinite(sums[0]) ? 0.0 : 1.0;
    }
}
