// The end of a step of the persistent kernel: the gradients of the linear layers, the sums of the convolutions' slots, and what
// the optimiser does with them. The phases and their order: persistent.cu.
#pragma once

#include "persistent.cuh"

template <int OUT, int IN>
constexpr unsigned LINEAR_TILES = (OUT + TILE_FEATURES - 1) / TILE_FEATURES * ((IN + LANES - 1) / LANES);

// Gradient and descent of one tile of a linear layer, TILE_FEATURES features of LANES weights: a warp sums a share of the examples,
// then the warps' sums are added. `d_y` [n][OUT], `x` [n][IN]; the first tile of a feature takes its bias along.
template <int OUT, int IN>
__device__ inline void persistent_linear_tile(const PersistentRun &run, unsigned tile, const float *d_y, const float *x,
                                              unsigned at_weight, unsigned at_bias) {
    constexpr unsigned TILES_A_ROW = (IN + LANES - 1) / LANES;
    PersistentShared &s = persistent_shared();
    const unsigned first_out = tile / TILES_A_ROW * TILE_FEATURES, first_in = tile % TILES_A_ROW * LANES;
    float sums[TILE_FEATURES] = {}, biases[TILE_FEATURES] = {};
#pragma unroll 4
    for (unsigned example = warp(); example < run.n; example += warps()) {
        // Beyond the last weight: read something, write nothing.
        const float value = x[example * IN + min(first_in + lane(), IN - 1u)];
        for (unsigned k = 0; k < TILE_FEATURES; k++) {
            const float d = d_y[example * OUT + min(first_out + k, OUT - 1u)];
            sums[k] += d * value;
            biases[k] += d;
        }
    }
    for (unsigned k = 0; k < TILE_FEATURES; k++) {
        s.within.descent.weights[(warp() * TILE_FEATURES + k) * LANES + lane()] = sums[k];
        if (lane() == 0) {
            s.within.descent.biases[warp() * TILE_FEATURES + k] = biases[k];
        }
    }
    __syncthreads();
    const unsigned k = warp(), out = first_out + k, in = first_in + lane();
    if (k < TILE_FEATURES && out < OUT) {
        float sum = 0.0f, bias = 0.0f;
        for (unsigned w = 0; w < PERSISTENT_WARPS; w++) {
            sum += s.within.descent.weights[(w * TILE_FEATURES + k) * LANES + lane()];
            bias += s.within.descent.biases[w * TILE_FEATURES + k];
        }
        if (in < IN) {
            run.descend(at_weight + out * IN + in, sum);
        }
        if (in == 0) {
            run.descend(at_bias + out, bias);
        }
    }
    __syncthreads();
}

// Gradients and descent of the linear layers, a tile at a time. Nobody reads their weights until the next barrier.
__device__ __noinline__ void persistent_linear_descent() {
    const PersistentRun &run = persistent_shared().run;
    constexpr unsigned TILES1 = LINEAR_TILES<LINEAR1, FLAT>, TILES2 = LINEAR_TILES<LINEAR2, LINEAR1>;
    constexpr unsigned TILES3 = LINEAR_TILES<CLASSES, LINEAR2>;
#pragma unroll 1
    for (unsigned tile = blockIdx.x; tile < TILES1 + TILES2 + TILES3; tile += gridDim.x) {
        if (tile < TILES1) {
            persistent_linear_tile<LINEAR1, FLAT>(run, tile, run.work(WORK_D_Y3), run.work(WORK_FLAT), AT_LINEAR1_WEIGHT,
                                                  AT_LINEAR1_BIAS);
        } else if (tile < TILES1 + TILES2) {
            persistent_linear_tile<LINEAR2, LINEAR1>(run, tile - TILES1, run.work(WORK_D_Y4), run.work(WORK_Y3),
                                                     AT_LINEAR2_WEIGHT, AT_LINEAR2_BIAS);
        } else {
            persistent_linear_tile<CLASSES, LINEAR2>(run, tile - TILES1 - TILES2, run.work(WORK_D_LOGITS),
                                                     run.work(WORK_Y4), AT_LINEAR3_WEIGHT, AT_LINEAR3_BIAS);
        }
    }
}

// Sums of the blocks' slots and descent of the convolutions, LANES parameters at a time; descent of gamma and beta, and the moving
// statistics, by the last block.
__device__ __noinline__ void persistent_descent() {
    const PersistentRun &run = persistent_shared().run;
    float *partial = persistent_shared().within.descent.weights;
    for (unsigned first = blockIdx.x * LANES; first < CONV_PARAMETERS; first += gridDim.x * LANES) {
        const unsigned parameter = min(first + lane(), CONV_PARAMETERS - 1u);
        float sum = 0.0f;
#pragma unroll 8
        for (unsigned slot = warp(); slot < gridDim.x; slot += warps()) {
            sum += run.work(WORK_CONV_SLOTS)[slot * CONV_PARAMETERS + parameter];
        }
        partial[threadIdx.x] = sum;
        __syncthreads();
        if (warp() == 0 && first + lane() < CONV_PARAMETERS) {
            for (unsigned w = 1; w < warps(); w++) {
                sum += partial[w * LANES + lane()];
            }
            const unsigned at = parameter < CONV1_LAYER ? AT_CONV1_WEIGHT + parameter : AT_CONV2_WEIGHT + parameter - CONV1_LAYER;
            run.descend(at, sum);
        }
        __syncthreads();
    }
    if (blockIdx.x == gridDim.x - 1 && threadIdx.x < BN_CHANNELS) {
        const Statistics at = statistics_of(threadIdx.x);
        follow(threadIdx.x, run.parameters, run.batch_mean, run.batch_var, run.settings, run.n);
        // gamma and beta lie before the moving statistics.
        const unsigned gamma = at.mean - 2 * at.channels, beta = at.mean - at.channels;
        run.descend(gamma, run.gradients[gamma]);
        run.descend(beta, run.gradients[beta]);
    }
}

// Adds the batch to the totals of the call: its loss and its hits. As add_totals.
__device__ __noinline__ void persistent_totals() {
    const PersistentRun &run = persistent_shared().run;
    const float2 loss = persistent_shared().loss;
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        run.totals[TOTAL_LOSS] += loss.x;
        run.totals[TOTAL_CORRECT] += rintf(loss.y); // a tag was in it
        run.totals[TOTAL_EXAMPLES] += run.n;
        run.totals[TOTAL_STOPPED] = isfinite(loss.x) ? 0.0 : 1.0;
    }
}
