// The end of a step of the persistent kernel: the gradients of the linear layers, the sums of the convolutions' slots, and what
// the optimiser does with them. The phases and their order: persistent.cu.
#pragma once

#include "persistent.cuh"

// How a linear layer's gradient is cut into tiles, `features` of LANES weights each: so that a batch of 256, 128 blocks, has
// one tile a block. Gradients of the outputs lie `stride` floats apart and are read `width` at a time. A layer in front of a
// BatchNorm has no gradient of biases.
template <int FEATURES_IN_ALL, int IN_IN_ALL, int TILE, int STRIDE, int WIDTH, bool WITH_BIASES>
struct LinearTiles {
    static constexpr int OUT = FEATURES_IN_ALL, IN = IN_IN_ALL, FEATURES = TILE, ROW = STRIDE, WIDE = WIDTH;
    static constexpr bool BIASES = WITH_BIASES;
    static constexpr unsigned A_ROW = (IN + LANES - 1) / LANES, COUNT = (OUT + FEATURES - 1) / FEATURES * A_ROW;
    static_assert(FEATURES <= MOST_TILE_FEATURES && FEATURES % WIDE == 0 && ROW % WIDE == 0, "whole reads");
};
using Tiles1 = LinearTiles<LINEAR1, FLAT, 10, LINEAR1, 2, false>;
using Tiles2 = LinearTiles<LINEAR2, LINEAR1, 12, LINEAR2, 4, false>;
using Tiles3 = LinearTiles<CLASSES, LINEAR2, 12, D_LOGITS_ROW, 4, true>;
static_assert(Tiles1::COUNT + Tiles2::COUNT + Tiles3::COUNT <= 128, "one each");

// One tile's sums over a warp's share of the examples: `count` rows of d_y and x, from the first on.
template <typename Tiles>
__device__ inline void persistent_tile_sums(float (&sums)[Tiles::FEATURES], const float *d_y, const float *x, unsigned count) {
#pragma unroll 4
    for (unsigned example = 0; example < count; example++) {
        const float value = x[example * Tiles::IN];
        float d[Tiles::FEATURES];
#pragma unroll
        for (int k = 0; k < Tiles::FEATURES; k += Tiles::WIDE) {
            const float *at = d_y + example * Tiles::ROW + k;
            if (Tiles::WIDE == 2) {
                const float2 two = *reinterpret_cast<const float2 *>(at);
                d[k] = two.x;
                d[k + 1] = two.y;
            } else {
                const float4 four = load4(at);
                d[k] = four.x;
                d[k + 1] = four.y;
                d[k + 2] = four.z;
                d[k + 3] = four.w;
            }
        }
#pragma unroll
        for (int k = 0; k < Tiles::FEATURES; k++) {
            sums[k] += d[k] * value;
        }
    }
}

// The sums of d_y alone, the gradient of the biases: a lane each, of every other example; then of both halves of the warp.
template <typename Tiles>
__device__ inline float persistent_tile_bias(const float *d_y, unsigned count) {
    constexpr unsigned HALF = LANES / 2;
    static_assert(Tiles::FEATURES <= static_cast<int>(HALF), "half a warp");
    float sum = 0.0f;
#pragma unroll 4
    for (unsigned example = lane() / HALF; example < count; example += 2) {
        sum += d_y[example * Tiles::ROW + min(lane() % HALF, Tiles::FEATURES - 1u)];
    }
    return sum + __shfl_xor_sync(ALL_LANES, sum, HALF);
}

// Gradient and descent of one tile of a linear layer: a warp sums a share of the examples, then the warps' sums are added.
// `d_y` [n][ROW], `x` [n][IN]; the first tile of a feature takes its bias along. What is read beyond the last feature or weight
// is not used.
template <typename Tiles>
__device__ inline void persistent_linear_tile(unsigned tile, const float *d_y, const float *x, unsigned at_weight,
                                              unsigned at_bias) {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    const unsigned first_out = tile / Tiles::A_ROW * Tiles::FEATURES, first_in = tile % Tiles::A_ROW * LANES;
    const unsigned share = (run.n + PERSISTENT_WARPS - 1) / PERSISTENT_WARPS, first = min(warp() * share, run.n);
    const unsigned count = min(share, run.n - first);
    const unsigned k = warp(), out = first_out + k, in = first_in + lane();
    const bool owns = k < Tiles::FEATURES && out < Tiles::OUT && in < Tiles::IN, owns_bias = Tiles::BIASES && owns && in == 0;
    const float before = owns ? run.parameters[at_weight + out * Tiles::IN + in] : 0.0f;
    const float bias_before = owns_bias ? run.parameters[at_bias + out] : 0.0f;
    d_y += first * Tiles::ROW + first_out;
    x += first * Tiles::IN + min(first_in + lane(), Tiles::IN - 1u);
    float sums[Tiles::FEATURES] = {};
    persistent_tile_sums<Tiles>(sums, d_y, x, count);
#pragma unroll
    for (unsigned f = 0; f < Tiles::FEATURES; f++) {
        s.within.end.descent.weights[(warp() * Tiles::FEATURES + f) * LANES + lane()] = sums[f];
    }
    if (Tiles::BIASES && first_in == 0) {
        const float bias = persistent_tile_bias<Tiles>(d_y, count);
        if (lane() < Tiles::FEATURES) {
            s.within.end.descent.biases[warp() * Tiles::FEATURES + lane()] = bias;
        }
    }
    __syncthreads();
    if (owns) {
        float sum = 0.0f;
#pragma unroll
        for (unsigned w = 0; w < PERSISTENT_WARPS; w++) {
            sum += s.within.end.descent.weights[(w * Tiles::FEATURES + k) * LANES + lane()];
        }
        run.descend(at_weight + out * Tiles::IN + in, before, sum);
        if (owns_bias) {
            float bias = 0.0f;
            for (unsigned w = 0; w < PERSISTENT_WARPS; w++) {
                bias += s.within.end.descent.biases[w * Tiles::FEATURES + k];
            }
            run.descend(at_bias + out, bias_before, bias);
        }
    }
    __syncthreads();
}

