// What a kernel sees of the shim: indices, barriers, shuffles, atomics, copies, and memory that blocks share.
#pragma once

#include "cuda_shim.h"

#define threadIdx (shim::block->current->thread)
#define blockIdx (shim::block->index)
#define gridDim (shim::block->grid)
struct shim_block_dim {
    dim3 operator()() const { return {shim::block->threads, 1, 1}; }
};
#define blockDim (shim_block_dim{}())

// The default arguments name the caller's line.
inline void __syncthreads(const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
    shim::wait(shim::State::AtBlock, {file, line});
}

inline void __syncwarp(const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
    shim::wait(shim::State::AtWarp, {file, line});
}

// The value of thread `other` of the block, which is one of this warp.
template <typename T>
SHIM_UNWATCHED inline T from_lane(unsigned mask, T value, unsigned other, const char *file, int line) {
    static_assert(sizeof(T) <= sizeof(uint64_t), "words of up to eight bytes");
    if (mask != 0xffffffffu) {
        shim::fail("a shuffle of a part of a warp");
    }
    shim::Fiber &self = *shim::block->current;
    const unsigned turn = self.turn++ % 2;
    memcpy(&self.shown[turn], &value, sizeof(T));
    if (other >= shim::block->threads || other / shim::LANES != self.thread.x / shim::LANES) {
        shim::fail("a shuffle from a lane that does not exist");
    }
    shim::wait(shim::State::AtWarp, {file, line});
    memcpy(&value, &shim::block->fibers[other].shown[turn], sizeof(T));
    return value;
}
template <typename T>
inline T __shfl_xor_sync(unsigned mask, T value, unsigned distance, const char *file = __builtin_FILE(),
                         int line = __builtin_LINE()) {
    return from_lane(mask, value, threadIdx.x ^ distance, file, line);
}
template <typename T>
inline T __shfl_sync(unsigned mask, T value, unsigned lane, const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
    return from_lane(mask, value, threadIdx.x / shim::LANES * shim::LANES + lane, file, line);
}

// One block runs at a time, and threads switch at barriers alone: memory is always in order, and every access is whole.
inline void __threadfence() { shim::races::fence(); }
SHIM_UNWATCHED inline void store_relaxed(float2 *address, float2 value) {
    shim::races::pair(address, true);
    *address = value;
}
SHIM_UNWATCHED inline float2 load_relaxed(const float2 *address) {
    shim::races::pair(address, false);
    return *address;
}
SHIM_UNWATCHED inline unsigned atomicAdd(unsigned *address, unsigned value) {
    shim::races::atomic(address);
    const unsigned before = *address;
    *address += value;
    return before;
}
[[noreturn]] inline void __trap() { shim::fail("trap"); }

inline unsigned thread_again() { return threadIdx.x; }

// As late as a GPU may copy: behind the wait. Until then there are NaNs.
inline void copy_ahead(void *shared, const void *global) {
    if ((reinterpret_cast<uintptr_t>(shared) | reinterpret_cast<uintptr_t>(global)) % shim::COPIED_AT_ONCE != 0) {
        shim::fail("a copy from or to an address that is no multiple of its size");
    }
    memset(shared, 0xff, shim::COPIED_AT_ONCE);
    shim::block->current->copies.push_back({shared, global});
}
inline void wait_for_copies() {
    for (const shim::Copy &copy : shim::block->current->copies) {
        memcpy(copy.to, copy.from, shim::COPIED_AT_ONCE);
    }
    shim::block->current->copies.clear();
}
inline void add_release(unsigned *address) {
    __threadfence();
    atomicAdd(address, 1u);
}
SHIM_UNWATCHED inline unsigned load_acquire(const unsigned *address) {
    shim::races::acquire(address);
    return *address;
}

inline void spin_pause(const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
    shim::wait(shim::State::Spinning, {file, line});
}
SHIM_UNWATCHED inline void spin_over() { shim::block->found = true; }

// Clusters: block `rank` of this one's.
inline shim::Block &in_cluster(unsigned rank) {
    if (rank >= shim::block->cluster) {
        shim::fail("a block that the cluster does not have");
    }
    return *shim::cooperative[shim::block->index.x / shim::block->cluster * shim::block->cluster + rank];
}
SHIM_UNWATCHED inline void store_remote(float2 *place, float2 value, unsigned rank) {
    const char *mine = reinterpret_cast<const char *>(shim::block->memory.data());
    char *theirs = reinterpret_cast<char *>(in_cluster(rank).memory.data());
    *reinterpret_cast<float2 *>(theirs + (reinterpret_cast<char *>(place) - mine)) = value;
}
SHIM_UNWATCHED inline float2 load_near(const float2 *place) { return *place; }
// Whether this thread is its block's last.
SHIM_UNWATCHED inline bool arrive_at_cluster() { return ++shim::block->cluster_arrivals % shim::block->threads == 0; }
// Whether all threads of its blocks have arrived once more than this one has waited.
SHIM_UNWATCHED inline bool cluster_is_there() {
    const unsigned arrivals = (shim::block->current->cluster_waits + 1) * shim::block->threads;
    for (unsigned rank = 0; rank < shim::block->cluster; rank++) {
        if (in_cluster(rank).cluster_arrivals < arrivals) {
            return false;
        }
    }
    return true;
}
inline void cluster_sync(const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
    in_cluster(0);
    shim::races::cluster_arrive(shim::block->index.x, arrive_at_cluster());
    while (!cluster_is_there()) {
        spin_pause(file, line);
    }
    spin_over();
    shim::block->current->cluster_waits++;
    shim::races::cluster_wait(shim::block->index.x, shim::block->cluster);
}

template <typename T> T &dynamic_shared() {
    if (sizeof(T) > shim::block->memory.size() * sizeof(std::max_align_t)) {
        shim::fail("the launch asked for too little dynamic shared memory");
    }
    return *reinterpret_cast<T *>(shim::block->memory.data());
}
