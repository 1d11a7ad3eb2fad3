// CUDA C++ on a CPU: just enough for g++ to compile the kernels of this directory as they are, and to run them so that
// mistakes show.
//
// Every thread of a block is a fiber with a stack of its own. Fibers switch at barriers and shuffles alone, in an order
// shuffled by BN_LENET_SHIM_SEED: a result that depends on it is a race. A barrier that some threads never reach, or that
// they reach in different places, ends the program with a report. Shared memory is poisoned with NaN before each block.
// Blocks run one after the other, in shuffled order, so static shared memory needs one copy.
#pragma once

#include <algorithm>
#include <csetjmp>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include <sys/mman.h>
#include <ucontext.h>

#define __global__
#define __device__
#define __launch_bounds__(...)
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
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

using std::isfinite;
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }

extern "C" char __start_cuda_shared[], __stop_cuda_shared[];

namespace shim {

constexpr unsigned LANES = 32;
constexpr size_t STACK = 128 * 1024;

// Where a thread waits: a line of the source.
struct Place {
    const char *file = "";
    int line = 0;
    bool operator==(const Place &other) const { return line == other.line && !strcmp(file, other.file); }
};

enum class State { Ready, AtBlock, AtWarp, Done };

struct Fiber {
    State state = State::Done;
    Place place;
    dim3 thread;
    // What a lane shows to the others. Two slots in turn: nobody can be two shuffles ahead.
    uint64_t shown[2] = {};
    unsigned turn = 0;
    bool started = false;
    jmp_buf registers;
    ucontext_t entry;
};

struct Block {
    std::vector<Fiber> fibers;
    unsigned threads = 0;
    dim3 index, grid;
    const char *kernel = "";
    std::function<void()> body;
    jmp_buf scheduler;
    Fiber *current = nullptr;
    std::mt19937 random;
    bool shuffled = false;
};

inline Block block;

[[noreturn]] inline void fail(const std::string &what) {
    fprintf(stderr, "CUDA shim: %s, block %u: %s\n", block.kernel, block.index.x, what.c_str());
    fflush(stderr);
    abort();
}

// Back to the scheduler, until the barrier is complete.
inline void wait(State state, Place place) {
    Fiber &self = *block.current;
    self.state = state;
    self.place = place;
    if (!_setjmp(self.registers)) {
        _longjmp(block.scheduler, 1);
    }
}

inline void fiber_main() {
    for (;;) {
        block.body();
        wait(State::Done, {"end", 0});
    }
}

inline void resume(Fiber &fiber) {
    block.current = &fiber;
    if (_setjmp(block.scheduler)) {
        return;
    }
    if (fiber.started) {
        _longjmp(fiber.registers, 1);
    }
    fiber.started = true;
    getcontext(&fiber.entry);
    void *stack = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    fiber.entry.uc_stack.ss_sp = stack;
    fiber.entry.uc_stack.ss_size = STACK;
    fiber.entry.uc_link = nullptr;
    makecontext(&fiber.entry, fiber_main, 0);
    setcontext(&fiber.entry);
}

// Lets go the threads [first, last) if all of them wait in `state`. Threads of one barrier must wait in one place.
inline bool release(unsigned first, unsigned last, State state) {
    for (unsigned i = first; i < last; i++) {
        if (block.fibers[i].state != state) {
            return false;
        }
    }
    const Place place = block.fibers[first].place;
    for (unsigned i = first; i < last; i++) {
        Fiber &fiber = block.fibers[i];
        if (!(fiber.place == place)) {
            fail("threads " + std::to_string(first) + " and " + std::to_string(i) + " wait in different places, " +
                 place.file + ":" + std::to_string(place.line) + " and " + fiber.place.file + ":" +
                 std::to_string(fiber.place.line));
        }
        fiber.state = State::Ready;
    }
    return true;
}

[[noreturn]] inline void stuck() {
    std::string report = "stuck barrier:";
    for (unsigned i = 0; i < block.threads; i++) {
        const Fiber &fiber = block.fibers[i];
        const bool news = i == 0 || fiber.state != block.fibers[i - 1].state || !(fiber.place == block.fibers[i - 1].place);
        if (news) {
            const char *states[] = {"ready", "at a block's barrier", "at a warp's barrier", "gone"};
            report += "\n  from thread " + std::to_string(i) + " on: " + states[static_cast<int>(fiber.state)] + " " +
                      fiber.place.file + ":" + std::to_string(fiber.place.line);
        }
    }
    fail(report);
}

inline void run_block() {
    memset(__start_cuda_shared, 0xff, __stop_cuda_shared - __start_cuda_shared);
    std::vector<unsigned> order(block.threads);
    for (unsigned i = 0; i < block.threads; i++) {
        order[i] = i;
        Fiber &fiber = block.fibers[i];
        fiber.state = State::Ready;
        fiber.thread = {i, 0, 0};
    }
    if (block.shuffled) {
        std::shuffle(order.begin(), order.end(), block.random);
    }
    for (;;) {
        bool progress = false, all_done = true;
        for (unsigned i : order) {
            if (block.fibers[i].state == State::Ready) {
                resume(block.fibers[i]);
                progress = true;
            }
        }
        for (unsigned w = 0; w < block.threads; w += LANES) {
            const unsigned last = std::min(w + LANES, block.threads);
            progress |= block.fibers[w].state == State::AtWarp && release(w, last, State::AtWarp);
        }
        progress |= release(0, block.threads, State::AtBlock);
        for (unsigned i = 0; i < block.threads; i++) {
            all_done &= block.fibers[i].state == State::Done;
        }
        if (all_done) {
            return;
        }
        if (!progress) {
            stuck();
        }
    }
}

// Runs a kernel over its grid. `body` calls it with its arguments.
inline void run_grid(const char *kernel, unsigned blocks, unsigned threads, std::function<void()> body) {
    static const char *seed = getenv("BN_LENET_SHIM_SEED");
    static const unsigned start = seed ? static_cast<unsigned>(strtoul(seed, nullptr, 10)) : 0;
    static unsigned launches = 0;
    block.shuffled = seed != nullptr;
    block.random.seed(start + 7919 * launches++);
    block.kernel = kernel;
    block.body = std::move(body);
    block.threads = threads;
    block.grid = {blocks, 1, 1};
    if (block.fibers.size() < threads) {
        // Fibers hold their own registers: they may not move once started.
        static bool reserved = false;
        if (!reserved) {
            block.fibers.resize(1024);
            reserved = true;
        }
        if (threads > 1024) {
            fail("more than 1,024 threads");
        }
    }
    std::vector<unsigned> order(blocks);
    for (unsigned i = 0; i < blocks; i++) {
        order[i] = i;
    }
    if (block.shuffled) {
        std::shuffle(order.begin(), order.end(), block.random);
    }
    for (unsigned index : order) {
        block.index = {index, 0, 0};
        run_block();
    }
}

} // namespace shim

