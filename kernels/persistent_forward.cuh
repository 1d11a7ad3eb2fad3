// The forward pass of the persistent kernel through the convolutions, from the pixels to the flat features. Its phases and
// their order: persistent.cu.
#pragma once

#include "persistent_batch_norm.cuh"

// This step's coefficients; and this block's samples of the step `ahead`, if there is such a step: they are asked for early, as
// the pixels hang on them.
__device__ inline void persistent_samples(unsigned ahead) {
    PersistentShared &s = persistent_shared();
    PersistentRun &run = s.run;
    if (threadIdx.x < COEFFICIENT_COUNT) {
        run.descent.step[threadIdx.x] = run.descent.coefficients[threadIdx.x];
    }
    if (threadIdx.x < run.mine && ahead < run.steps) {
        s.samples[threadIdx.x] = run.order[ahead * run.n + run.first + threadIdx.x];
    }
}

// Asks for the bytes of this block's next samples. They come while the block computes; wait_for_copies waits for them.
__device__ __noinline__ void persistent_pixels() {
    PersistentShared &s = persistent_shared();
    constexpr unsigned PIECES = PIXELS / COPIED_AT_ONCE;
    static_assert(PIXELS % COPIED_AT_ONCE == 0 && MINE * PIECES <= PERSISTENT_THREADS, "a piece a thread");
    const unsigned e = threadIdx.x / PIECES, piece = threadIdx.x % PIECES * COPIED_AT_ONCE;
    if (e < s.run.mine) {
        copy_ahead(s.within.end.pixels + e * PIXELS + piece, pixels_of(s.run.images, s.samples[e]) + piece);
    }
}

// This block's images from the bytes that persistent_pixels asked for; black where an example is missing.
__device__ __noinline__ void persistent_images() {
    const PersistentRun &run = persistent_shared().run;
    for (unsigned e = 0; e < MINE; e++) {
        float *image = persistent_shared().image + e * PIXELS;
        if (e < run.mine) {
            load_image(image, persistent_shared().within.end.pixels + e * PIXELS, persistent_shared().samples[e]);
        } else {
            for (unsigned i = threadIdx.x; i < PIXELS; i += blockDim.x) {
                image[i] = 0.0f;
            }
        }
    }
}

// RUN neighbours, from one row of the input and one of the kernel.
__device__ inline void conv2d_run(float (&sums)[RUN], const float *input, const float *kernel_row) {
    float x[REACH], w[KERNEL_ROW];
    load_row(x, input);
    load_row(w, kernel_row);
    for (int j = 0; j < KERNEL; j++) {
        for (int k = 0; k < RUN; k++) {
            sums[k] += w[j] * x[j + k];
        }
    }
}

__device__ inline void store_run(float *to, const float (&run)[RUN]) {
    for (int k = 0; k < RUN; k += VECTOR) {
        *reinterpret_cast<float4 *>(to + k) = make_float4(run[k], run[k + 1], run[k + 2], run[k + 3]);
    }
}

// Where a kernel's first row keeps the bias.
static_assert(KERNEL < KERNEL_ROW, "in the padding");
constexpr int BIAS_IN_ROW = KERNEL;

// What a step needs of the model all the time: the kernels of both convolutions, their rows padded to KERNEL_ROW, the biases in
// the padding of each output channel's first row, and BatchNorm's parameters. The caller synchronises.
__device__ inline void persistent_load_model() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    const unsigned t = threadIdx.x;
    if (t < ROWS2 + ROWS1) {
        const float *row =
            t < ROWS2 ? run.parameters + AT_CONV2_WEIGHT + t * KERNEL : run.parameters + AT_CONV1_WEIGHT + (t - ROWS2) * KERNEL;
        float *to = t < ROWS2
                        ? s.within.forward.kernels2 + t / ROWS1 * KERNELS2_OF + t % ROWS1 * KERNEL_ROW
                        : s.within.forward.kernels1 + (t - ROWS2) / KERNEL * KERNELS1_OF + (t - ROWS2) % KERNEL * KERNEL_ROW;
        static_assert(KERNEL == VECTOR + 1, "a vector and one");
        *reinterpret_cast<float4 *>(to) = make_float4(row[0], row[1], row[2], row[3]);
        to[VECTOR] = row[VECTOR];
        // conv2 has more rows a channel, conv1 KERNEL of them.
        if (t < ROWS2 ? t % ROWS1 == 0 : (t - ROWS2) % KERNEL == 0) {
            to[BIAS_IN_ROW] =
                t < ROWS2 ? run.parameters[AT_CONV2_BIAS + t / ROWS1] : run.parameters[AT_CONV1_BIAS + (t - ROWS2) / KERNEL];
        }
    }
    if (t < BN_CHANNELS) {
        // gamma and beta lie before the moving statistics.
        const Statistics at = statistics_of(t);
        s.gamma[t] = run.parameters[at.mean - 2 * at.channels];
        s.beta[t] = run.parameters[at.mean - at.channels];
    }
}

