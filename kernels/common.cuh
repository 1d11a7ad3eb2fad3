// Sums over the lanes of a warp and over the threads of a block, in an order that depends on nothing but the launch.
//
// Rules of this directory: no floating-point atomics; every partial sum has a fixed slot and every sum a fixed order; no
// grid depends on the number of multiprocessors. So one seed gives one set of bits on a device. Shared memory is declared
// in the kernels alone and handed to the functions they call.
#pragma once

#include "lenet.h"

constexpr unsigned LANES = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;
// Blocks have at most 1,024 threads.
constexpr unsigned MAX_WARPS = 32;

// Four neighbours are loaded at once; every row of a map is a multiple of four wide, see the assertions of conv2d.cuh.
constexpr int VECTOR = 4;

// The example of a sample, and a shift in its word: two's complement in SAMPLE_SHIFT_BITS bits.
__device__ inline unsigned example_of(unsigned sample) { return sample & (SAMPLE_FLIP - 1); }
__device__ inline int shift_of(unsigned sample, unsigned at) {
    return static_cast<int>(sample << (32 - SAMPLE_SHIFT_BITS - at)) >> (32 - SAMPLE_SHIFT_BITS);
}

__device__ inline unsigned lane() { return threadIdx.x % LANES; }
__device__ inline unsigned warp() { return threadIdx.x / LANES; }
__device__ inline unsigned warps() { return blockDim.x / LANES; }

// Sum over aligned groups of SEGMENT lanes (a power of two). Every lane of a group gets the same bits: each step adds the
// same two numbers on both sides. All lanes of the warp must call it.
template <unsigned SEGMENT = LANES, typename T>
__device__ inline T warp_sum(T value) {
    for (unsigned distance = SEGMENT / 2; distance > 0; distance /= 2) {
        value += __shfl_xor_sync(ALL_LANES, value, distance);
    }
    return value;
}

// Sums of COUNT values (a power of two) over the lanes of a warp, each lane ending with the sum number warp_sums_index().
// At every step a lane hands over the half of its values that its partner goes on with: of eight values nine shuffles in
// place of forty.
template <int COUNT, typename T>
__device__ inline T warp_sums(T (&values)[COUNT]) {
    static_assert(COUNT > 0 && COUNT <= 32 && (COUNT & (COUNT - 1)) == 0, "halves of halves");
    unsigned distance = LANES / 2;
    for (int half = COUNT / 2; half > 0; half /= 2, distance /= 2) {
        const bool upper = (lane() & distance) != 0;
        for (int i = 0; i < half; i++) {
            const T handed_over = upper ? values[i] : values[i + half];
            const T kept = upper ? values[i + half] : values[i];
            values[i] = kept + __shfl_xor_sync(ALL_LANES, handed_over, distance);
        }
    }
    for (; distance > 0; distance /= 2) {
        values[0] += __shfl_xor_sync(ALL_LANES, values[0], distance);
    }
    return values[0];
}

// Which of COUNT sums warp_sums leaves in this lane: the same one in LANES / COUNT neighbours.
template <int COUNT>
__device__ inline unsigned warp_sums_index() {
    return lane() * COUNT / LANES;
}

// Sums of COUNT values over all threads of the block, whose size is a multiple of 32; every thread gets them.
// `scratch` is shared memory for COUNT * MAX_WARPS values.
template <int COUNT, typename T>
__device__ inline void block_sums(T (&values)[COUNT], T *scratch) {
    constexpr int PADDED_COUNT = COUNT > 4 ? 8 : COUNT > 2 ? 4 : COUNT;
    static_assert(COUNT <= 8, "up to eight values");
    T padded[PADDED_COUNT];
    for (int i = 0; i < PADDED_COUNT; i++) {
        padded[i] = i < COUNT ? values[i] : T(0);
    }
    const T sum = warp_sums(padded);
    const unsigned index = warp_sums_index<PADDED_COUNT>();
    __syncthreads(); // the scratch of an earlier call has been read
    if (lane() % (LANES / PADDED_COUNT) == 0 && index < COUNT) {
        scratch[warp() * COUNT + index] = sum;
    }
    __syncthreads();
    for (int i = 0; i < COUNT; i++) {
        values[i] = scratch[i];
        for (unsigned w = 1; w < warps(); w++) {
            values[i] += scratch[w * COUNT + i];
        }
    }
}

// Copies `count` floats into shared memory, all threads together. The caller synchronises.
__device__ inline void load_shared(float *shared, const float *__restrict__ global, unsigned count) {
    for (unsigned i = threadIdx.x; i < count; i += blockDim.x) {
        shared[i] = global[i];
    }
}

__device__ inline float4 load4(const float *address) { return *reinterpret_cast<const float4 *>(address); }
__device__ inline void store4(float *address, const float (&v)[VECTOR]) {
    *reinterpret_cast<float4 *>(address) = make_float4(v[0], v[1], v[2], v[3]);
}

// COUNT floats (a multiple of four) from an address aligned to 16 bytes.
template <int COUNT>
__device__ inline void load_row(float (&row)[COUNT], const float *address) {
    static_assert(COUNT % VECTOR == 0, "whole vectors");
    for (int i = 0; i < COUNT; i += VECTOR) {
        const float4 v = load4(address + i);
        row[i] = v.x;
        row[i + 1] = v.y;
        row[i + 2] = v.z;
        row[i + 3] = v.w;
    }
}
