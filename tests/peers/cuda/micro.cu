// What a GPU charges for the two ways to order work: nvcc -O3 -std=c++17 -arch=native micro.cu -o micro && ./micro
//
// - a node of a CUDA graph: an empty kernel behind an empty kernel, 1,000 of them, with 1, 128 and 256 blocks of 256 threads;
// - a launch of a graph: a graph of one empty kernel, launched 1,000 times;
// - a barrier over a cooperative grid, from cooperative groups and from kernels/grid.cuh, of 64, 128 and 132 blocks of 256 and 512
//   threads;
// - an exchange of kernels/exchange.cuh: every block publishes 16 pairs, and waits for those of up to 128 blocks;
// - how many blocks of 256 and 512 threads with 64 KB of shared memory lie side by side on a multiprocessor.
//
// Medians of 11 runs. The figures say what kernels/ can win by fusing kernels, and what a persistent kernel would.
#include <algorithm>
#include <cooperative_groups.h>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../../../kernels/exchange.cuh"

#define CHECK(call)                                                                                                    \
    do {                                                                                                               \
        const cudaError_t error = (call);                                                                              \
        if (error != cudaSuccess) {                                                                                    \
            fprintf(stderr, "%s: %s\n", #call, cudaGetErrorString(error));                                             \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

__global__ void empty() {}

__global__ void barriers(int count) {
    cooperative_groups::grid_group grid = cooperative_groups::this_grid();
    for (int i = 0; i < count; i++) {
        grid.sync();
    }
}

__global__ void our_barriers(unsigned *arrived, int count) {
    GridBarrier barrier = {arrived, gridDim.x, blockDim.x, 0};
    for (int i = 0; i < count; i++) {
        barrier.sync();
    }
}

// A warp a channel, as persistent.cu does it for conv2's BatchNorm. Two arrays in turn: nobody writes what another may still read.
constexpr int CHANNELS = 16, SLOTS = 128;
__global__ void exchanges(float2 *pairs, float *out, int count) {
    float sum = 0.0f;
    for (int i = 0; i < count; i++) {
        float2 *slots = pairs + i % 2 * CHANNELS * SLOTS;
        const unsigned tag = (i / 2 + 1) % 2;
        __syncthreads();
        if (threadIdx.x < CHANNELS) {
            publish(slots + threadIdx.x * SLOTS + blockIdx.x, sum, 1.0f, tag);
        }
        Await<SLOTS / LANES, LANES> await;
        await.begin(slots + warp() % CHANNELS * SLOTS + lane(), tag, [](int k) { return lane() + k * LANES < gridDim.x; });
        await.finish();
        sum = warp_sum(await.pairs[0].y + await.pairs[1].y + await.pairs[2].y + await.pairs[3].y);
    }
    out[blockIdx.x] = sum;
}

__global__ void shared_memory(float *out) {
    extern __shared__ float values[];
    values[threadIdx.x] = threadIdx.x;
    __syncthreads();
    out[threadIdx.x] = values[blockDim.x - 1 - threadIdx.x];
}

// Median microseconds of `work`.
template <typename Work>
float median(cudaStream_t stream, Work work) {
    cudaEvent_t start, stop;
    CHECK(cudaEventCreate(&start));
    CHECK(cudaEventCreate(&stop));
    std::vector<float> times;
    for (int run = 0; run < 12; run++) {
        CHECK(cudaEventRecord(start, stream));
        work();
        CHECK(cudaEventRecord(stop, stream));
        CHECK(cudaEventSynchronize(stop));
        float milliseconds;
        CHECK(cudaEventElapsedTime(&milliseconds, start, stop));
        if (run > 0) { // the first warms up
            times.push_back(milliseconds * 1000);
        }
    }
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

cudaGraphExec_t graph_of(cudaStream_t stream, int kernels, int blocks) {
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < kernels; i++) {
        empty<<<blocks, 256, 0, stream>>>();
    }
    CHECK(cudaStreamEndCapture(stream, &graph));
    CHECK(cudaGraphInstantiate(&executable, graph, 0));
    return executable;
}

int main() {
    cudaDeviceProp properties;
    CHECK(cudaGetDeviceProperties(&properties, 0));
    printf("%s, %d multiprocessors\n", properties.name, properties.multiProcessorCount);
    cudaStream_t stream;
    CHECK(cudaStreamCreate(&stream));

    for (int blocks : {1, 128, 256}) {
        const cudaGraphExec_t many = graph_of(stream, 1000, blocks);
        const float time = median(stream, [&] { CHECK(cudaGraphLaunch(many, stream)); });
        printf("graph node, %3d blocks of 256:            %7.3f us\n", blocks, time / 1000);
    }
    const cudaGraphExec_t one = graph_of(stream, 1, 1);
    const float launches = median(stream, [&] {
        for (int i = 0; i < 1000; i++) {
            CHECK(cudaGraphLaunch(one, stream));
        }
    });
    printf("launch of a graph of one kernel:          %7.3f us\n", launches / 1000);

    const size_t bytes = 2 * CHANNELS * SLOTS * sizeof(float2);
    void *memory, *out;
    CHECK(cudaMalloc(&memory, bytes));
    CHECK(cudaMalloc(&out, 132 * sizeof(float)));
    for (int blocks : {64, 128, 132}) {
        for (int threads : {256, 512}) {
            if (blocks > properties.multiProcessorCount) {
                continue;
            }
            const auto sync = [&](int count) {
                void *arguments[] = {&count};
                const void *kernel = reinterpret_cast<const void *>(barriers);
                CHECK(cudaLaunchCooperativeKernel(kernel, blocks, threads, arguments, 0, stream));
            };
            // The difference leaves the launch out.
            const float time = median(stream, [&] { sync(2000); }) - median(stream, [&] { sync(1000); });
            printf("grid barrier, %3d blocks of %d:          %7.3f us\n", blocks, threads, time / 1000);
            const auto launch = [&](const void *kernel, void **arguments) {
                CHECK(cudaMemsetAsync(memory, 0, bytes, stream));
                CHECK(cudaLaunchCooperativeKernel(kernel, blocks, threads, arguments, 0, stream));
            };
            const auto ours = [&](int count) {
                void *arguments[] = {&memory, &count};
                launch(reinterpret_cast<const void *>(our_barriers), arguments);
            };
            const float our_time = median(stream, [&] { ours(2000); }) - median(stream, [&] { ours(1000); });
            printf("grid.cuh's barrier, %3d blocks of %d:    %7.3f us\n", blocks, threads, our_time / 1000);
            if (blocks <= SLOTS && threads == 512) {
                const auto exchange = [&](int count) {
                    void *arguments[] = {&memory, &out, &count};
                    launch(reinterpret_cast<const void *>(exchanges), arguments);
                };
                const float exchange_time = median(stream, [&] { exchange(2000); }) - median(stream, [&] { exchange(1000); });
                printf("exchange.cuh's exchange, %3d of %d:      %7.3f us\n", blocks, threads, exchange_time / 1000);
            }
        }
    }
    for (int threads : {256, 512}) {
        const int shared = 64 * 1024;
        int blocks = 0;
        CHECK(cudaFuncSetAttribute(shared_memory, cudaFuncAttributeMaxDynamicSharedMemorySize, shared));
        CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, shared_memory, threads, shared));
        printf("blocks of %d with 64 KB side by side:    %7d\n", threads, blocks);
    }
    return 0;
}
