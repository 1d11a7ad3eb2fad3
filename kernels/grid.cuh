// A barrier of all blocks of a grid, for cooperative launches alone: the driver promises that every block is resident.
// No header of CUDA's is needed, so NVRTC compiles it as it is.
#pragma once

#include "common.cuh"

// Looks at the counter until a barrier counts as broken: a spin without an end would take the device with it. The trap reaches
// the host as a failed launch.
#ifndef GRID_SPIN_LIMIT
#define GRID_SPIN_LIMIT (1u << 22)
#endif

// The CPU shim has its own, see cpu/cuda_shim.h: the block's shared memory, and a pause in which other blocks run.
#ifndef CUDA_SHIM
template <typename T>
__device__ inline T &dynamic_shared() {
    extern __shared__ float4 memory[];
    return *reinterpret_cast<T *>(memory);
}

__device__ inline void spin_pause() {}
#endif

// One a block. `arrived` is 0 when the kernel starts and counts all arrivals of all barriers.
struct GridBarrier {
    unsigned *arrived;
    unsigned target = 0;

    // Everything that any thread of the grid wrote before is visible to every thread behind. The fences of one thread serve
    // its block: the barriers of the block order them with the accesses of the other threads. Differences, not values, are
    // compared, so that the count may wrap.
    __device__ void sync() {
        target += gridDim.x;
        __syncthreads();
        if (threadIdx.x == 0) {
            __threadfence();
            atomicAdd(arrived, 1u);
            unsigned spins = 0;
            while (static_cast<int>(*static_cast<volatile unsigned *>(arrived) - target) < 0) {
                if (++spins > GRID_SPIN_LIMIT) {
                    __trap();
                }
                spin_pause();
            }
            __threadfence();
        }
        __syncthreads();
    }
};
