// What the persistent kernel keeps where: a block's examples in its shared memory, and in global memory what blocks tell each
// other. The kernel and its phases: persistent.cu.
#pragma once

#include "cluster.cuh"
#include "conv2d.cuh"
#include "cross_entropy.cuh"
#include "exchange.cuh"
#include "update.cuh"

constexpr int MINE = EXAMPLES_PER_BLOCK;
// The linear layers are worked on by teams of neighbouring blocks: all of a team's examples, but a share of the features each.
constexpr int TEAM = BLOCKS_PER_TEAM;
constexpr int TEAM_EXAMPLES = TEAM * MINE;
constexpr int PERSISTENT_WARPS = PERSISTENT_THREADS / LANES;
static_assert(MINE == 2 && PERSISTENT_THREADS == MINE * FLAT && PERSISTENT_WARPS == CONV2_CHANNELS,
              "pairs of examples; a thread for each flat feature, and a warp for each channel of conv2");
static_assert(TEAM_EXAMPLES == 16 && PERSISTENT_THREADS == TEAM_EXAMPLES * static_cast<int>(LANES), "half a warp holds a team");

// Neighbouring outputs of a convolution that a thread computes, and what they reach.
constexpr int RUN = 8;
constexpr int REACH = RUN + PAD;
// Distances in shared memory, chosen so that what neighbouring lanes read or write together lies in different banks: of kernels
// by output channel, their rows padded to whole vectors; of maps by channel; of a team's gradients by feature.
constexpr int KERNEL_ROW = 2 * VECTOR;
constexpr int KERNELS1_OF = KERNEL * KERNEL_ROW + VECTOR, KERNELS2_OF = CONV1_CHANNELS * KERNEL * KERNEL_ROW + VECTOR;
constexpr int Y1_OF = CONV1_MAP + VECTOR, POOL1_OF = POOL1_MAP + 3 * VECTOR, D_Y2_OF = CONV2_MAP + VECTOR;
constexpr int D_Y3_OF = TEAM_EXAMPLES + VECTOR;
constexpr int ROWS_OF = LANES + 1;
static_assert(KERNEL <= KERNEL_ROW && CONV1_SIDE % RUN == 0 && CONV2_SIDE == RUN && POOL1_SIDE == REACH && REACH % VECTOR == 0,
              "rows in whole vectors");
// Rows of kernels of an input plane and an output channel: a lane each on the way back.
constexpr int ROWS1 = CONV1_CHANNELS * KERNEL, ROWS2 = CONV2_CHANNELS * ROWS1;
static_assert(ROWS1 <= static_cast<int>(LANES) && ROWS2 + ROWS1 <= PERSISTENT_THREADS, "a thread a row of all kernels");
// Threads that sum conv2's weights for one example: two output channels and a row of a kernel each.
constexpr int CONV2_ROWS = ROWS2 / 2;
// Slices of conv1's map in which the gradient of its weights is summed, a group of threads each: two channels' rows of kernels
// a thread.
constexpr int CONV1_GROUP_ROWS = 2;
constexpr int CONV1_GROUPS = MINE * CONV1_SIDE / CONV1_GROUP_ROWS;
constexpr int CONV1_ROWS = ROWS1 / 2;
// The last warp gathers slots of BatchNorm 1 meanwhile.
constexpr int GATHERING_WARP = PERSISTENT_WARPS - 1;
static_assert(MINE * CONV2_ROWS <= GATHERING_WARP * LANES, "all warps but one");
static_assert(CONV1_GROUPS * CONV1_ROWS <= PERSISTENT_THREADS, "a thread each");
// Pairs of neighbouring squares of layer 1, a thread each; and what eight of them sum up.
constexpr int COUPLES_A_ROW = POOL1_SIDE / 2, COUPLES_A_MAP = POOL1_SIDE * COUPLES_A_ROW;
constexpr int COUPLES = MINE * CONV1_CHANNELS * COUPLES_A_MAP;
constexpr int EIGHT = 8, EIGHTS_A_MAP = COUPLES_A_MAP / EIGHT;
static_assert(2 * POOL == VECTOR && POOL1_SIDE % 2 == 0 && COUPLES_A_MAP % EIGHT == 0, "two squares are two vectors");
// Features of the largest tile of a linear layer's gradient that a block sums at a time.
constexpr int MOST_TILE_FEATURES = 12;
// Floats between the gradients of two examples' logits: whole vectors.
constexpr int D_LOGITS_ROW = (CLASSES + VECTOR - 1) / VECTOR * VECTOR;
// Parts in which a team sums the gradient of a linear layer's input, by outputs and by examples.
constexpr int PARTS = 8;
constexpr int HALVES = 2;
static_assert(PARTS * HALVES == PERSISTENT_WARPS && TEAM_EXAMPLES == HALVES * 2 * VECTOR, "a warp each");