// y1.
__device__ __noinline__ void persistent_conv1() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    persistent_load_model();
    __syncthreads();
    persistent_samples(1);
    constexpr int RUNS = CONV1_SIDE / RUN;
#pragma unroll 1
    for (unsigned i = threadIdx.x; i < MINE * CONV1_CHANNELS * CONV1_SIDE * RUNS; i += blockDim.x) {
        // Neighbouring lanes read the same pixels.
        const unsigned c = i % CONV1_CHANNELS, at = i / CONV1_CHANNELS, column = at % RUNS * RUN;
        const unsigned row = at / RUNS % CONV1_SIDE, e = at / (RUNS * CONV1_SIDE);
        const float bias = s.within.forward.kernels1[c * KERNELS1_OF + BIAS_IN_ROW];
        float y[RUN];
        for (int k = 0; k < RUN; k++) {
            y[k] = bias;
        }
#pragma unroll
        for (int a = 0; a < KERNEL; a++) {
            conv2d_run(y, s.image + e * PIXELS + (row + a) * IMAGE_SIDE + column,
                       s.within.forward.kernels1 + c * KERNELS1_OF + a * KERNEL_ROW);
        }
        store_run(s.y1 + (e * CONV1_CHANNELS + c) * Y1_OF + row * CONV1_SIDE + column, y);
    }
    __syncthreads();
    // This block's slots of BN 1: a warp a channel, half of it an example.
    if (warp() < CONV1_CHANNELS) {
        constexpr unsigned HALF = LANES / 2, QUADS = CONV1_MAP / VECTOR / HALF;
        static_assert(QUADS * VECTOR * HALF == CONV1_MAP, "whole vectors a lane");
        const unsigned c = warp();
        const float *map = s.y1 + (lane() / HALF * CONV1_CHANNELS + c) * Y1_OF + lane() % HALF * VECTOR;
        float y[QUADS * VECTOR];
#pragma unroll
        for (unsigned i = 0; i < QUADS; i++) {
            const float4 four = load4(map + i * HALF * VECTOR);
            y[i * VECTOR] = four.x;
            y[i * VECTOR + 1] = four.y;
            y[i * VECTOR + 2] = four.z;
            y[i * VECTOR + 3] = four.w;
        }
        const float2 slot = block_slot<HALF>(slot_of(y), QUADS * VECTOR);
        if (lane() == 0) {
            publish(run.slot(BLOCK_SLOTS1, c), slot.x, slot.y, run.tag);
        }
    }
}

// The place of a couple, two neighbouring squares of layer 1: in y1 (upper row, four values), in pool1 and in d_pool1.
struct Couple {
    unsigned map, in_y1, in_pool1, in_d_pool1;
};

__device__ inline Couple couple_of(unsigned i) {
    const unsigned map = i / COUPLES_A_MAP, at = i % COUPLES_A_MAP, row = at / COUPLES_A_ROW, column = at % COUPLES_A_ROW;
    const unsigned in_map = row * POOL1_SIDE + column * 2;
    return {map, map * Y1_OF + row * POOL * CONV1_SIDE + column * VECTOR, map * POOL1_OF + in_map, map * POOL1_MAP + in_map};
}

// BN 1, pool1, y2, and this block's slots of BN 2.
__device__ __noinline__ void persistent_conv2() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    if (warp() < CONV1_CHANNELS) {
        gather_channel<BN1, CONV1_MAP>(s.channels1, BLOCK_SLOTS1, warp());
    }
    __syncthreads();
