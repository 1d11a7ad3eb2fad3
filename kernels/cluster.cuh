// What the blocks of a cluster tell each other: the pairs of exchange.cuh, in each other's shared memory (PTX ISA: mapa,
// shared::cluster; Hopper and later). A pair reaches a neighbour several times sooner than by way of global memory, and whoever waits
// for it looks in its own memory.
//
// No barrier of the cluster comes with it: its release is compiled to a wait for all of a thread's writes to global memory. One is
// needed before the first pair, when all blocks have begun and their pairs are zero.
#pragma once

#include "exchange.cuh"

// The CPU shim has its own.
#ifndef CUDA_SHIM
// Writes where block `rank` of the cluster has what `place` is in this block.
__device__ inline void store_remote(float2 *place, float2 value, unsigned rank) {
    asm volatile("{\n\t.reg .b32 remote;\n\t.reg .b64 word;\n\tmapa.shared::cluster.u32 remote, %0, %1;\n\t"
                 "mov.b64 word, {%2, %3};\n\tst.relaxed.cluster.shared::cluster.b64 [remote], word;\n\t}"
                 :
                 : "r"(static_cast<unsigned>(__cvta_generic_to_shared(place))), "r"(rank), "f"(value.x), "f"(value.y)
                 : "memory");
}
// Reads what neighbours write.
__device__ inline float2 load_near(const float2 *place) {
    float2 value;
    asm volatile("{\n\t.reg .b64 word;\n\tld.relaxed.cluster.shared.b64 word, [%2];\n\tmov.b64 {%0, %1}, word;\n\t}"
                 : "=f"(value.x), "=f"(value.y)
                 : "r"(static_cast<unsigned>(__cvta_generic_to_shared(place)))
                 : "memory");
    return value;
}
// What any thread of the cluster did before it is done for every thread behind it.
__device__ inline void cluster_sync() {
    asm volatile("barrier.cluster.arrive.release;\n\tbarrier.cluster.wait.acquire;" : : : "memory");
}
#endif

// Where pairs are awaited, see Await.
struct SharedMemory {
    __device__ static float2 load(const float2 *pair) { return load_near(pair); }
};

__device__ inline void publish_near(float2 *place, float first, float second, unsigned tag, unsigned rank) {
    store_remote(place, tagged(first, second, tag), rank);
}
