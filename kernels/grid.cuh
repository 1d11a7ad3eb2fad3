// A barrier of all blocks of a grid, for cooperative launches alone: the driver promises that every block is resident.
// No header of CUDA's is needed, so NVRTC compiles it as it is. Memory ordering: PTX ISA, "Memory Consistency Model".
//
// And what lets a block read ahead: copies into shared memory that nobody waits for yet (PTX ISA, cp.async).
#pragma once

#include "common.cuh"

// Bytes, and what both addresses of a copy are multiples of.
constexpr int COPIED_AT_ONCE = 16;

// Looks at what another block is to write until that counts as broken: a spin without an end would take the device with it. The
// trap reaches the host as a failed launch.
#ifndef GRID_SPIN_LIMIT
#define GRID_SPIN_LIMIT (1u << 22)
#endif

// The CPU shim has its own, see cpu/cuda_shim.h: the block's shared memory, a pause in which other blocks run, and what counts
// as an order between threads.
#ifndef CUDA_SHIM
template <typename T>
__device__ inline T &dynamic_shared() {
    extern __shared__ float4 memory[];
    return *reinterpret_cast<T *>(memory);
}

__device__ inline void spin_pause() {}
__device__ inline void spin_over() {}

// Begins to copy. What a thread has begun to copy is there for itself behind its wait_for_copies, and for others behind a barrier
// that follows.
__device__ inline void copy_ahead(void *shared, const void *global) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;"
                 :
                 : "r"(static_cast<unsigned>(__cvta_generic_to_shared(shared))), "l"(__cvta_generic_to_global(global)),
                   "n"(COPIED_AT_ONCE)
                 : "memory");
}
__device__ inline void wait_for_copies() { asm volatile("cp.async.wait_all;" : : : "memory"); }

// The number of this thread in its block, asked anew each time: kept from call to call the answer would be spilled.
__device__ inline unsigned thread_again() {
    unsigned thread;
    asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
    return thread;
}

// Adds one. Whoever sees the sum by load_acquire sees what this thread wrote before, and what others of its block wrote before
// a barrier of the block.
__device__ inline void add_release(unsigned *address) {
    asm volatile("red.release.gpu.global.add.u32 [%0], 1;" : : "l"(__cvta_generic_to_global(address)) : "memory");
}
__device__ inline unsigned load_acquire(const unsigned *address) {
    unsigned value;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(__cvta_generic_to_global(address)) : "memory");
    return value;
}
#endif

// A pointer into global memory that lies in memory itself. The compiler is told where it points: it would ask at every access.
template <typename T>
struct Global {
    T *pointer;

    __device__ operator T *() const {
        __builtin_assume(__isGlobal(pointer));
        return pointer;
    }
};

// Asks until the answer is yes.
template <typename Ready>
__device__ inline void spin_until(const Ready &ready) {
    for (unsigned spins = 0; !ready(); spins++) {
        if (spins > GRID_SPIN_LIMIT) {
            __trap();
        }
        spin_pause();
    }
    spin_over();
}

// One a block. `arrived` is 0 when the kernel starts and counts all arrivals of all barriers; one counter serves one barrier at
// a time, so that barriers which overlap need one each.
struct GridBarrier {
    unsigned *arrived;
    unsigned blocks, threads; // of the grid, and of a block
    unsigned target;          // 0 to begin with; the first thread's

    // Everything that any thread of the grid wrote before `arrive` is visible to every thread behind `wait`. What a block does
    // between the two costs no time while others are late. The last warp arrives, which takes as long as writes take to be
    // confirmed; the first one waits. Differences, not values, are compared, so that the count may wrap.
    __device__ void arrive() const {
        __syncthreads();
        if (thread_again() == threads - LANES) {
            add_release(arrived);
        }
    }
    __device__ void wait() {
        if (thread_again() == 0) {
            target += blocks;
            spin_until([this] { return static_cast<int>(load_acquire(arrived) - target) >= 0; });
        }
        __syncthreads();
    }
    __device__ void sync() {
        arrive();
        wait();
    }
};