// Gradients and descent of the linear layers, a tile at a time. Nobody reads their weights until the next barrier.
__device__ __noinline__ void persistent_linear_descent() {
    const PersistentRun &run = persistent_shared().run;
#pragma unroll 1
    for (unsigned tile = blockIdx.x; tile < Tiles1::COUNT + Tiles2::COUNT + Tiles3::COUNT; tile += gridDim.x) {
        if (tile < Tiles1::COUNT) {
            persistent_linear_tile<Tiles1>(tile, run.work(WORK_D_Y3), run.work(WORK_FLAT), AT_LINEAR1_WEIGHT, AT_LINEAR1_BIAS);
        } else if (tile < Tiles1::COUNT + Tiles2::COUNT) {
            persistent_linear_tile<Tiles2>(tile - Tiles1::COUNT, run.work(WORK_D_Y4), run.work(WORK_Y3), AT_LINEAR2_WEIGHT,
                                           AT_LINEAR2_BIAS);
        } else {
            persistent_linear_tile<Tiles3>(tile - Tiles1::COUNT - Tiles2::COUNT, run.work(WORK_D_LOGITS), run.work(WORK_Y4),
                                           AT_LINEAR3_WEIGHT, AT_LINEAR3_BIAS);
        }
    }
}

// Sums of the blocks' slots and descent of the convolutions, LANES parameters at a time; descent of gamma and beta, and the
// moving statistics, by the last block.
__device__ __noinline__ void persistent_descent() {
    const PersistentRun &run = persistent_shared().run;
    float *partial = persistent_shared().within.end.descent.weights;
    for (unsigned first = blockIdx.x * LANES; first < CONV_WEIGHTS; first += gridDim.x * LANES) {
        const unsigned parameter = min(first + lane(), CONV_WEIGHTS - 1u);
        const unsigned at = parameter < CONV1_WEIGHTS ? AT_CONV1_WEIGHT + parameter : AT_CONV2_WEIGHT + parameter - CONV1_WEIGHTS;
        const float before = run.parameters[at];
        float sum = 0.0f;
#pragma unroll 8
        for (unsigned slot = warp(); slot < gridDim.x; slot += PERSISTENT_WARPS) {
            sum += run.work(WORK_CONV_SLOTS)[slot * CONV_WEIGHTS + parameter];
        }
        partial[threadIdx.x] = sum;
        __syncthreads();
        if (warp() == 0 && first + lane() < CONV_WEIGHTS) {
#pragma unroll
            for (unsigned w = 1; w < PERSISTENT_WARPS; w++) {
                sum += partial[w * LANES + lane()];
            }
            run.descend(at, before, sum);
        }
        __syncthreads();
    }
    if (blockIdx.x == gridDim.x - 1 && threadIdx.x < BN_CHANNELS) {
        const Statistics at = statistics_of(threadIdx.x);
        follow(threadIdx.x, run.parameters, run.batch_mean, run.batch_var, run.settings, run.n);
        // gamma and beta lie before the moving statistics.
        const unsigned gamma = at.mean - 2 * at.channels, beta = at.mean - at.channels;
        run.descend(gamma, run.parameters[gamma], run.gradients[gamma]);
        run.descend(beta, run.parameters[beta], run.gradients[beta]);
    }
}

// Adds the batch to the totals of the call: its loss and its hits. As add_totals.
__device__ __noinline__ void persistent_totals() {
    const PersistentRun &run = persistent_shared().run;
    const float2 loss = persistent_shared().loss;
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        run.totals[TOTAL_LOSS] += loss.x;
        run.totals[TOTAL_CORRECT] += loss.y;
        run.totals[TOTAL_EXAMPLES] += run.n;
        run.totals[TOTAL_STOPPED] = isfinite(loss.x) ? 0.0 : 1.0;
    }
}
