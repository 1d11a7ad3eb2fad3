// A run of training steps in one kernel: the second level, beside the graph of the other kernels, which is its oracle.
// A cooperative launch, every block resident from the first step to the last:
//
// | kernel           | blocks                       | threads            | shared memory     |
// |------------------|------------------------------|--------------------|-------------------|
// | persistent_train | ceil(n / EXAMPLES_PER_BLOCK) | PERSISTENT_THREADS | PERSISTENT_SHARED |
//
// A block keeps its examples in shared memory from the pixels to the gradients. It meets the others, at a barrier of the grid,
// where BatchNorm needs the batch: once a layer forward, once a layer backward; and at the end of a step twice, since the
// convolutions' gradients are sums over all blocks, and the next step begins with the new weights. The linear layers' gradients
// are summed where they are applied: a block takes tiles of the weights and all examples. Oracle: the graph of the other
// kernels, with which it shares what an operation is, not the order of its sums.
//
// Pointers to what the kernel itself writes are not __restrict__ const: they must not be read through the read-only cache.

#include "persistent_backward.cuh"
#include "persistent_forward.cuh"
#include "persistent_update.cuh"

// One step. Whether the batch's loss was finite; if not, the model has not changed, and every block knows it.
__device__ inline bool persistent_step(const PersistentRun &run, GridBarrier &grid) {
    PersistentShared &s = *run.shared;
    persistent_conv1(run);
    grid.sync();
    persistent_conv2(run);
    grid.sync();
    persistent_flat(run);
    grid.sync();
    persistent_hidden(run);
    grid.sync();
    persistent_loss(run);
    persistent_d_z<CLASSES, LINEAR2, 2>(run, AT_LINEAR3_WEIGHT, s.d_logits, s.x_hat4, s.y4, s.d4, run.work(WORK_D4),
                                        run.work(WORK_D4_X_HAT));
    grid.sync();
    if (blockIdx.x == 0) {
        add_totals(run.totals, run.loss_slots, gridDim.x, run.n, s.totals);
    }
    persistent_d_hidden(run);
    grid.sync();
    if (run.totals[TOTAL_STOPPED] != 0.0) {
        return false;
    }
    persistent_d_flat(run);
    grid.sync();
    persistent_conv2_backward(run);
    grid.sync();
    persistent_conv1_backward(run);
    persistent_linear_descent(run);
    grid.sync();
    persistent_descent(run);
    grid.sync();
    return true;
}

// `steps` steps over the batches of the order, from the model in `parameters`. `workspace` has WORKSPACE_PER_EXAMPLE floats an
// example and CONV_PARAMETERS a block, `loss_slots` two doubles a block; `arrived` is 0. `treatments`, `first` and `second` as in
// update.cu, read if `is_adamw` is 1.
extern "C" __global__ void __launch_bounds__(PERSISTENT_THREADS, 1)
    persistent_train(const unsigned char *__restrict__ images, const unsigned char *__restrict__ labels,
                     const unsigned *__restrict__ order, const float *__restrict__ settings,
                     const float *__restrict__ coefficients, const unsigned char *__restrict__ treatments,
                     float *parameters, float *first_moments, float *second_moments, float *gradients, float *batch_mean,
                     float *batch_var, double *totals, double *loss_slots, float *workspace, unsigned *arrived,
                     unsigned is_adamw, unsigned steps, unsigned n) {
    const unsigned first = blockIdx.x * MINE;
    const Descent descent = {coefficients, treatments, first_moments, second_moments, is_adamw != 0};
    PersistentRun run = {images, labels, order, parameters, gradients, batch_mean, batch_var, settings,
                         &dynamic_shared<PersistentShared>(), workspace, descent, totals, loss_slots,
                         n, first, min(first + MINE, n) - first};
    GridBarrier grid = {arrived};
    for (unsigned step = 0; step < steps; step++, run.order += n, run.descent.step += COEFFICIENT_COUNT) {
        if (!persistent_step(run, grid)) {
            return;
        }
    }
}
