// How a fiber of the CPU shim gives way to another: a switch of stacks, for the two kinds of processors that compile it.
#pragma once

#include <cstddef>

namespace shim {

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

} // namespace shim
