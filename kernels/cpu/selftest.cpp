// Kernels with mistakes, to see that the shim finds them: `selftest race | stuck | places | lane | poison | grid | spin`.
// Every mode but `race` must end with a report; `race` prints a sum that depends on BN_LENET_SHIM_SEED.
#include "cuda_shim.h"

#define GRID_SPIN_LIMIT 1000
#include "../grid.cuh"

// Reads what the neighbour writes, without a barrier between.
void race(float *out) {
    __shared__ float values[64];
    values[threadIdx.x] = static_cast<float>(threadIdx.x);
    const float neighbour = values[(threadIdx.x + 1) % blockDim.x];
    out[threadIdx.x] = neighbour == neighbour ? neighbour : 0.0f;
}

// Half of the threads never reach the barrier.
void stuck() {
    if (threadIdx.x < 32) {
        __syncthreads();
    }
}

// All threads reach a barrier, but not the same one.
void places() {
    if (threadIdx.x < 32) {
        __syncthreads();
    } else {
        __syncthreads();
    }
}

// A shuffle in a block that does not fill its warp.
void missing_lane() { __shfl_xor_sync(0xffffffffu, 1.0f, 16); }

// Shared memory is not zero to begin with.
void poison() {
    __shared__ float never_written[4];
    if (!(never_written[threadIdx.x % 4] == 0.0f)) {
        shim::fail("not a number");
    }
}

// One block never reaches the grid's barrier.
void grid(unsigned *arrived) {
    GridBarrier barrier = {arrived};
    if (blockIdx.x != 1) {
        barrier.sync();
    }
}

// One block keeps all others waiting: nobody is stuck, but the spins have a limit.
void spin(unsigned *arrived) {
    for (GridBarrier barrier = {arrived}; blockIdx.x != 1;) {
        barrier.sync();
    }
    for (;;) {
        __syncthreads();
        spin_pause();
    }
}

int main(int count, char **arguments) {
    const std::string mode = count > 1 ? arguments[1] : "";
    float out[64];
    if (mode == "race") {
        shim::run_grid("race", 1, 64, [&] { race(out); });
        float sum = 0.0f;
        for (int i = 0; i < 64; i++) {
            sum += static_cast<float>(i + 1) * out[i];
        }
        printf("%f\n", sum);
    } else if (mode == "stuck") {
        shim::run_grid("stuck", 1, 64, stuck);
    } else if (mode == "places") {
        shim::run_grid("places", 1, 64, places);
    } else if (mode == "lane") {
        shim::run_grid("lane", 1, 40, missing_lane);
    } else if (mode == "poison") {
        shim::run_grid("poison", 1, 32, poison);
    } else if (mode == "grid" || mode == "spin") {
        unsigned arrived = 0;
        const auto kernel = mode == "grid" ? grid : spin;
        shim::run_cooperative_grid(arguments[1], 3, 64, 0, [&] { kernel(&arrived); });
    }
    return 0;
}