// The exchange: where each array of pairs begins, see exchange.cuh; the barriers' counters first. Slots of BatchNorm are
// [channels][blocks] or, of the linear layers, [teams][channels]; a block's two examples are [blocks][features].
constexpr int BLOCKS = PERSISTENT_BLOCKS, TEAMS = BLOCKS / TEAM;
enum Exchange : unsigned {
    BLOCK_SLOTS1 = 2,
    BLOCK_SLOTS2 = BLOCK_SLOTS1 + CONV1_CHANNELS * BLOCKS,
    BLOCK_D_SLOTS1 = BLOCK_SLOTS2 + CONV2_CHANNELS * BLOCKS,
    BLOCK_D_SLOTS2 = BLOCK_D_SLOTS1 + CONV1_CHANNELS * BLOCKS,
    TEAM_SLOTS3 = BLOCK_D_SLOTS2 + CONV2_CHANNELS * BLOCKS,
    TEAM_SLOTS4 = TEAM_SLOTS3 + LINEAR1 * TEAMS,
    TEAM_D_SLOTS4 = TEAM_SLOTS4 + LINEAR2 * TEAMS,
    TEAM_D_SLOTS3 = TEAM_D_SLOTS4 + (LINEAR2 + 1) * TEAMS, // the team's loss and hits are one more channel
    PAIRS_FLAT = TEAM_D_SLOTS3 + LINEAR1 * TEAMS,
    PAIRS_Z3 = PAIRS_FLAT + FLAT * BLOCKS,
    PAIRS_Z4 = PAIRS_Z3 + LINEAR1 * BLOCKS,
    PAIRS_D_Z3 = PAIRS_Z4 + LINEAR2 * BLOCKS,
    PAIRS_D_FLAT = PAIRS_D_Z3 + LINEAR1 * BLOCKS,
    EXCHANGE_END = PAIRS_D_FLAT + FLAT * BLOCKS,
};
// What the gradients of the linear layers are made of, [n][features], and the gradients of the convolutions,
// [blocks][CONV_WEIGHTS]: in floats an example, behind a barrier.
enum Work : unsigned {
    WORK_FLAT = 0,
    WORK_Y3 = WORK_FLAT + FLAT,
    WORK_Y4 = WORK_Y3 + LINEAR1,
    WORK_D_LOGITS = WORK_Y4 + LINEAR2,
    WORK_D_Y4 = WORK_D_LOGITS + D_LOGITS_ROW,
    WORK_D_Y3 = WORK_D_Y4 + LINEAR2,
    WORK_CONV_SLOTS = WORK_D_Y3 + LINEAR1,
};
static_assert(FLAT % VECTOR == 0 && LINEAR1 % VECTOR == 0 && LINEAR2 % VECTOR == 0, "rows are read four values at a time");
// shapes.rs counts the same.
static_assert(WORKSPACE_PER_EXAMPLE == WORK_CONV_SLOTS && EXCHANGE_PAIRS == EXCHANGE_END, "the host allocates this much");

// What the optimiser does with a parameter whose gradient is known: the kernels of update.cu, a parameter at a time.
struct Descent {
    Global<const float> coefficients;
    float step[COEFFICIENT_COUNT]; // rate, decay and root: this step's
    Global<const unsigned char> treatments;
    Global<float> first, second;
    bool is_adamw;

