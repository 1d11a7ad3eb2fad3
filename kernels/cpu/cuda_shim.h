// CUDA C++ on a CPU: just enough for g++ to compile the kernels of this directory as they are, and to run them so that
// mistakes show.
//
// Every thread of a block is a fiber with a stack of its own. Fibers switch at barriers and shuffles alone, in an order
// shuffled by BN_LENET_SHIM_SEED: a result that depends on it is a race. A barrier that some threads never reach, or that
// they reach in different places, ends the program with a report. Shared memory is poisoned with NaN before each block.
// Blocks run one after the other, in shuffled order, so static shared memory needs one copy. Those of a cooperative launch are all
// alive at once, each with dynamic shared memory of its own; they take turns when all threads of one wait for others.
//
// With -fsanitize=address,undefined the sanitizers know the fibers' stacks and the shared memory; with -fsanitize=thread races.cpp
// finds every access that no barrier orders.
#pragma once

#define CUDA_SHIM

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <sys/mman.h>

#include "arithmetic.h"
#include "races.h"
#include "switch.h"

#define __global__
#define __device__
#define __launch_bounds__(...)
#define __noinline__
#define __isGlobal(pointer) true
#define __builtin_assume(condition)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __restrict__ __restrict
// One section holds all shared memory, so that it can be poisoned as a whole.
#define __shared__ static __attribute__((section("cuda_shared")))

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

using std::isfinite;
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned __float_as_uint(float value) {
    unsigned bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}
inline float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

extern "C" char __start_cuda_shared[], __stop_cuda_shared[];

namespace shim {

constexpr unsigned LANES = 32;
constexpr size_t STACK = 128 * 1024;

// Where a thread waits: a line of the source.
struct Place {
    const char *file = "";
    int line = 0;
    bool operator==(const Place &other) const { return line == other.line && (file == other.file || !strcmp(file, other.file)); }
};

// Spinning: asks again once other blocks have run.
enum class State { Ready, AtBlock, AtWarp, Spinning, Done };

// A copy that a thread has begun.
struct Copy {
    void *to = nullptr;
    const void *from = nullptr;
};
constexpr size_t COPIED_AT_ONCE = 16;

struct Fiber {
    State state = State::Done;
    std::vector<Copy> copies;
    Place place;
    dim3 thread;
    // What a lane shows to the others. Two slots in turn: nobody can be two shuffles ahead.
    uint64_t shown[2] = {};
    unsigned turn = 0;
    // How often it has waited for its cluster.
    unsigned cluster_waits = 0;
    // Where it goes on, and the memory that it stands on.
    void *stack = nullptr;
    Memory memory;
};

struct Block {
    // Of the largest block that CUDA knows.
    std::vector<Fiber> fibers = std::vector<Fiber>(1024);
    unsigned threads = 0;
    dim3 index, grid;
    const char *kernel = "";
    std::function<void()> body;
    void *scheduler = nullptr;
    Memory scheduler_memory;
    Fiber *current = nullptr;
    // Whether a thread has found what it was spinning for.
    bool found = false;
    std::mt19937 random;
    bool shuffled = false;
    // Dynamic shared memory, cooperative launches alone; the order of its lanes and warps.
    std::vector<std::max_align_t> memory;
    std::vector<unsigned> lanes, warps;
    // Blocks of its cluster, 0 where there are none, and how often its threads have arrived at the cluster's barrier.
    unsigned cluster = 0, cluster_arrivals = 0;
};

// The block that runs. Those of an ordinary launch take turns in one, those of a cooperative launch have one each.
inline Block the_block;
inline Block *block = &the_block;
inline std::vector<std::unique_ptr<Block>> cooperative;

[[noreturn]] inline void fail(const std::string &what) {
    fprintf(stderr, "CUDA shim: %s, block %u: %s\n", block->kernel, block->index.x, what.c_str());
    fflush(stderr);
    abort();
}

// Back to the scheduler, until the barrier is complete.
inline void wait(State state, Place place) {
    races::leave();
    Fiber &self = *block->current;
    self.state = state;
    self.place = place;
    switch_stacks(&self.stack, block->scheduler, block->scheduler_memory);
}

inline void fiber_main() {
    arrive(nullptr, block->scheduler_memory);
    for (;;) {
        block->body();
        wait(State::Done, {"end", 0});
    }
}

// A stack that returns into fiber_main. Stacks begin at different lines of a page: tops one page apart would fight for the
// same few lines of the cache.
inline void new_stack(Fiber &fiber) {
    void *memory = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        fail("no memory for the stack of a thread");
    }
    void **top = reinterpret_cast<void **>(static_cast<char *>(memory) + STACK - fiber.thread.x * 7 % 64 * 64 - 64);
    void **stack = top - SAVED_REGISTERS - SAVED_REGISTERS % 2;
    stack[LINK_SLOT] = reinterpret_cast<void *>(fiber_main);
    fiber.stack = stack;
    fiber.memory = {memory, STACK};
}

