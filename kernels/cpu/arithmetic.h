// The functions that a GPU computes less exactly than a CPU does. With BN_LENET_SHIM_ERRORS, a seed, each result is off by up to
// what the hardware's may be: half of that by one factor for all arguments of a function, as a table's error might be, half by
// one that depends on the argument. Divisions stay exact.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace shim {

// A number in [-1, 1] that depends on all bits of `key`.
inline double spread(uint64_t key) {
    key = (key ^ (key >> 31)) * 0x9e3779b97f4a7c15u;
    key = (key ^ (key >> 29)) * 0xbf58476d1ce4e5b9u;
    return static_cast<double>(static_cast<int64_t>(key ^ (key >> 32))) / 9223372036854775808.0;
}

// Read before any kernel runs: the race detector takes a write for a kernel's own.
inline const char *const error_seed = getenv("BN_LENET_SHIM_ERRORS");
inline const uint64_t error_start = error_seed ? strtoul(error_seed, nullptr, 10) << 40 : 0;

// `function` tells the functions apart; `most` is the largest error of a result, relative.
inline float with_error(float exact, float argument, unsigned function, double most) {
    if (!error_seed) {
        return exact;
    }
    uint32_t bits;
    memcpy(&bits, &argument, sizeof bits);
    const uint64_t key = error_start + (static_cast<uint64_t>(function + 1) << 32);
    return static_cast<float>(exact * (1.0 + most * (spread(key) + spread(key + bits)) / 2));
}

constexpr double ULP = 1.0 / (1 << 23);

} // namespace shim

// The largest errors: PTX ISA of the instructions; CUDA C++ Programming Guide, "Mathematical Functions", of the others.
inline float approximate_power_of_two(float x) { return shim::with_error(exp2f(x), x, 0, 2 * shim::ULP); }
inline float approximate_reciprocal(float x) { return shim::with_error(1.0f / x, x, 1, shim::ULP); }
inline float approximate_inverse_root(float x) { return shim::with_error(1.0f / sqrtf(x), x, 2, 2 * shim::ULP); }
inline float shim_expf(float x) { return shim::with_error(expf(x), x, 3, 2 * shim::ULP); }
inline float shim_logf(float x) { return shim::with_error(logf(x), x, 4, shim::ULP); }
inline float shim_sqrtf(float x) { return shim::with_error(sqrtf(x), x, 5, shim::ULP); }
#define expf shim_expf
#define logf shim_logf
#define sqrtf shim_sqrtf
