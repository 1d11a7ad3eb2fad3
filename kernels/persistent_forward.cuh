// The forward pass of the persistent kernel through the convolutions, from the pixels to the flat features. Its phases and their
// order: persistent.cu.
#pragma once

#include "persistent.cuh"

// This block's pixels; black where an example is missing.
__device__ __noinline__ void persistent_images() {
    const PersistentRun &run = persistent_shared().run;
    for (unsigned e = 0; e < MINE; e++) {
        float *image = persistent_shared().image + e * PIXELS;
        if (e < run.mine) {
            load_image(image, run.images, run.order[run.first + e]);
        } else {
            for (unsigned i = threadIdx.x; i < PIXELS; i += blockDim.x) {
                image[i] = 0.0f;
            }
        }
    }
}

// Kernels of a convolution into shared memory, their rows padded to KERNEL_ROW: what the padding holds is not used. Output
// channels have `rows` rows each and lie `stride` apart.
__device__ inline void load_kernels(float *kernels, const float *weights, unsigned count, unsigned rows, unsigned stride) {
    for (unsigned i = threadIdx.x; i < count; i += blockDim.x) {
        const unsigned row = i / KERNEL;
        kernels[row / rows * stride + row % rows * KERNEL_ROW + i % KERNEL] = weights[i];
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

// y1.
__device__ __noinline__ void persistent_conv1() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    load_kernels(s.within.forward.kernels1, run.parameters + AT_CONV1_WEIGHT, CONV1_WEIGHTS, KERNEL, KERNEL * KERNEL_ROW);
    load_kernels(s.within.forward.kernels2, run.parameters + AT_CONV2_WEIGHT, CONV2_WEIGHTS, CONV1_CHANNELS * KERNEL, KERNELS2_OF);
    __syncthreads();
    constexpr int RUNS = CONV1_SIDE / RUN;
#pragma unroll 1
    for (unsigned i = threadIdx.x; i < MINE * CONV1_CHANNELS * CONV1_SIDE * RUNS; i += blockDim.x) {
        // Neighbouring lanes read the same pixels.
        const unsigned c = i % CONV1_CHANNELS, at = i / CONV1_CHANNELS, column = at % RUNS * RUN;
        const unsigned row = at / RUNS % CONV1_SIDE, e = at / (RUNS * CONV1_SIDE);
        float y[RUN];
        for (int k = 0; k < RUN; k++) {
            y[k] = run.parameters[AT_CONV1_BIAS + c];
        }
#pragma unroll
        for (int a = 0; a < KERNEL; a++) {
            conv2d_run(y, s.image + e * PIXELS + (row + a) * IMAGE_SIDE + column,
                       s.within.forward.kernels1 + (c * KERNEL + a) * KERNEL_ROW);
        }
        store_run(s.y1 + (e * CONV1_CHANNELS + c) * CONV1_MAP + row * CONV1_SIDE + column, y);
    }
    __syncthreads();
}

// This block's slots of BN 1: a warp a map, which it keeps in registers for the second pass.
__device__ __noinline__ void persistent_slots1() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    constexpr int MAPS = MINE * CONV1_CHANNELS, QUADS = CONV1_MAP / VECTOR, ROUNDS = (QUADS + LANES - 1) / LANES;
    static_assert(MAPS <= PERSISTENT_WARPS, "a warp each");
    if (warp() < MAPS) {
        const float *map = s.y1 + warp() * CONV1_MAP;
        float4 values[ROUNDS];
        float sum = 0.0f, m2 = 0.0f;
#pragma unroll
        for (unsigned k = 0; k < ROUNDS; k++) {
            const unsigned i = k * LANES + lane();
            values[k] = load4(map + min(i, QUADS - 1u) * VECTOR);
            sum += i < QUADS ? (values[k].x + values[k].y) + (values[k].z + values[k].w) : 0.0f;
        }
        const float mean = warp_sum(sum) / CONV1_MAP;
#pragma unroll
        for (unsigned k = 0; k < ROUNDS; k++) {
            const float x = values[k].x - mean, y = values[k].y - mean, z = values[k].z - mean, w = values[k].w - mean;
            m2 += k * LANES + lane() < QUADS ? (x * x + y * y) + (z * z + w * w) : 0.0f;
        }
        m2 = warp_sum(m2);
        if (lane() == 0) {
            s.maps1[warp()] = make_float2(mean, m2);
        }
    }
    __syncthreads();
    if (threadIdx.x < CONV1_CHANNELS) {
        const unsigned c = threadIdx.x;
        const float2 first = s.maps1[c], second = s.maps1[CONV1_CHANNELS + c];
        // Two slots of as many values; or one.
        const float distance = second.x - first.x;
        const float mean = run.mine == MINE ? first.x + distance * 0.5f : first.x;
        const float m2 = run.mine == MINE ? (first.y + second.y) + CONV1_MAP * 0.5f * (distance * distance) : first.y;
        publish(run.of_block(BLOCK_SLOTS1) + c * gridDim.x + blockIdx.x, mean, m2, run.tag);
    }
}