inline void resume(Fiber &fiber) {
    block->current = &fiber;
    if (!fiber.stack) {
        new_stack(fiber);
    }
    races::enter(block->index.x, fiber.thread.x, fiber.memory.start, fiber.memory.bytes);
    switch_stacks(&block->scheduler, fiber.stack, fiber.memory);
}

// 0 to count - 1, in the order of this run.
inline std::vector<unsigned> schedule(unsigned count) {
    std::vector<unsigned> order(count);
    for (unsigned i = 0; i < count; i++) {
        order[i] = i;
    }
    if (block->shuffled) {
        std::shuffle(order.begin(), order.end(), block->random);
    }
    return order;
}

// Lets go the threads [first, last) if all of them wait in `state`. Threads of one barrier must wait in one place.
inline bool release(unsigned first, unsigned last, State state) {
    for (unsigned i = first; i < last; i++) {
        if (block->fibers[i].state != state) {
            return false;
        }
    }
    const Place place = block->fibers[first].place;
    for (unsigned i = first; i < last; i++) {
        Fiber &fiber = block->fibers[i];
        if (!(fiber.place == place)) {
            fail("threads " + std::to_string(first) + " and " + std::to_string(i) + " wait in different places, " +
                 place.file + ":" + std::to_string(place.line) + " and " + fiber.place.file + ":" +
                 std::to_string(fiber.place.line));
        }
        fiber.state = State::Ready;
    }
    races::barrier(block->index.x, first, state == State::AtBlock);
    return true;
}

[[noreturn]] inline void stuck() {
    std::string report = "stuck barrier:";
    for (unsigned i = 0; i < block->threads; i++) {
        const Fiber &fiber = block->fibers[i];
        const bool news = i == 0 || fiber.state != block->fibers[i - 1].state || !(fiber.place == block->fibers[i - 1].place);
        if (news) {
            const char *states[] = {"ready", "at a block's barrier", "at a warp's barrier", "waiting for other blocks", "gone"};
            report += "\n  from thread " + std::to_string(i) + " on: " + states[static_cast<int>(fiber.state)] + " " +
                      fiber.place.file + ":" + std::to_string(fiber.place.line);
        }
    }
    fail(report);
}

// Runs a warp until its lanes wait for the rest of the block, or are gone. Whether anything ran.
inline bool run_warp(unsigned first, const std::vector<unsigned> &lanes) {
    const unsigned last = std::min(first + LANES, block->threads);
    bool progress = false;
    do {
        for (unsigned lane : lanes) {
            if (first + lane < last && block->fibers[first + lane].state == State::Ready) {
                resume(block->fibers[first + lane]);
                progress = true;
            }
        }
    } while (release(first, last, State::AtWarp));
    return progress;
}

inline void begin_block() {
    for (unsigned i = 0; i < block->threads; i++) {
        block->fibers[i].state = State::Ready;
        block->fibers[i].thread = {i, 0, 0};
        block->fibers[i].cluster_waits = 0;
    }
    block->cluster_arrivals = 0;
    block->lanes = schedule(LANES);
    block->warps = schedule((block->threads + LANES - 1) / LANES);
}

inline bool any(State state) {
    const auto end = block->fibers.begin() + block->threads;
    return std::any_of(block->fibers.begin(), end, [=](const Fiber &fiber) { return fiber.state == state; });
}

