// What the blocks of a cooperative launch tell each other within a step, without a barrier: pairs of floats, each in a word of eight
// bytes that carries a tag, so that whoever waits for a pair reads it with the look that finds it there. (A barrier costs a
// write to be confirmed, an arrival to be seen, and only then the read.) NCCL's protocol for short messages does likewise.
//
// The tag is the lowest bit of the second float, which therefore is rounded once more: 1 in a launch's first step, 0 in the second,
// and so on. The memory is zero when the kernel starts. A pair may be written anew, in the next step, once its readers have
// published something that its writer has waited for: a gather of all blocks' slots in between is enough.
//
// A pair orders nothing else: what blocks tell each other in other words needs a barrier, grid.cuh.
#pragma once

#include "grid.cuh"

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

__device__ inline void publish(float2 *address, float first, float second, unsigned tag) {
    store_relaxed(address, make_float2(first, __uint_as_float((__float_as_uint(second) & ~1u) | tag)));
}

// Up to COUNT pairs of the array `from` that a thread waits for: `at` says which, NOTHING that there is none. All are asked for
// at once.
template <int COUNT>
struct Await {
    static constexpr unsigned NOTHING = ~0u;

    const float2 *from;
    unsigned at[COUNT];
    float2 pairs[COUNT];

    // Asks for them. What the thread does until `finish` costs no time while they are on the way. A pair that there is not is zero.
    __device__ void begin() {
#pragma unroll
        for (int k = 0; k < COUNT; k++) {
            pairs[k] = make_float2(0.0f, 0.0f);
            if (at[k] != NOTHING) {
                pairs[k] = load_relaxed(from + at[k]);
            }
        }
    }
    // Until all are there.
    __device__ void finish(unsigned tag) {
        const auto is_there = [&](int k) { return at[k] == NOTHING || (__float_as_uint(pairs[k].y) & 1u) == tag; };
        spin_until([&] {
            bool all = true;
#pragma unroll
            for (int k = 0; k < COUNT; k++) {
                if (!is_there(k)) {
                    pairs[k] = load_relaxed(from + at[k]);
                }
            }
#pragma unroll
            for (int k = 0; k < COUNT; k++) {
                all &= is_there(k);
            }
            return all;
        });
    }
};

// Which channel a thread gathers in round `round`: SEGMENT neighbouring lanes share one.
template <int SEGMENT>
__device__ inline unsigned gather_channel(unsigned round) {
    return (round * warps() + warp()) * (LANES / SEGMENT) + lane() / SEGMENT;
}

// Sums over the slots of each channel, slots[channels][count], in ROUNDS channels a thread; a thread asks for DEPTH slots a
// channel at once. `take(pair, first, slot)` says what to add for a pair, given the channel's first pair. Every lane of a segment gets
// `firsts` and `sums`, of which those of channels that there are hold something.
template <int SEGMENT, int ROUNDS, int DEPTH, typename Take>
__device__ inline void gather(float2 (&firsts)[ROUNDS], float2 (&sums)[ROUNDS], const float2 *slots, unsigned channels,
                              unsigned count, unsigned tag, const Take &take) {
    Await<ROUNDS> heads;
    heads.from = slots;
    for (int round = 0; round < ROUNDS; round++) {
        const unsigned channel = gather_channel<SEGMENT>(round);
        heads.at[round] = channel < channels ? channel * count : heads.NOTHING;
        sums[round] = make_float2(0.0f, 0.0f);
    }
    heads.begin();
#pragma unroll 1
    for (unsigned begin = lane() % SEGMENT; begin < count; begin += SEGMENT * DEPTH) {
        Await<ROUNDS * DEPTH> all;
        all.from = slots;
        for (int k = 0; k < ROUNDS * DEPTH; k++) {
            const unsigned channel = gather_channel<SEGMENT>(k / DEPTH), slot = begin + k % DEPTH * SEGMENT;
            all.at[k] = channel < channels && slot < count ? channel * count + slot : all.NOTHING;
        }
        all.begin();
        heads.finish(tag);
        all.finish(tag);
        for (int k = 0; k < ROUNDS * DEPTH; k++) {
            if (all.at[k] != all.NOTHING) {
                const float2 term = take(all.pairs[k], heads.pairs[k / DEPTH], begin + k % DEPTH * SEGMENT);
                sums[k / DEPTH].x += term.x;
                sums[k / DEPTH].y += term.y;
            }
        }
    }
    heads.finish(tag); // of lanes without a slot
    for (int round = 0; round < ROUNDS; round++) {
        firsts[round] = heads.pairs[round];
        sums[round] = make_float2(warp_sum<SEGMENT>(sums[round].x), warp_sum<SEGMENT>(sums[round].y));
    }
}
