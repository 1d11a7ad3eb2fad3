// A race detector for the CPU shim. The shim is compiled with -fsanitize=thread, so that a function of this file is called before
// each access to memory. This file, compiled without, stands in for the compiler's own runtime: that one watches
// threads of the operating system, 8,128 at the most, and knows no block; here a thread is a fiber, the persistent kernel
// has 65,536, and what orders them is known exactly:
//
// - a block's barrier orders all that its threads did before; a shuffle likewise for a warp; launches follow each other;
// - between blocks, what a thread and, before a barrier, its block did is ordered by a fence, an atomic, another thread's volatile read
//   or atomic at the same address, a fence, and a barrier of that thread's block: the pattern of ../grid.cuh, where a fence and an
//   atomic are one instruction, a read and a fence another. What a thread does between barrier and fence does not count as
//   released, so that nothing racy passes;
// - a cluster's barrier orders all that a block's threads did before the last of them arrived;
// - the pairs of ../exchange.cuh order nothing, and are not looked at: a tag and what it stands for are one word.
//
// Two accesses to one word by two threads, one of them a write, with no such order are a race: the program ends with both
// places. Like the thread sanitizer it remembers four accesses a word, and forgets one by chance where a fifth comes.
//
// With BN_LENET_SHIM_COUNT it says of each kernel how much of the device's memory a block touches.
#define __SANITIZE_THREAD__ 1
#include "races.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <dlfcn.h>

// Where the library, or the program, begins in memory.
extern "C" __attribute__((visibility("hidden"))) const char __ehdr_start[];

