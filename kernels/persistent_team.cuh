// The products of the persistent kernel's linear layers: a block's share of the features for all of its team's examples, forward and
// backward. Who shares what: persistent_linear.cuh.
#pragma once

#include "persistent.cuh"

// Forward of a linear layer of IN inputs: a warp takes four features of four examples at a time, lanes share the inputs. The
// weights of the first ones are asked for by `begin`.
template <int IN>
struct TeamLinear {
    static constexpr int ROUNDS = (IN + VECTOR * static_cast<int>(LANES) - 1) / (VECTOR * static_cast<int>(LANES));
    static constexpr unsigned EXAMPLE_QUADS = TEAM_EXAMPLES / VECTOR;
    static_assert(IN % VECTOR == 0, "inputs in whole vectors");

    const float *weights, *biases;
    Share share;
    float4 w[VECTOR][ROUNDS];
    float bias;

    // Which of the warp's sums a lane ends with: an example and a feature of four.
    __device__ static unsigned feature_of_lane() { return warp_sums_index<VECTOR * VECTOR>() % VECTOR; }
    __device__ static unsigned example_of_lane() { return warp_sums_index<VECTOR * VECTOR>() / VECTOR; }

    __device__ void load(unsigned unit) {
#pragma unroll
        for (unsigned f = 0; f < VECTOR; f++) {
            const float *row = weights + min(share.first + unit / EXAMPLE_QUADS * VECTOR + f, share.end - 1) * IN;
#pragma unroll
            for (unsigned r = 0; r < ROUNDS; r++) {
                const unsigned i = (r * LANES + lane()) * VECTOR;
                w[f][r] = i < IN ? load4(row + i) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            }
        }
        bias = biases[min(share.first + unit / EXAMPLE_QUADS * VECTOR + feature_of_lane(), share.end - 1)];
    }

    // A share, not an empty one, of the features whose weights and biases these are.
    __device__ void begin(const float *all_weights, const float *all_biases, Share features) {
        weights = all_weights;
        biases = all_biases;
        share = features;
        load(warp());
    }

    // `x` [TEAM_EXAMPLES][IN] and `to` [TEAM_EXAMPLES][out] are shared.
    __device__ void run(const float *x, float *to, unsigned out) {
#pragma unroll 1
        for (unsigned unit = warp(); share.first + unit / EXAMPLE_QUADS * VECTOR < share.end; unit += PERSISTENT_WARPS) {
            if (unit != warp()) {
                load(unit);
            }
            const unsigned first_example = unit % EXAMPLE_QUADS * VECTOR;
            float sums[VECTOR * VECTOR] = {};
#pragma unroll
            for (unsigned e = 0; e < VECTOR; e++) {
#pragma unroll
                for (unsigned r = 0; r < ROUNDS; r++) {
                    const unsigned i = (r * LANES + lane()) * VECTOR;
                    const float4 v = load4(x + (first_example + e) * IN + (i < IN ? i : 0));
#pragma unroll
                    for (unsigned f = 0; f < VECTOR; f++) {
                        const float4 u = w[f][r];
                        float &sum = sums[e * VECTOR + f];
                        sum += u.x * v.x;
                        sum += u.y * v.y;
                        sum += u.z * v.z;
                        sum += u.w * v.w;
                    }
                }
            }
            const float sum = warp_sums(sums);
            const unsigned o = share.first + unit / EXAMPLE_QUADS * VECTOR + feature_of_lane(),
                           e = first_example + example_of_lane();
            if (lane() % (LANES / (VECTOR * VECTOR)) == 0 && o < share.end) {
                to[e * out + o] = sum + bias;
            }
        }
    }
};

// Gradient of a share of the inputs of a linear layer with OUT outputs and IN inputs, LANES of them at a time, a lane each, and
// in parts: a warp sums a share of the outputs for half of the examples; the gradients of two outputs lie `OF` apart. The
// weights of the first inputs are asked for by `begin`.
template <int OUT, int IN, int OF>
struct TeamGradient {
    static constexpr int ROUNDS = (OUT + PARTS - 1) / PARTS;

    const float *weights;
    Share share;
    float w[ROUNDS];

    __device__ void load(unsigned first) {
        const unsigned column = min(first + lane(), share.end - 1);
#pragma unroll
        for (unsigned r = 0; r < ROUNDS; r++) {
            const unsigned o = r * PARTS + warp() / HALVES;
            w[r] = o < OUT ? weights[o * IN + column] : 0.0f;
        }
    }

    __device__ void begin(const float *all_weights, Share inputs) {
        weights = all_weights;
        share = inputs;
        load(share.first);
    }

    // `d` [OUT][TEAM_EXAMPLES] and `parts` [PARTS][TEAM_EXAMPLES][LANES] are shared. `use(input)` is called by every warp, and
    // finds the parts of that input in its lane's column.
    template <typename Use>
    __device__ void each(const float *d, float *parts, const Use &use) {
#pragma unroll 1
        for (unsigned first = share.first; first < share.end; first += LANES) {
            if (first != share.first) {
                load(first);
            }
            sum(d, parts);
            __syncthreads();
            if (first + lane() < share.end) {
                use(first + lane());
            }
            __syncthreads();
        }
    }

    __device__ void sum(const float *d, float *parts) const {
        const unsigned part = warp() / HALVES, first_example = warp() % HALVES * RUN;
        float sums[RUN] = {};
#pragma unroll
        for (unsigned r = 0; r < ROUNDS; r++) {
            const unsigned o = min(r * PARTS + part, OUT - 1u);
            float values[RUN];
            load_row(values, d + o * OF + first_example);
            for (int e = 0; e < RUN; e++) {
                sums[e] += w[r] * values[e];
            }
        }
        for (int e = 0; e < RUN; e++) {
            parts[(part * TEAM_EXAMPLES + first_example + e) * LANES + lane()] = sums[e];
        }
    }
};
static_assert(RUN * HALVES == TEAM_EXAMPLES, "a warp holds half of the examples");

// The sum of the parts for one example, in this lane's column.
__device__ inline float sum_of_parts(const float *parts, unsigned e) {
    float sum = 0.0f;
    for (int part = 0; part < PARTS; part++) {
        sum += parts[(part * TEAM_EXAMPLES + e) * LANES + lane()];
    }
    return sum;
}
