// A run of training steps in one kernel: the second level, beside the graph of the other kernels, which is its oracle.
// A cooperative launch, every block resident from the first step to the last:
//
// | kernel                   | blocks                       | threads            | shared memory     | clusters           |
// |--------------------------|------------------------------|--------------------|-------------------|--------------------|
// | persistent_train         | ceil(n / EXAMPLES_PER_BLOCK) | PERSISTENT_THREADS | PERSISTENT_SHARED | none               |
// | persistent_train_cluster | likewise, in whole clusters  | PERSISTENT_THREADS | CLUSTER_SHARED    | of BLOCKS_PER_TEAM |
//
// A block keeps its examples in shared memory from the pixels to the gradients; for the linear layers blocks form teams, and
// exchange what their examples have become, see persistent_linear.cuh. Where BatchNorm needs the batch, blocks leave slots for
// all others, forward and backward. Values and slots are tagged pairs, exchange.cuh; where teams are clusters, flat features and
// their gradients go from shared memory to shared memory, cluster.cuh, with the same bits. A barrier of the grid comes at the end of
// a step twice, since the convolutions' gradients are sums over all blocks, and the next step begins with the new weights, and
// once before, as the linear layers' gradients need all examples: nobody waits there, the convolutions' gradients lie in
// between. Oracle: the graph of the other kernels, with which it shares what an operation is, not the order of its sums.
//
// Pointers to what the kernel itself writes are not __restrict__ const: they must not be read through the read-only cache.

#pragma once

#include "persistent_backward.cuh"
#include "persistent_linear.cuh"
#include "persistent_update.cuh"

// One step, of whose batch the images are there. Whether there is another: none follows a batch whose loss was not finite. Then
// the model has not changed, and every block knows it.
template <bool CLUSTERS>
__device__ inline bool persistent_step() {
    PersistentShared &s = persistent_shared();
    PersistentRun &run = s.run;
    persistent_conv1();
    persistent_conv2();
    persistent_flat<CLUSTERS>();
    persistent_linear1<CLUSTERS>();
    persistent_linear2();
    persistent_loss();
    persistent_d_hidden();
    if (!isfinite(s.loss.x)) {
        s.all.sync();
        persistent_totals();
        return false;
    }
    persistent_d_flat<CLUSTERS>();
    s.linear.arrive();
    if (run.steps > 1) {
        persistent_pixels();
    }
    persistent_d_y2<CLUSTERS>();
    persistent_d_pool1();
    persistent_d_slots1();
    persistent_d_conv2();
    persistent_d_conv1();
    s.all.arrive();
    s.linear.wait();
    persistent_linear_descent();
    s.all.wait();
    persistent_descent();
    persistent_totals();
    wait_for_copies();
    s.all.arrive();
    if (thread_again() == 0) {
        run.order.pointer += run.n;
        if (run.teacher_weight != 0.0f) {
            run.teacher.pointer += run.n * CLASSES;
        }
        run.descent.coefficients.pointer += COEFFICIENT_COUNT;
        run.tag ^= 1;
        run.steps--;
    }
    __syncthreads();
    if (run.steps == 0) {
        return false;
    }
    persistent_images();
    s.all.wait();
    return true;
}

// What a kernel is handed. `workspace` has WORKSPACE_PER_EXAMPLE floats an example and CONV_WEIGHTS a block; `exchange`,
// EXCHANGE_PAIRS pairs, is 0. `treatments`, `first` and `second` as in update.cu, read if `is_adamw` is 1.
struct PersistentArguments {
    const unsigned char *images, *labels;
    const unsigned *order;
    const float *teacher, *settings, *coefficients;
    const unsigned char *treatments;
    float *parameters, *first_moments, *second_moments, *gradients, *batch_mean, *batch_var;
    double *totals;
    float *workspace, *exchange;
    unsigned is_adamw, steps, n;
};

// A block's view of the run, in its shared memory.
__device__ inline void persistent_begin(const PersistentArguments &a) {
    PersistentShared &s = persistent_shared();
    const unsigned first = blockIdx.x * MINE;
    const Descent descent = {a.coefficients, {}, a.treatments, a.first_moments, a.second_moments, a.is_adamw != 0};
    s.run = {a.images,
             a.labels,
             a.order,
             a.teacher,
             a.parameters,
             a.gradients,
             a.batch_mean,
             a.batch_var,
             a.settings,
             a.settings[SETTING_EPS],
             a.settings[SETTING_LABEL_SMOOTHING],
             a.settings[SETTING_TEACHER_WEIGHT],
             a.settings[SETTING_TEMPERATURE],
             a.workspace,
             reinterpret_cast<float2 *>(a.exchange),
             descent,
             a.totals,
             a.n,
             first,
             min(first + MINE, a.n) - first,
             1.0f / a.n,
             team_of(blockIdx.x, gridDim.x, a.n),
             1,
             a.steps};
    unsigned *const arrived = reinterpret_cast<unsigned *>(a.exchange);
    s.linear = {arrived, gridDim.x, blockDim.x, 0};
    s.all = {arrived + 1, gridDim.x, blockDim.x, 0};
}

// `steps` steps over the batches of the order, from the model in `parameters`.
template <bool CLUSTERS>
__device__ inline void persistent_run(const PersistentArguments &arguments) {
    if (arguments.steps == 0 || arguments.totals[TOTAL_STOPPED] != 0.0) {
        return;
    }
    if (thread_again() == 0) {
        persistent_begin(arguments);
    }
    if constexpr (CLUSTERS) {
        ClusterShared &shared = cluster_shared();
        for (unsigned i = threadIdx.x; i < TEAM * FLAT; i += blockDim.x) {
            shared.flat[i] = make_float2(0.0f, 0.0f);
        }
        if (threadIdx.x < FLAT) {
            shared.d_flat[threadIdx.x] = make_float2(0.0f, 0.0f);
        }
        cluster_sync();
    }
    __syncthreads();
    persistent_samples(0);
    __syncthreads();
    persistent_pixels();
    wait_for_copies();
    __syncthreads();
    persistent_images();
    while (persistent_step<CLUSTERS>()) {
    }
}

// The kernel NAME; CLUSTERS: whether it is launched in clusters. A macro, as the host compares launches with the declaration.
#define PERSISTENT_KERNEL(NAME, CLUSTERS)                                                                              \
    extern "C" __global__ void __launch_bounds__(PERSISTENT_THREADS, 1)                                               \
        NAME(const unsigned char *__restrict__ images, const unsigned char *__restrict__ labels,                      \
             const unsigned *__restrict__ order, const float *__restrict__ teacher,                                   \
             const float *__restrict__ settings, const float *__restrict__ coefficients,                              \
             const unsigned char *__restrict__ treatments, float *parameters, float *first_moments,                   \
             float *second_moments, float *gradients, float *batch_mean, float *batch_var, double *totals,            \
             float *workspace, float *exchange, unsigned is_adamw, unsigned steps, unsigned n) {                      \
        persistent_run<CLUSTERS>({images, labels, order, teacher, settings, coefficients, treatments, parameters,     \
                                  first_moments, second_moments, gradients, batch_mean, batch_var, totals, workspace, \
                                  exchange, is_adamw, steps, n});                                                     \
    }