    // `before` is the parameter as it is, which the caller has asked for early.
    __device__ void apply(float *parameters, unsigned at, float before, float gradient) const {
        if (!is_adamw) {
            parameters[at] = sgd(before, gradient, step);
        } else if (treatments[at] != TREATMENT_KEEP) {
            parameters[at] = adamw(before, gradient, first + at, second + at, treatments[at], step);
        }
    }
};

// Some features.
struct Share {
    unsigned first, end;
};

// A block's place in its team, and its share of each layer's features. The last team may be smaller, the last example of the
// last block may be missing.
struct Team {
    unsigned index, count; // of all teams
    unsigned first_block, member, members;
    unsigned examples; // of this team
    Share flat, linear1, linear2;

    __device__ Share share(unsigned features) const { return {features * member / members, features * (member + 1) / members}; }
};

__device__ inline Team team_of(unsigned block, unsigned blocks, unsigned n) {
    const unsigned index = block / TEAM, first_block = index * TEAM;
    Team team = {};
    team.index = index;
    team.count = (blocks + TEAM - 1) / TEAM;
    team.first_block = first_block;
    team.member = block - first_block;
    team.members = min(TEAM, blocks - first_block);
    team.examples = min(TEAM_EXAMPLES, n - first_block * MINE);
    team.flat = team.share(FLAT);
    team.linear1 = team.share(LINEAR1);
    team.linear2 = team.share(LINEAR2);
    return team;
}

// One run of the kernel, as a block sees it. It lies in shared memory, and not in every thread's registers.
struct PersistentRun {
    Global<const unsigned char> images, labels;
    Global<const unsigned> order; // of the step's batch
    Global<const float> teacher;  // likewise, [n][CLASSES]
    Global<float> parameters, gradients, batch_mean, batch_var;
    Global<const float> settings;
    float eps, smoothing, teacher_weight, temperature; // of them
    Global<float> workspace;
    Global<float2> exchange;
    Descent descent;
    Global<double> totals;
    unsigned n, first, mine; // this block's examples are [first, first + mine)
    float share;             // of an example in the batch, 1 / n
    Team team;
    unsigned tag;   // of the step
    unsigned steps; // that are left, this one among them

    __device__ float *work(Work tensor) const { return workspace + tensor * n; }
    __device__ float2 *at(Exchange array) const { return exchange + array; }
    // This block's slot of a channel, and its team's slots.
    __device__ float2 *slot(Exchange array, unsigned c) const { return exchange + array + c * BLOCKS + blockIdx.x; }
    __device__ float2 *team_slots(Exchange array, unsigned channels) const { return exchange + array + team.index * channels; }
    __device__ void descend(unsigned at, float before, float gradient) const {
        descent.apply(parameters, at, before, gradient);
    }
    // Whether example `e` of the team is one of this block's; which one of its own then.
    __device__ bool is_mine(unsigned e) const { return e / MINE == team.member && e % MINE < mine; }
    __device__ unsigned example(unsigned e) const { return team.first_block * MINE + e; }
};

// The second hidden layer, of all of a team's examples.
struct Hidden4 {
    float x_hat[TEAM_EXAMPLES * LINEAR2];
    float y[TEAM_EXAMPLES * LINEAR2]; // a gradient takes its place, [LINEAR2][TEAM_EXAMPLES]
};

// The way back through the convolutions.
struct Backward {
    // [CONV2_CHANNELS][KERNEL][LANES]: column by column, a row of a kernel a lane.
    alignas(16) float columns2[CONV2_CHANNELS * KERNEL * LANES], d_y2[MINE * CONV2_CHANNELS * D_Y2_OF];
    union {
        float rows[PERSISTENT_WARPS * REACH * ROWS_OF];
        float second[CONV2_ROWS * 2 * KERNEL];
    };
    float2 eights[COUPLES / EIGHT];
};

// Sums over a warp's share of the examples or slots.
struct DescentSums {
    float weights[PERSISTENT_WARPS * MOST_TILE_FEATURES * LANES], biases[PERSISTENT_WARPS * MOST_TILE_FEATURES];
};

