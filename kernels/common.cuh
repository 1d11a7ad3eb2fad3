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

// Four neighbours are loaded at once; every row of a map is a multiple of four wide, see the assertions of conv2d.cu.
constexpr int VECTOR = 4;

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

// Sums of COUNT values over all threads of the block, whose size is a multiple of 32; every thread gets them.
// `scratch` is shared memory for COUNT * MAX_WARPS values.
template <int COUNT, typename T>
__device__ inline void block_sums(T (&values)[COUNT], T *scratch) {
    for (int i = 0; i < COUNT; i++) {
        values[i] = warp_sum(values[i]);
    }
    __syncthreads(); // the scratch of an earlier call has been read
    if (lane() == 0) {
        for (int i = 0; i < COUNT; i++) {
            scratch[warp() * COUNT + i] = values[i];
        }
    }
    __syncthreads();
    for (int i = 0; i < COUNT; i++) {
        T sum = scratch[i];
        for (unsigned w = 1; w < warps(); w++) {
            sum += scratch[w * COUNT + i];
        }
        values[i] = sum;
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