#pragma unroll 1
    for (unsigned i = threadIdx.x; i < COUPLES; i += blockDim.x) {
        const Couple couple = couple_of(i);
        const Channel channel = s.channels1[couple.map % CONV1_CHANNELS];
        const float4 upper = load4(s.y1 + couple.in_y1), lower = load4(s.y1 + couple.in_y1 + CONV1_SIDE);
        const auto y = [&](float x) { return sigmoid_forward(channel.y(channel.x_hat(x))); };
        *reinterpret_cast<float2 *>(s.pool1 + couple.in_pool1) =
            make_float2(((y(upper.x) + y(upper.y)) + (y(lower.x) + y(lower.y))) * POOL_SHARE,
                        ((y(upper.z) + y(upper.w)) + (y(lower.z) + y(lower.w))) * POOL_SHARE);
    }
    __syncthreads();
    // Half of the threads take half of the input's planes each; a row of a map a thread, both examples of a channel in half a
    // warp.
    constexpr int PLANES = CONV1_CHANNELS / 2, SEGMENT = MINE * CONV2_SIDE;
    static_assert(2 * CONV2_CHANNELS * SEGMENT == PERSISTENT_THREADS && CONV1_CHANNELS % 2 == 0, "one round");
    const unsigned half = threadIdx.x / (PERSISTENT_THREADS / 2), o = threadIdx.x % (PERSISTENT_THREADS / 2) / SEGMENT;
    const unsigned e = threadIdx.x % SEGMENT / CONV2_SIDE, row = threadIdx.x % CONV2_SIDE;
    const float bias = half == 0 ? s.within.forward.kernels2[o * KERNELS2_OF + BIAS_IN_ROW] : 0.0f;
    float y[RUN];
    for (int k = 0; k < RUN; k++) {
        y[k] = bias;
    }
#pragma unroll 1
    for (unsigned plane = half * PLANES; plane < (half + 1) * PLANES; plane++) {
#pragma unroll
        for (int a = 0; a < KERNEL; a++) {
            conv2d_run(y, s.pool1 + (e * CONV1_CHANNELS + plane) * POOL1_OF + (row + a) * POOL1_SIDE,
                       s.within.forward.kernels2 + o * KERNELS2_OF + (plane * KERNEL + a) * KERNEL_ROW);
        }
    }
    float *const to = s.y2 + (e * CONV2_CHANNELS + o) * CONV2_MAP + row * CONV2_SIDE;
    if (half == 0) {
        store_run(to, y);
    }
    __syncthreads();
    if (half == 1) {
        float others[RUN];
        load_row(others, to);
        for (int k = 0; k < RUN; k++) {
            y[k] += others[k];
        }
        store_run(to, y);
        const float2 slot = block_slot<CONV2_SIDE>(slot_of(y), RUN);
        if (threadIdx.x % SEGMENT == 0) {
            publish(run.slot(BLOCK_SLOTS2, o), slot.x, slot.y, run.tag);
        }
    }
}

// The place of a flat feature's square in a map of y2.
__device__ inline unsigned square_of(unsigned feature) {
    const unsigned square = feature % POOL2_MAP;
    return feature / POOL2_MAP * CONV2_MAP + square / POOL2_SIDE * POOL * CONV2_SIDE + square % POOL2_SIDE * POOL;
}

// BN 2 and this block's flat features, for its team: both examples of a feature in neighbouring lanes, a channel in a warp.
// CLUSTERS: whether teams are clusters.
template <bool CLUSTERS>
__device__ __noinline__ void persistent_flat() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    gather_channel<BN2, CONV2_MAP>(s.channels2, BLOCK_SLOTS2, warp());
    __syncthreads();
    const unsigned e = threadIdx.x % MINE, feature = threadIdx.x / MINE;
    const float y = avg_pool2d_forward(s.y2 + e * CONV2_OUT + square_of(feature), CONV2_SIDE, s.channels2[feature / POOL2_MAP]);
    const float other = __shfl_xor_sync(ALL_LANES, y, 1);
    if constexpr (CLUSTERS) {
        // A lane tells half of the team.
        static_assert(MINE == 2, "two lanes");
        float2 *const pair = cluster_shared().flat + run.team.member * FLAT + feature;
        const float first = e == 0 ? y : other, second = e == 0 ? other : y;
#pragma unroll
        for (unsigned k = 0; k < TEAM / 2; k++) {
            publish_near(pair, first, second, run.tag, e * (TEAM / 2) + k);
        }
    } else if (e == 0) {
        publish(run.at(PAIRS_FLAT) + blockIdx.x * FLAT + feature, y, other, run.tag);
    }
    if (e < run.mine) {
        run.work(WORK_FLAT)[(run.first + e) * FLAT + feature] = y;
    }
}