// BN 1, pool1, y2, and this block's slots of BN 2.
__device__ __noinline__ void persistent_conv2() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    if (warp() < CONV1_CHANNELS) {
        persistent_merge<LANES, 1, 4>(run, s.channels1, run.of_block(BLOCK_SLOTS1), CONV1_CHANNELS, gridDim.x, MINE, CONV1_MAP,
                                      AT_BN1_GAMMA, BN1);
    }
    __syncthreads();
#pragma unroll 1
    for (unsigned i = threadIdx.x; i < MINE * POOL1_OUT; i += blockDim.x) {
        const unsigned map = i / POOL1_MAP, row = i % POOL1_MAP / POOL1_SIDE, column = i % POOL1_SIDE;
        s.pool1[i] = avg_pool2d_forward(s.y1 + map * CONV1_MAP + row * POOL * CONV1_SIDE + column * POOL, CONV1_SIDE,
                                        s.channels1[map % CONV1_CHANNELS]);
    }
    __syncthreads();
    // Half of the threads take half of the input's planes each; a row of a map a thread, both examples of a channel in half a warp.
    constexpr int PLANES = CONV1_CHANNELS / 2, SEGMENT = MINE * CONV2_SIDE;
    static_assert(2 * CONV2_CHANNELS * SEGMENT == PERSISTENT_THREADS && CONV1_CHANNELS % 2 == 0, "one round");
    const unsigned half = threadIdx.x / (PERSISTENT_THREADS / 2), o = threadIdx.x % (PERSISTENT_THREADS / 2) / SEGMENT;
    const unsigned e = threadIdx.x % SEGMENT / CONV2_SIDE, row = threadIdx.x % CONV2_SIDE;
    const float bias = half == 0 ? run.parameters[AT_CONV2_BIAS + o] : 0.0f;
    float y[RUN];
    for (int k = 0; k < RUN; k++) {
        y[k] = bias;
    }
#pragma unroll 1
    for (unsigned plane = half * PLANES; plane < (half + 1) * PLANES; plane++) {
#pragma unroll
        for (int a = 0; a < KERNEL; a++) {
            conv2d_run(y, s.pool1 + (e * CONV1_CHANNELS + plane) * POOL1_MAP + (row + a) * POOL1_SIDE,
                       s.within.forward.kernels2 + o * KERNELS2_OF + (plane * KERNEL + a) * KERNEL_ROW);
        }
    }
    float *const to = s.y2 + (e * CONV2_CHANNELS + o) * CONV2_MAP + row * CONV2_SIDE;
    if (half == 0) {
        store_run(to, y);
    }
    __syncthreads();
    if (half == 1) {
        float others[RUN], sum = 0.0f, m2 = 0.0f;
        load_row(others, to);
        for (int k = 0; k < RUN; k++) {
            y[k] += others[k];
            sum += y[k];
        }
        store_run(to, y);
        const bool counts = e < run.mine;
        const float mean = warp_sum<SEGMENT>(counts ? sum : 0.0f) / (run.mine * CONV2_MAP);
        for (int k = 0; k < RUN; k++) {
            m2 += (y[k] - mean) * (y[k] - mean);
        }
        m2 = warp_sum<SEGMENT>(counts ? m2 : 0.0f);
        if (threadIdx.x % SEGMENT == 0) {
            publish(run.of_block(BLOCK_SLOTS2) + o * gridDim.x + blockIdx.x, mean, m2, run.tag);
        }
    }
}

// The place of a flat feature's square in a map of y2.
__device__ inline unsigned square_of(unsigned feature) {
    const unsigned square = feature % POOL2_MAP;
    return feature / POOL2_MAP * CONV2_MAP + square / POOL2_SIDE * POOL * CONV2_SIDE + square % POOL2_SIDE * POOL;
}

// BN 2 and this block's flat features: both examples of a feature in neighbouring lanes, a channel in a warp.
__device__ __noinline__ void persistent_flat() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    persistent_merge<LANES, 1, 4>(run, s.channels2, run.of_block(BLOCK_SLOTS2), CONV2_CHANNELS, gridDim.x, MINE, CONV2_MAP,
                                  AT_BN2_GAMMA, BN2);
    __syncthreads();
    const unsigned e = threadIdx.x % MINE, feature = threadIdx.x / MINE;
    const float y = avg_pool2d_forward(s.y2 + e * CONV2_OUT + square_of(feature), CONV2_SIDE, s.channels2[feature / POOL2_MAP]);
    const float other = __shfl_xor_sync(ALL_LANES, y, 1);
    if (e == 0) {
        publish(run.of_block(BLOCK_FLAT) + blockIdx.x * FLAT + feature, y, other, run.tag);
    }
    if (e < run.mine) {
        run.work(WORK_FLAT)[(run.first + e) * FLAT + feature] = y;
    }
}
