// A run of training steps in one kernel: the second level, beside the graph of the other kernels, which is its oracle.
// A cooperative launch, every block resident from the first step to the last:
//
// | kernel           | blocks                       | threads            | shared memory     |
// |------------------|------------------------------|--------------------|-------------------|
// | persistent_train | ceil(n / EXAMPLES_PER_BLOCK) | PERSISTENT_THREADS | PERSISTENT_SHARED |
//
// A block keeps its examples in shared memory from the pixels to the gradients; for the linear layers blocks form teams, and
// exchange what their examples have become, see persistent_linear.cuh. Where BatchNorm needs the batch, blocks leave slots for
// all others, forward and backward. Values and slots are tagged pairs, exchange.cuh; a barrier of the grid comes at the end of
// a step twice, since the convolutions' gradients are sums over all blocks, and the next step begins with the new weights, and
// once before, as the linear layers' gradients need all examples: nobody waits there, the convolutions' gradients lie in
// between. Oracle: the graph of the other kernels, with which it shares what an operation is, not the order of its sums.
//
// Pointers to what the kernel itself writes are not __restrict__ const: they must not be read through the read-only cache.

#include "persistent_backward.cuh"
#include "persistent_linear.cuh"
#include "persistent_update.cuh"

// One step, of whose batch the images are there. Whether there is another: none follows a batch whose loss was not finite. Then
// the model has not changed, and every block knows it.
__device__ inline bool persistent_step() {
    PersistentShared &s = persistent_shared();
    PersistentRun &run = s.run;
    persistent_conv1();
    persistent_conv2();
    persistent_flat();
    persistent_linear1();
    persistent_linear2();
    persistent_loss();
    persistent_d_hidden();
    if (!isfinite(s.loss.x)) {
        s.all.sync();
        persistent_totals();
        return false;
    }
    persistent_d_flat();
    s.linear.arrive();
    if (run.steps > 1) {
        persistent_pixels();
    }
    persistent_d_y2();
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

// `steps` steps over the batches of the order, from the model in `parameters`. `workspace` has WORKSPACE_PER_EXAMPLE floats an
// example and CONV_WEIGHTS a block; `exchange`, EXCHANGE_PAIRS pairs, is 0.
// `treatments`, `first` and `second` as in update.cu, read if `is_adamw` is 1.
extern "C" __global__ void __launch_bounds__(PERSISTENT_THREADS, 1)
    persistent_train(const unsigned char *__restrict__ images, const unsigned char *__restrict__ labels,
                     const unsigned *__restrict__ order, const float *__restrict__ settings,
                     const float *__restrict__ coefficients, const unsigned char *__restrict__ treatments, float *parameters,
                     float *first_moments, float *second_moments, float *gradients, float *batch_mean, float *batch_var,
                     double *totals, float *workspace, float *exchange, unsigned is_adamw, unsigned steps, unsigned n) {
    if (steps == 0 || totals[TOTAL_STOPPED] != 0.0) {
        return;
    }
    PersistentShared &s = persistent_shared();
    if (thread_again() == 0) {
        const unsigned first = blockIdx.x * MINE;
        const Descent descent = {coefficients, {}, treatments, first_moments, second_moments, is_adamw != 0};
        s.run = {images,
                 labels,
                 order,
                 parameters,
                 gradients,
                 batch_mean,
                 batch_var,
                 settings,
                 settings[SETTING_EPS],
                 settings[SETTING_LABEL_SMOOTHING],
                 workspace,
                 reinterpret_cast<float2 *>(exchange),
                 descent,
                 totals,
                 n,
                 first,
                 min(first + MINE, n) - first,
                 1.0f / n,
                 team_of(blockIdx.x, gridDim.x, n),
                 1,
                 steps};
        unsigned *const arrived = reinterpret_cast<unsigned *>(exchange);
        s.linear = {arrived, gridDim.x, blockDim.x, 0};
        s.all = {arrived + 1, gridDim.x, blockDim.x, 0};
    }
    __syncthreads();
    persistent_samples(0);
    __syncthreads();
    persistent_pixels();
    wait_for_copies();
    __syncthreads();
    persistent_images();
    while (persistent_step()) {
    }
}
