// What the shim tells the race detector (races.cpp): which thread runs, and what orders threads. Nothing, in a build
// without -fsanitize=thread.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_THREAD__)
// Plain accesses that stand for atomic ones.
#define SHIM_UNWATCHED __attribute__((no_sanitize("thread"), noinline))
#else
#define SHIM_UNWATCHED
#endif

namespace shim::races {

#if defined(__SANITIZE_THREAD__)

// All of a stream's launches are ordered.
void begin_launch(const char *kernel);
// The block's threads begin; what it says of [shared, shared_end) is forgotten, an earlier block's memory.
void begin_block(unsigned block, const void *shared, const void *shared_end);
// From here on accesses are those of this thread, but for its own stack's; until `leave`.
void enter(unsigned block, unsigned thread, const void *stack, size_t bytes);
void leave();
// The threads [first, last) of a block have met: a warp, or all (`whole`).
void barrier(unsigned block, unsigned first, bool whole);
void fence();
void atomic(const void *address);
// A thread of the block has arrived at its cluster's barrier, the last one of the block or not; and is behind it.
void cluster_arrive(unsigned block, bool last);
void cluster_wait(unsigned block, unsigned blocks);
// Memory of the device, and a pair of ../exchange.cuh that a thread publishes or asks for: for counting, see races.cpp.
void device_memory(const void *first, size_t bytes);
void pair(const void *address, bool write);
// A read that orders what follows behind it behind the atomics at that address.
void acquire(const void *address);

#else

inline void begin_launch(const char *) {}
inline void begin_block(unsigned, const void *, const void *) {}
inline void enter(unsigned, unsigned, const void *, size_t) {}
inline void leave() {}
inline void barrier(unsigned, unsigned, bool) {}
inline void fence() {}
inline void atomic(const void *) {}
inline void device_memory(const void *, size_t) {}
inline void pair(const void *, bool) {}
inline void cluster_arrive(unsigned, bool) {}
inline void cluster_wait(unsigned, unsigned) {}
inline void acquire(const void *) {}

#endif

} // namespace shim::races