// Runs the block until its threads are gone or, in a cooperative launch, wait for another block. Whether any of them did more than
// look once more whether it may go on.
inline bool run_block() {
    bool news = false;
    block->found = false;
    for (;;) {
        bool progress = false;
        for (unsigned w : block->warps) {
            progress |= run_warp(w * LANES, block->lanes);
        }
        const auto done = [](const Fiber &fiber) { return fiber.state == State::Done; };
        if (std::all_of(block->fibers.begin(), block->fibers.begin() + block->threads, done)) {
            return true;
        }
        if (release(0, block->threads, State::AtBlock)) {
            news = true;
        } else if (any(State::Spinning)) {
            return news || block->found;
        } else if (!progress) {
            stuck();
        }
    }
}

// Makes `block` ready for blocks of this launch.
inline void set_launch(const char *kernel, unsigned blocks, unsigned threads, const std::function<void()> &body) {
    static const char *seed = getenv("BN_LENET_SHIM_SEED");
    static const unsigned start = seed ? static_cast<unsigned>(strtoul(seed, nullptr, 10)) : 0;
    static unsigned launches = 0;
    block->shuffled = seed != nullptr;
    block->random.seed(start + 7919 * launches++);
    block->kernel = kernel;
    block->body = body;
    block->threads = threads;
    block->grid = {blocks, 1, 1};
}

#if defined(__SANITIZE_ADDRESS__)
// Over what the sanitizer put between the variables, too, where it would not let memset write.
__attribute__((no_sanitize("address"))) inline void poison_shared() {
    for (volatile char *byte = __start_cuda_shared; byte < __stop_cuda_shared; byte++) {
        *byte = static_cast<char>(0xff);
    }
}
#else
inline void poison_shared() { memset(__start_cuda_shared, 0xff, __stop_cuda_shared - __start_cuda_shared); }
#endif

// Runs a kernel over its grid. `body` calls it with its arguments.
inline void run_grid(const char *kernel, unsigned blocks, unsigned threads, const std::function<void()> &body) {
    set_launch(kernel, blocks, threads, body);
    races::begin_launch(kernel);
    for (unsigned index : schedule(blocks)) {
        block->index = {index, 0, 0};
        poison_shared();
        races::begin_block(index, __start_cuda_shared, __stop_cuda_shared);
        begin_block();
        run_block();
    }
}

// Likewise for a cooperative launch with `shared` bytes of dynamic shared memory a block, in clusters of `cluster` blocks or, at 0,
// none. Blocks and their stacks are kept for the next one.
inline void run_cooperative_grid(const char *kernel, unsigned blocks, unsigned threads, size_t shared, unsigned cluster,
                                 const std::function<void()> &body) {
    std::vector<std::unique_ptr<Block>> &all = cooperative;
    while (all.size() < blocks) {
        all.push_back(std::make_unique<Block>());
    }
    races::begin_launch(kernel);
    for (unsigned i = 0; i < blocks; i++) {
        block = all[i].get();
        set_launch(kernel, blocks, threads, body);
        block->index = {i, 0, 0};
        block->cluster = cluster;
        block->memory.resize((shared + sizeof(std::max_align_t) - 1) / sizeof(std::max_align_t));
        // No memset: a kernel without shared memory of its own has a null pointer here.
        std::fill_n(reinterpret_cast<unsigned char *>(block->memory.data()),
                    block->memory.size() * sizeof(std::max_align_t), 0xff);
        races::begin_block(i, nullptr, nullptr);
        begin_block();
    }
    std::vector<unsigned> alive = schedule(blocks);
    while (!alive.empty()) {
        bool news = false;
        std::vector<unsigned> rest;
        for (unsigned i : alive) {
            block = all[i].get();
            for (unsigned t = 0; t < threads; t++) {
                Fiber &fiber = block->fibers[t];
                fiber.state = fiber.state == State::Spinning ? State::Ready : fiber.state;
            }
            news |= run_block();
            if (any(State::Spinning)) {
                rest.push_back(i);
            }
        }
        if (!news) {
            stuck();
        }
        alive = std::move(rest);
    }
    block = &the_block;
}

} // namespace shim
