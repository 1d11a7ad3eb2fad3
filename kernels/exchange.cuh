// What the blocks of a cooperative launch tell each other within a step, without a barrier: pairs of floats, each in a word of
// eight bytes that carries a tag, so that whoever waits for a pair reads it with the look that finds it there. (A barrier costs
// a write to be confirmed, an arrival to be seen, and only then the read.) NCCL's protocol for short messages does likewise.
//
// The tag is the lowest bit of the second float: 1 in a launch's first step, 0 in the second, and so on. Whoever reads the pair
// takes the tag off, so that the float has lost its lowest bit in every step alike, and bits do not depend on where a launch began.
// (Bits are cut off, not rounded: NaNs stay NaNs.) The memory is zero when the kernel starts, so that a pair that nobody publishes
// adds nothing to a sum. A pair may be written anew, in the next step, once its readers have published something that its writer
// has waited for: a gather of all blocks' slots in between is enough.
//
// A pair orders nothing else: what blocks tell each other in other words needs a barrier, grid.cuh.
#pragma once

#include "grid.cuh"

// The CPU shim has its own.
#ifndef CUDA_SHIM
// Eight bytes at once, at the level of memory that all blocks share.
__device__ inline void store_relaxed(float2 *address, float2 value) {
    asm volatile("{\n\t.reg .b64 word;\n\tmov.b64 word, {%1, %2};\n\tst.relaxed.gpu.global.b64 [%0], word;\n\t}"
                 :
                 : "l"(__cvta_generic_to_global(address)), "f"(value.x), "f"(value.y)
                 : "memory");
}
__device__ inline float2 load_relaxed(const float2 *address) {
    float2 value;
    asm volatile("{\n\t.reg .b64 word;\n\tld.relaxed.gpu.global.b64 word, [%2];\n\tmov.b64 {%0, %1}, word;\n\t}"
                 : "=f"(value.x), "=f"(value.y)
                 : "l"(__cvta_generic_to_global(address))
                 : "memory");
    return value;
}
#endif

__device__ inline float2 tagged(float first, float second, unsigned tag) {
    return make_float2(first, __uint_as_float((__float_as_uint(second) & ~1u) | tag));
}
__device__ inline void publish(float2 *address, float first, float second, unsigned tag) {
    store_relaxed(address, tagged(first, second, tag));
}

// Where pairs are awaited: here, or in shared memory, cluster.cuh.
struct DeviceMemory {
    __device__ static float2 load(const float2 *pair) { return load_relaxed(pair); }
};

// COUNT pairs that a thread waits for, STRIDE apart. `begin` asks for all of them: what the thread does until `finish` costs no
// time while they are on the way.
template <int COUNT, int STRIDE, typename Memory = DeviceMemory>
struct Await {
    const float2 *from;
    unsigned tags[COUNT]; // 0 for a pair that nobody publishes
    float2 pairs[COUNT];

    __device__ bool is_there(int k) const { return ((__float_as_uint(pairs[k].y) ^ tags[k]) & 1) == 0; }
    __device__ bool are_there() const {
        unsigned wrong = 0;
#pragma unroll
        for (int k = 0; k < COUNT; k++) {
            wrong |= __float_as_uint(pairs[k].y) ^ tags[k];
        }
        return (wrong & 1) == 0;
    }
    // `is_published(k)` says whether anybody publishes pair k.
    template <typename IsPublished>
    __device__ void begin(const float2 *array, unsigned tag, const IsPublished &is_published) {
        from = array;
#pragma unroll
        for (int k = 0; k < COUNT; k++) {
            tags[k] = is_published(k) ? tag : 0;
        }
#pragma unroll
        for (int k = 0; k < COUNT; k++) {
            pairs[k] = Memory::load(from + k * STRIDE);
        }
    }
    // Asks again for what is missing alone, and takes the tags off.
    __device__ void finish() {
        spin_until([this] {
            if (are_there()) {
                return true;
            }
#pragma unroll
            for (int k = 0; k < COUNT; k++) {
                if (!is_there(k)) {
                    pairs[k] = Memory::load(from + k * STRIDE);
                }
            }
            return are_there();
        });
#pragma unroll
        for (int k = 0; k < COUNT; k++) {
            pairs[k].y = __uint_as_float(__float_as_uint(pairs[k].y) & ~1u);
        }
    }
};