namespace shim::races {
namespace {

constexpr unsigned LANES = 32, THREADS = 1024, WORD = 4, PAGE = 4096, REMEMBERED = 4;

// Counts barriers of any kind, from the start of the process.
using Time = uint32_t;

struct Access {
    uint32_t thread = 0; // block * THREADS + thread of the block
    Time time = 0;       // 0: none
    uint32_t code : 31, write : 1;
};
struct Word {
    Access accesses[REMEMBERED];
};
using Page = std::array<Word, PAGE / WORD>;

// By block: what its threads did before this time is ordered before one's own next access.
using Known = std::vector<Time>;

struct Block {
    Time barrier = 0, warps[THREADS / LANES] = {};
    // What the block knows, and what it will know behind its next barrier.
    Known known, acquired;
    // When it arrived at its cluster's barrier the last two times, and how often it has.
    Time arrived[2] = {};
    unsigned arrivals = 0;
};
// What a thread will have acquired behind its next fence, and what an atomic of its releases.
struct Thread {
    Known pending, fenced;
};

std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages;
std::map<const void *, Known> released;
std::map<uint32_t, Thread> threads;
std::vector<Block> blocks;
const char *kernel = "";
Time now = 1, launch = 1;
uint32_t dice = 1;

// What a block has read and written of the device's memory, in sectors, the unit of a GPU's L2: a block asks for each once, if its
// own cache keeps what others do not write. Pairs are counted apart: they go past that cache.
enum Kind { READ, WRITTEN, PAIRS_READ, PAIRS_WRITTEN, KINDS };
constexpr uintptr_t SECTOR = 32;
const bool counting = getenv("BN_LENET_SHIM_COUNT");
std::vector<std::array<std::unordered_set<uintptr_t>, KINDS>> counts;
std::map<uintptr_t, uintptr_t> device_ranges; // from the end to the beginning

// The thread that runs, if any does, and its stack. Other threads of the host may be in the driver meanwhile.
__attribute__((tls_model("initial-exec"))) thread_local bool watching = false;
uint32_t self = 0;
uintptr_t stack_first = 0, stack_last = 0;

void join(Known &to, const Known &from) {
    to.resize(std::max(to.size(), from.size()));
    std::transform(from.begin(), from.end(), to.begin(), to.begin(), [](Time a, Time b) { return std::max(a, b); });
}

Block &block_at(unsigned index) {
    if (index >= blocks.size()) {
        blocks.resize(index + 1);
    }
    return blocks[index];
}

bool ordered_before_me(const Access &access) {
    const unsigned mine = self / THREADS, others = access.thread / THREADS;
    const Block &block = blocks[mine];
    if (access.thread == self || access.time < launch) {
        return true;
    }
    if (mine == others) {
        const bool same_warp = access.thread / LANES == self / LANES;
        return access.time < block.barrier || (same_warp && access.time < block.warps[self % THREADS / LANES]);
    }
    return others < block.known.size() && access.time < block.known[others];
}

std::string describe(const Access &access) {
    Dl_info info{};
    dladdr(__ehdr_start, &info);
    // The byte before the return address belongs to the call.
    char command[4096], line[1024] = "an unknown place\n";
    snprintf(command, sizeof command, "addr2line -Cfpse '%s' 0x%x", info.dli_fname, access.code - 1);
    if (FILE *pipe = popen(command, "r")) {
        if (!fgets(line, sizeof line, pipe)) {
            line[0] = '\n';
        }
        pclose(pipe);
    }
    return std::string(access.write ? "write" : "read") + " by thread " + std::to_string(access.thread % THREADS) +
           " of block " + std::to_string(access.thread / THREADS) + " in " + line;
}

[[noreturn]] void report(const Access &before, const Access &access) {
    watching = false;
    fprintf(stderr, "CUDA shim: %s: a race, nothing orders\n  %s  %s", kernel, describe(before).c_str(),
            describe(access).c_str());
    fflush(stderr);
    abort();
}

// The page's words. The same page is asked for again and again.
Page &page_at(uintptr_t number) {
    constexpr size_t WAYS = 4096;
    static std::pair<uintptr_t, Page *> cache[WAYS];
    auto &[cached, page] = cache[number % WAYS];
    if (!page || cached != number) {
        auto &found = pages[number];
        if (!found) {
            found = std::make_unique<Page>();
        }
        cached = number;
        page = found.get();
    }
    return *page;
}

void access_word(uintptr_t address, const Access &access) {
    Word &word = page_at(address / PAGE)[address % PAGE / WORD];
    Access *place = nullptr;
    for (Access &before : word.accesses) {
        if (before.time == 0) {
            place = place ? place : &before;
            continue;
        }
        const bool ordered = ordered_before_me(before);
        if (!ordered && (before.write || access.write)) {
            report(before, access);
        }
        // Whoever races with the earlier one races with this one.
        if (ordered && (access.write || !before.write)) {
            place = &before;
        }
    }
    if (!place) {
        dice = dice * 1664525 + 1013904223;
        place = &word.accesses[dice >> 30];
    }
    *place = access;
}

void count(uintptr_t address, Kind kind) {
    const auto range = device_ranges.upper_bound(address);
    if (range == device_ranges.end() || address < range->second) {
        return;
    }
    counts.resize(std::max<size_t>(counts.size(), self / THREADS + 1));
    counts[self / THREADS][kind].insert(address / SECTOR);
}

// Of the kernel that has run; kernels of one block or two are not what is asked about.
void print_counts() {
    const char *words[] = {"read", "written", "of pairs read", "of pairs written"};
    for (int kind = 0; kind < KINDS && counts.size() > 2; kind++) {
        size_t all = 0;
        for (const auto &block : counts) {
            all += block[kind].size();
        }
        fprintf(stderr, "count: %s, a block of %zu: %zu bytes %s\n", kernel, counts.size(), all * SECTOR / counts.size(), words[kind]);
    }
    counts.clear();
}

void access(const void *pointer, size_t bytes, bool write, const void *code) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
    if (!watching || (address >= stack_first && address < stack_last)) {
        return;
    }
    if (counting) {
        count(address, write ? WRITTEN : READ);
    }
    const auto offset = static_cast<uint32_t>(static_cast<const char *>(code) - __ehdr_start);
    const Access access = {self, now, offset & 0x7fffffff, write};
    for (uintptr_t word = address / WORD; word <= (address + bytes - 1) / WORD; word++) {
        access_word(word * WORD, access);
    }
}

void volatile_read(const void *address) {
    if (watching) {
        join(threads[self].pending, released[address]);
    }
}

} // namespace