// A block's shared memory. Maps are [MINE][channels][side][side], those of y1 and pool1 Y1_OF and
// POOL1_OF apart.
struct PersistentShared {
    alignas(16) float image[MINE * PIXELS];
    alignas(16) float y1[MINE * CONV1_CHANNELS * Y1_OF]; // the gradient d_y1 takes its place
    alignas(16) float pool1[MINE * CONV1_CHANNELS * POOL1_OF];
    alignas(16) float y2[MINE * CONV2_OUT]; // the gradient d_pool1 takes its place, maps POOL1_MAP apart
    // What lives within some phases.
    union {
        struct {
            alignas(16) float kernels1[CONV1_CHANNELS * KERNELS1_OF], kernels2[CONV2_CHANNELS * KERNELS2_OF];
        } forward;
        // Of all of the team's examples, [TEAM_EXAMPLES][features].
        struct {
            union {
                alignas(16) float flat[TEAM_EXAMPLES * FLAT];
                float parts[PERSISTENT_WARPS * RUN * LANES]; // [PARTS][TEAM_EXAMPLES][LANES]
            };
            alignas(16) float x_hat3[TEAM_EXAMPLES * LINEAR1];
            float y3[TEAM_EXAMPLES * LINEAR1]; // a gradient takes its place
            union {
                Hidden4 layer4;
                float d_y3[LINEAR1 * D_Y3_OF]; // [LINEAR1][TEAM_EXAMPLES]
            };
            float logits[TEAM_EXAMPLES * CLASSES]; // their gradient takes their place
            Channel channels3[LINEAR1], channels4[LINEAR2];
            ChannelGradient gradients3[LINEAR1], gradients4[LINEAR2 + 1];
        } linear;
        // From the way back through the convolutions to the step's end.
        struct {
            union {
                Backward backward;
                float conv1[CONV1_GROUPS * CONV1_WEIGHTS];
                DescentSums descent;
            };
            alignas(16) unsigned char pixels[MINE * PIXELS]; // of the next step's samples
        } end;
    } within;
    Channel channels1[CONV1_CHANNELS], channels2[CONV2_CHANNELS];
    ChannelGradient gradients1[CONV1_CHANNELS], gradients2[CONV2_CHANNELS];
    float gamma[BN_CHANNELS], beta[BN_CHANNELS]; // of all BatchNorms
    float2 loss;            // and hits, of the batch
    unsigned samples[MINE]; // this block's, of the next step
    PersistentRun run;
    // Opens once all blocks have read the linear layers' weights; and at the end of a step's last two phases.
    GridBarrier linear, all;
};
static_assert(MINE * POOL1_OUT <= MINE * CONV2_OUT, "d_pool1 fits in y2's place");
static_assert(sizeof(PersistentShared) <= PERSISTENT_SHARED, "the host asks for this much");

__device__ inline PersistentShared &persistent_shared() { return dynamic_shared<PersistentShared>(); }

// Where teams are clusters, blocks have more shared memory too: pairs of examples, which the team's blocks write.
struct ClusterShared {
    PersistentShared persistent;
    float2 flat[TEAM * FLAT], d_flat[FLAT]; // [TEAM][FLAT] of all blocks, and of this one
};
static_assert(sizeof(ClusterShared) <= CLUSTER_SHARED, "the host asks for this much");

__device__ inline ClusterShared &cluster_shared() { return dynamic_shared<ClusterShared>(); }

// Where this block finds its team's flat features, and the gradient of its own ones.
template <bool CLUSTERS>
struct Pairs {
    using Memory = DeviceMemory;
    __device__ static const float2 *flat() {
        const PersistentRun &run = persistent_shared().run;
        return run.at(PAIRS_FLAT) + run.team.first_block * FLAT;
    }
    __device__ static const float2 *d_flat() { return persistent_shared().run.at(PAIRS_D_FLAT) + blockIdx.x * FLAT; }
};
template <>
struct Pairs<true> {
    using Memory = SharedMemory;
    __device__ static const float2 *flat() { return cluster_shared().flat; }
    __device__ static const float2 *d_flat() { return cluster_shared().d_flat; }
};