#define threadIdx (shim::block.current->thread)
#define blockIdx (shim::block.index)
#define gridDim (shim::block.grid)
struct shim_block_dim {
    dim3 operator()() const { return {shim::block.threads, 1, 1}; }
};
#define blockDim (shim_block_dim{}())

// The default arguments name the caller's line.
inline void __syncthreads(const char *file = __builtin_FILE(), int line = __builtin_LINE()) {
    shim::wait(shim::State::AtBlock, {file, line});
}

template <typename T>
inline T __shfl_xor_sync(unsigned mask, T value, unsigned distance, const char *file = __builtin_FILE(),
                         int line = __builtin_LINE()) {
    static_assert(sizeof(T) <= sizeof(uint64_t), "words of up to eight bytes");
    if (mask != 0xffffffffu) {
        shim::fail("a shuffle of a part of a warp");
    }
    shim::Fiber &self = *shim::block.current;
    const unsigned turn = self.turn++ % 2;
    memcpy(&self.shown[turn], &value, sizeof(T));
    const unsigned other = self.thread.x ^ distance;
    if (other >= shim::block.threads || other / shim::LANES != self.thread.x / shim::LANES) {
        shim::fail("a shuffle from a lane that does not exist");
    }
    shim::wait(shim::State::AtWarp, {file, line});
    memcpy(&value, &shim::block.fibers[other].shown[turn], sizeof(T));
    return value;
}
