// What a kernel sees of the shim: indices, barriers, shuffles, atomics, copies, and memory that blocks share. For cuda_shim.h alone.
#pragma once

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
SHIM_UNWATCHED inline T shuffle(unsigned mask, T value, unsigned other, const char *file, int line) {
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
    return shuffle(mask, value, threadIdx.x ^ distance, file, line);
}
template <typename T>
inline T __shfl_sync(unsigned mask, T value, unsigned lane, const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
    return shuffle(mask, value, threadIdx.x / shim::LANES * shim::LANES + lane, file, line);
}

// One block runs at a time, and threads switch at barriers alone: memory is always in order, and every access is whole.
inline void __threadfence() { shim::races::fence(); }
SHIM_UNWATCHED inline void store_relaxed(float2 *address, float2 value) { *address = value; }
SHIM_UNWATCHED inline float2 load_relaxed(const float2 *address) { return *address; }
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

template <typename T> T &dynamic_shared() {
    if (sizeof(T) > shim::block->memory.size() * sizeof(std::max_align_t)) {
        shim::fail("the launch asked for too little dynamic shared memory");
    }
    return *reinterpret_cast<T *>(shim::block->memory.data());
}