void begin_launch(const char *name) {
    print_counts();
    kernel = name;
    launch = ++now;
    threads.clear();
    released.clear();
    blocks.clear();
}

void begin_block(unsigned index, const void *shared, const void *shared_end) {
    block_at(index) = Block();
    const auto end = reinterpret_cast<uintptr_t>(shared_end);
    for (auto word = reinterpret_cast<uintptr_t>(shared); word < end; word += WORD) {
        page_at(word / PAGE)[word % PAGE / WORD] = Word();
    }
}

void enter(unsigned block, unsigned thread, const void *stack, size_t bytes) {
    self = block * THREADS + thread;
    stack_first = reinterpret_cast<uintptr_t>(stack);
    stack_last = stack_first + bytes;
    watching = true;
}

void leave() { watching = false; }

void barrier(unsigned index, unsigned first, bool whole) {
    now++;
    Block &block = block_at(index);
    if (whole) {
        block.barrier = now;
        join(block.known, block.acquired);
    } else {
        block.warps[first / LANES] = now;
    }
}

void fence() {
    const unsigned mine = self / THREADS;
    Block &block = blocks[mine];
    Thread &thread = threads[self];
    join(block.acquired, thread.pending);
    thread.fenced = block.known;
    join(thread.fenced, thread.pending);
    thread.fenced.resize(std::max<size_t>(thread.fenced.size(), mine + 1));
    thread.fenced[mine] = block.barrier;
}

void atomic(const void *address) {
    Thread &thread = threads[self];
    Known &known = released[address];
    join(thread.pending, known);
    join(known, thread.fenced);
}

void device_memory(const void *first, size_t bytes) {
    const auto begin = reinterpret_cast<uintptr_t>(first);
    device_ranges[begin + bytes] = begin;
}

void pair(const void *address, bool write) {
    if (counting) {
        count(reinterpret_cast<uintptr_t>(address), write ? PAIRS_WRITTEN : PAIRS_READ);
    }
}

void cluster_arrive(unsigned index, bool last) {
    if (last) {
        Block &block = block_at(index);
        block.arrived[block.arrivals++ % 2] = ++now;
    }
}

void cluster_wait(unsigned index, unsigned count) {
    // The block itself may have arrived once more since, but then this thread has waited before.
    const unsigned first = index / count * count, turn = (block_at(index).arrivals - 1) % 2;
    Known &known = block_at(index).known;
    known.resize(std::max<size_t>(known.size(), first + count));
    for (unsigned i = first; i < first + count; i++) {
        known[i] = std::max(known[i], blocks[i].arrived[turn]);
    }
    blocks[index].barrier = std::max(blocks[index].barrier, blocks[index].arrived[turn]);
}

void acquire(const void *address) {
    volatile_read(address);
    join(blocks[self / THREADS].acquired, threads[self].pending);
}

} // namespace shim::races

#define CODE __builtin_return_address(0)
#define ACCESS(bytes)                                                                                                  \
    void __tsan_read##bytes(void *address) { shim::races::access(address, bytes, false, CODE); }                       \
    void __tsan_write##bytes(void *address) { shim::races::access(address, bytes, true, CODE); }                       \
    void __tsan_unaligned_read##bytes(void *address) { shim::races::access(address, bytes, false, CODE); }             \
    void __tsan_unaligned_write##bytes(void *address) { shim::races::access(address, bytes, true, CODE); }             \
    void __tsan_volatile_read##bytes(void *address) { shim::races::volatile_read(address); }

// The names that the compiler calls.
extern "C" {
void __tsan_init() {}
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
void __tsan_read_range(void *address, size_t bytes) { shim::races::access(address, bytes, false, CODE); }
void __tsan_write_range(void *address, size_t bytes) { shim::races::access(address, bytes, true, CODE); }
// The shim's own, outside of kernels.
void __tsan_vptr_update(void **, void *) {}
void __tsan_vptr_read(void **) {}
unsigned char __tsan_atomic8_load(const volatile unsigned char *address, int) { return *address; }
int __tsan_atomic32_fetch_add(volatile int *address, int value, int) { return __atomic_fetch_add(address, value, __ATOMIC_ACQ_REL); }
}
