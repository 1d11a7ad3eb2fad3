// What the hardware has one instruction for, and its error: powers of two and inverse roots to 2^-22, reciprocals to 2^-23 of the
// value (PTX ISA: ex2, rsqrt, rcp). The CPU build computes them exactly, or with errors of that size where BN_LENET_SHIM_ERRORS
// asks for them: the tests' bounds hold for both.
#pragma once

// The CPU shim has its own.
#ifndef CUDA_SHIM
__device__ inline float approximate_power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
__device__ inline float approximate_reciprocal(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
// 1 / sqrt(x). A denormal number counts as 0.
__device__ inline float approximate_inverse_root(float x) {
    float y;
    asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
#endif
