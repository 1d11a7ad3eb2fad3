// Kernels with mistakes, to see that the shim finds them: `selftest race | stuck | places | lane | poison | copy | grid |
// spin | unpublished | absent`.
// Every mode but `race` must end with a report; `race` prints a sum that depends on BN_LENET_SHIM_SEED.
//
// With -fsanitize=thread `race` ends with a report too, and so do `overwrite`, `unfenced`, `blocks` and `early`; `met` and
// `neighbours` have no race.
// With -fsanitize=address,undefined `past`, `beyond` and `overflow` do.
#include "device.h"

#define GRID_SPIN_LIMIT 1000
#include "../cluster.cuh"
#include "../exchange.cuh"

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

// Reads what was to be copied into shared memory, and may not be there yet.
void copy() {
    __shared__ float4 copied;
    static const float4 zeros = {};
    copy_ahead(&copied, &zeros);
    if (!(copied.x == 0.0f)) {
        shim::fail("not a number");
    }
    wait_for_copies();
}

// One block never reaches the grid's barrier.
void grid(unsigned *arrived) {
    GridBarrier barrier = {arrived, gridDim.x, blockDim.x, 0};
    if (blockIdx.x != 1) {
        barrier.sync();
    }
}

// One block keeps all others waiting: nobody is stuck, but the spins have a limit.
void spin(unsigned *arrived) {
    for (GridBarrier barrier = {arrived, gridDim.x, blockDim.x, 0}; blockIdx.x != 1;) {
        barrier.sync();
    }
    for (;;) {
        __syncthreads();
        spin_pause();
    }
}

// A pair that one block publishes with the tag of another step.
void unpublished(float2 *pairs) {
    publish(pairs + blockIdx.x, 1.0f, 2.0f, blockIdx.x != 1);
    Await<3, 1> all;
    all.begin(pairs, 1, [](int) { return true; });
    all.finish();
}

// Writes what a thread of another warp reads: the shuffle orders one warp alone.
void overwrite() {
    __shared__ float values[64];
    values[threadIdx.x] = 0.0f;
    __syncthreads();
    const float other = values[63 - threadIdx.x];
    values[threadIdx.x] = __shfl_xor_sync(0xffffffffu, other, 1);
}

// Every order that there is: within a warp, a block, and between blocks.
void met(unsigned *arrived, float *cells) {
    GridBarrier barrier = {arrived, gridDim.x, blockDim.x, 0};
    for (int round = 0; round < 3; round++) {
        cells[blockIdx.x * blockDim.x + threadIdx.x] = static_cast<float>(round);
        barrier.sync();
        const unsigned next = (blockIdx.x + 1) % gridDim.x;
        const float mirrored = cells[next * blockDim.x + blockDim.x - 1 - threadIdx.x];
        float *const own = &dynamic_shared<float>();
        own[threadIdx.x] = mirrored;
        own[threadIdx.x ^ 1] += __shfl_xor_sync(0xffffffffu, mirrored, 1);
        barrier.sync();
    }
}

// A barrier of the grid without its second fence.
void unfenced(unsigned *arrived, float *cells) {
    if (threadIdx.x == 5) {
        cells[blockIdx.x] = 1.0f;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        atomicAdd(arrived, 1u);
        while (*static_cast<volatile unsigned *>(arrived) < gridDim.x) {
            spin_pause();
        }
    }
    __syncthreads();
    if (threadIdx.x == 5) {
        cells[gridDim.x + blockIdx.x] = cells[(blockIdx.x + 1) % gridDim.x];
    }
}

// Blocks of a cluster write what others read, with a barrier of the cluster between; in `early` with a barrier of the block.
void tell_neighbours(float *cells, bool wait) {
    for (int round = 0; round < 3; round++) {
        cells[blockIdx.x * blockDim.x + threadIdx.x] = static_cast<float>(round);
        wait ? cluster_sync() : __syncthreads();
        (&dynamic_shared<float>())[threadIdx.x] = cells[(blockIdx.x ^ 1) * blockDim.x + (threadIdx.x ^ 1)];
        cluster_sync();
    }
}
void neighbours(float *cells) { tell_neighbours(cells, true); }
void early(float *cells) { tell_neighbours(cells, false); }

// A block of a cluster never arrives.
void absent(float *) {
    if (blockIdx.x != 1) {
        cluster_sync();
    }
}

// Two blocks of an ordinary launch write one word.
void blocks(float *cells) {
    if (threadIdx.x == 0) {
        cells[0] = static_cast<float>(blockIdx.x);
    }
}

// Past the end of a variable in shared memory, into the next one.
void past() {
    __shared__ float values[32];
    __shared__ float others[32];
    others[threadIdx.x] = 1.0f;
    float *const end = values + blockDim.x;
    end[threadIdx.x] = others[threadIdx.x];
}

// Beyond what the launch asked for.
void beyond() { (&dynamic_shared<float>())[threadIdx.x + 8] = 1.0f; }

// A sum that its type does not hold.
void overflow(int *out) { out[threadIdx.x] = INT32_MAX - 20 + static_cast<int>(threadIdx.x); }

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
    } else if (mode == "copy") {
        shim::run_grid("copy", 1, 1, copy);
    } else if (mode == "grid" || mode == "spin") {
        unsigned arrived = 0;
        const auto kernel = mode == "grid" ? grid : spin;
        shim::run_cooperative_grid(arguments[1], 3, 64, 0, 0, [&] { kernel(&arrived); });
    } else if (mode == "unpublished") {
        float2 pairs[3] = {};
        shim::run_cooperative_grid("unpublished", 3, 64, 0, 0, [&] { unpublished(pairs); });
    } else if (mode == "overwrite") {
        shim::run_grid("overwrite", 1, 64, overwrite);
    } else if (mode == "met" || mode == "unfenced") {
        unsigned arrived = 0;
        float cells[3 * 64] = {};
        const auto kernel = mode == "met" ? met : unfenced;
        shim::run_cooperative_grid(arguments[1], 3, 64, sizeof(float) * 64, 0, [&] { kernel(&arrived, cells); });
    } else if (mode == "neighbours" || mode == "early" || mode == "absent") {
        float cells[4 * 64] = {};
        const auto kernel = mode == "neighbours" ? neighbours : mode == "early" ? early : absent;
        shim::run_cooperative_grid(arguments[1], 4, 64, sizeof(float) * 64, 2, [&] { kernel(cells); });
    } else if (mode == "blocks") {
        shim::run_grid("blocks", 2, 32, [&] { blocks(out); });
    } else if (mode == "past") {
        shim::run_grid("past", 1, 32, past);
    } else if (mode == "beyond") {
        shim::run_cooperative_grid("beyond", 1, 64, sizeof(float) * 64, 0, beyond);
    } else if (mode == "overflow") {
        int sums[64];
        shim::run_grid("overflow", 1, 64, [&] { overflow(sums); });
        printf("%d\n", sums[63]);
    }
    return 0;
}
