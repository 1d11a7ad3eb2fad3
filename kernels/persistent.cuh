// What the persistent kernel keeps where: a block's examples in its shared memory, and in the workspace in global memory what
// blocks tell each other. The kernel and its phases: persistent.cu.
#pragma once

#include "conv2d.cuh"
#include "cross_entropy.cuh"
#include "grid.cuh"
#include "totals.cuh"
#include "update.cuh"

constexpr int MINE = EXAMPLES_PER_BLOCK;
static_assert(MINE == 2 && PERSISTENT_THREADS == MINE * CONV2_THREADS && PERSISTENT_THREADS == MINE * FLAT,
              "conv2 and the flat features take one round");
// Features of a linear layer that a warp works on side by side: so many loads are under way at once.
constexpr int TOGETHER = 8;
constexpr int PERSISTENT_WARPS = PERSISTENT_THREADS / LANES;
// Slices of conv1's map in which the gradient of its weights is summed, a group of threads each.
constexpr int CONV1_GROUP_ROWS = 3;
constexpr int CONV1_GROUPS = MINE * CONV1_SIDE / CONV1_GROUP_ROWS;
static_assert(CONV1_GROUPS * CONV1_CHANNELS * KERNEL <= PERSISTENT_THREADS, "a thread for each row of each kernel and group");

// A block's shared memory. Maps are [MINE][channels][side][side], features [MINE][features].
struct PersistentShared {
    alignas(16) float image[MINE * PIXELS];
    alignas(16) float y1[MINE * CONV1_OUT];    // the gradient d_y1 takes its place
    alignas(16) float pool1[MINE * POOL1_OUT]; // d_pool1 takes its place
    float y2[MINE * CONV2_OUT];
    // What lives within a phase.
    union {
        struct {
            alignas(16) float d_y[CONV2_CHANNELS * CONV2_SIDE * PADDED];
            alignas(16) float halves[2 * POOL1_OUT];
            float sums[2 * POOL1_OUT];
        } conv2;
        float conv1[CONV1_GROUPS * CONV1_LAYER];
        float parts[PERSISTENT_THREADS * MINE]; // [parts][MINE][features]
        struct {
            float weights[PERSISTENT_WARPS * VECTOR * LANES], biases[PERSISTENT_WARPS * VECTOR];
        } linear;
    } within;
    float flat[MINE * FLAT];
    float d_flat[FLAT * MINE]; // [FLAT][MINE]
    float x_hat3[MINE * LINEAR1], y3[MINE * LINEAR1], d3[MINE * LINEAR1];
    float x_hat4[MINE * LINEAR2], y4[MINE * LINEAR2], d4[MINE * LINEAR2];
    float logits[MINE * CLASSES], d_logits[MINE * CLASSES];
    float layer1[CONV1_LAYER], layer2[CONV2_LAYER];
    Channel channels1[CONV1_CHANNELS], channels2[CONV2_CHANNELS], channels3[LINEAR1], channels4[LINEAR2];
    ChannelGradient gradients1[CONV1_CHANNELS], gradients2[CONV2_CHANNELS], gradients3[LINEAR1], gradients4[LINEAR2];
    Loss losses[MINE];
    double totals[2 * MAX_WARPS];
};
static_assert(sizeof(PersistentShared) <= PERSISTENT_SHARED, "the host asks for this much");

// What blocks tell each other: where each tensor begins in the workspace, in floats an example.
enum Work : unsigned {
    // Slots of the forward pass, [channels][n].
    WORK_MEAN1 = 0,
    WORK_M2_1 = WORK_MEAN1 + CONV1_CHANNELS,
    WORK_MEAN2 = WORK_M2_1 + CONV1_CHANNELS,
    WORK_M2_2 = WORK_MEAN2 + CONV2_CHANNELS,
    // Values of the linear layers, [features][n].
    WORK_Z3 = WORK_M2_2 + CONV2_CHANNELS,
    WORK_Z4 = WORK_Z3 + LINEAR1,
    // Slots of the backward pass, sums of d_y and of d_y * x_hat: [channels][n], of linear layers [channels][blocks].
    WORK_D1 = WORK_Z4 + LINEAR2,
    WORK_D1_X_HAT = WORK_D1 + CONV1_CHANNELS,
    WORK_D2 = WORK_D1_X_HAT + CONV1_CHANNELS,
    WORK_D2_X_HAT = WORK_D2 + CONV2_CHANNELS,
    WORK_D3 = WORK_D2_X_HAT + CONV2_CHANNELS,
    WORK_D3_X_HAT = WORK_D3 + LINEAR1,
    WORK_D4 = WORK_D3_X_HAT + LINEAR1,
    WORK_D4_X_HAT = WORK_D4 + LINEAR2,
    // What the gradients of the linear layers are made of, [n][features].
    WORK_FLAT = WORK_D4_X_HAT + LINEAR2,
    WORK_Y3 = WORK_FLAT + FLAT,
    WORK_Y4 = WORK_Y3 + LINEAR1,
    WORK_D_LOGITS = WORK_Y4 + LINEAR2,
    WORK_D_Y4 = WORK_D_LOGITS + CLASSES,
    WORK_D_Y3 = WORK_D_Y4 + LINEAR2,
    // The gradients of the convolutions, [blocks][CONV_PARAMETERS].
    WORK_CONV_SLOTS = WORK_D_Y3 + LINEAR1,
};
// shapes.rs counts the same.
static_assert(WORKSPACE_PER_EXAMPLE == WORK_CONV_SLOTS, "the host allocates this much");

// What the optimiser does with a parameter whose gradient is known: the kernels of update.cu, a parameter at a time.
struct Descent {
    const float *step; // rate, decay and root
    const unsigned char *treatments;
    float *first, *second;
    bool is_adamw;

    __device__ void apply(float *parameters, unsigned at, float gradient) const {
        if (!is_adamw) {
            sgd(parameters + at, gradient, step);
        } else if (treatments[at] != TREATMENT_KEEP) {
            adamw(parameters + at, gradient, first + at, second + at, treatments[at], step);
        }
    }
};

// One run of the kernel, as a block sees it.
struct PersistentRun {
    const unsigned char *images, *labels;
    const unsigned *order; // of the step's batch
    float *parameters, *gradients, *batch_mean, *batch_var;
    const float *settings;
    PersistentShared *shared;
    float *workspace;
    Descent descent;
    double *totals, *loss_slots;
    unsigned n, first, mine; // this block's examples are [first, first + mine)

    __device__ float *work(Work tensor) const { return workspace + tensor * n; }
    __device__ void descend(unsigned at, float gradient) const { descent.apply(parameters, at, gradient); }
    __device__ float eps() const { return settings[SETTING_EPS]; }
};
