// How a fiber of the CPU shim gives way to another: a switch of stacks, for the two kinds of processors that compile it; and what
// the address sanitizer has to know of stacks and memory.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace shim {

// The memory of a stack.
struct Memory {
    const void *start = nullptr;
    size_t bytes = 0;
};

// Leaves the stack of one fiber for that of another: saves the registers that a function must preserve, and returns on
// the other side. setjmp and longjmp would do the same on every processor, at ten times the price.
extern "C" void shim_switch(void **save, void *load);
#if defined(__x86_64__)
asm(R"(.text
.hidden shim_switch
.globl shim_switch
shim_switch:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
)");
constexpr size_t SAVED_REGISTERS = 6, LINK_SLOT = 6;
#elif defined(__aarch64__)
asm(R"(.text
.hidden shim_switch
.globl shim_switch
shim_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
)");
constexpr size_t SAVED_REGISTERS = 20, LINK_SLOT = 11;
#else
#error "the shim switches stacks on x86-64 and aarch64 alone"
#endif

// The first thing on the new stack: where one came from, for the address sanitizer, which has to know on which stack it is.
inline void arrive([[maybe_unused]] void *state, [[maybe_unused]] Memory &from) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(state, &from.start, &from.bytes);
#endif
}

// Goes on where `load` was saved, on the stack in `memory`, which is given what the sanitizer knows of the stack that comes back.
inline void switch_stacks(void **save, void *load, Memory &memory) {
    void *state = nullptr;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&state, memory.start, memory.bytes);
#endif
    shim_switch(save, load);
    arrive(state, memory);
}

// Memory that nobody may touch, for the address sanitizer alone; until it is permitted.
inline void forbid([[maybe_unused]] const void *start, [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
    __asan_poison_memory_region(start, bytes);
#endif
}
inline void permit([[maybe_unused]] const void *start, [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(start, bytes);
#endif
}

} // namespace shim
