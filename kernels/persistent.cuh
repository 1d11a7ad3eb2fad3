// What the persistent kernel keeps where: a block's examples in its shared memory, and in global memory what blocks tell each
// other. The kernel and its phases: persistent.cu.
#pragma once

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
// A row of a kernel in shared memory, padded to whole vectors; kernels of conv2's output channels lie so far apart that four of
// them are read from different banks, and so do the channels of d_y2.
constexpr int KERNEL_ROW = 2 * VECTOR;
constexpr int KERNELS1 = CONV1_CHANNELS * KERNEL * KERNEL_ROW;
constexpr int KERNELS2_OF = CONV1_CHANNELS * KERNEL * KERNEL_ROW + VECTOR;
constexpr int KERNELS2 = CONV2_CHANNELS * KERNELS2_OF;
constexpr int D_Y2_OF = CONV2_MAP + VECTOR;
static_assert(KERNEL <= KERNEL_ROW && CONV1_SIDE % RUN == 0 && CONV2_SIDE == RUN && POOL1_SIDE == REACH && REACH % VECTOR == 0,
              "rows in whole vectors");
// Threads that sum conv2's weights for one example: two output channels and a row of a kernel each.
constexpr int CONV2_ROWS = CONV2_CHANNELS / 2 * CONV1_CHANNELS * KERNEL;
// Slices of conv1's map in which the gradient of its weights is summed, a group of threads each.
constexpr int CONV1_GROUP_ROWS = 3;
constexpr int CONV1_GROUPS = MINE * CONV1_SIDE / CONV1_GROUP_ROWS;
constexpr int CONV1_ROWS = CONV1_CHANNELS * KERNEL;
// The last warp sums the biases meanwhile.
constexpr int BIAS_WARP = PERSISTENT_WARPS - 1;
static_assert(MINE * CONV2_ROWS <= BIAS_WARP * LANES && CONV1_GROUPS * CONV1_ROWS <= BIAS_WARP * LANES, "all warps but one");
// Squares of layer 1 that a warp sums at a time.
constexpr int SQUARES = MINE * POOL1_OUT / LANES;
// Features of the largest tile of a linear layer's gradient that a block sums at a time.
constexpr int MOST_TILE_FEATURES = 12;
// Floats between the gradients of two examples' logits: whole vectors.
constexpr int D_LOGITS_ROW = (CLASSES + VECTOR - 1) / VECTOR * VECTOR;
// Parts in which a team sums the gradient of a linear layer's input, by outputs and by examples.
constexpr int PARTS = 8;
constexpr int HALVES = 2;
static_assert(PARTS * HALVES == PERSISTENT_WARPS && TEAM_EXAMPLES == HALVES * 2 * VECTOR, "a warp each");

// The exchange: where each array of pairs begins, see exchange.cuh. The first word holds the barriers' counters.
// In pairs a block: slots of BatchNorm [channels][blocks], and a block's two examples [blocks][features].
enum OfBlock : unsigned {
    BLOCK_SLOTS1 = 0,
    BLOCK_SLOTS2 = BLOCK_SLOTS1 + CONV1_CHANNELS,
    BLOCK_D_SLOTS1 = BLOCK_SLOTS2 + CONV2_CHANNELS,
    BLOCK_D_SLOTS2 = BLOCK_D_SLOTS1 + CONV1_CHANNELS,
    BLOCK_FLAT = BLOCK_D_SLOTS2 + CONV2_CHANNELS,
    BLOCK_Z3 = BLOCK_FLAT + FLAT,
    BLOCK_Z4 = BLOCK_Z3 + LINEAR1,
    BLOCK_D_Z3 = BLOCK_Z4 + LINEAR2,
    BLOCK_D_FLAT = BLOCK_D_Z3 + LINEAR1,
    BLOCK_END = BLOCK_D_FLAT + FLAT,
};
// In pairs a team: slots of BatchNorm [channels][teams]; behind those of d_z4 the team's loss and hits.
enum OfTeam : unsigned {
    TEAM_SLOTS3 = 0,
    TEAM_SLOTS4 = TEAM_SLOTS3 + LINEAR1,
    TEAM_D_SLOTS4 = TEAM_SLOTS4 + LINEAR2,
    TEAM_LOSS = TEAM_D_SLOTS4 + LINEAR2,
    TEAM_D_SLOTS3 = TEAM_LOSS + 1,
    TEAM_END = TEAM_D_SLOTS3 + LINEAR1,
};
// What the gradients of the linear layers are made of, [n][features], and the gradients of the convolutions,
// [blocks][CONV_PARAMETERS]: in floats an example, behind a barrier.
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
static_assert(WORKSPACE_PER_EXAMPLE == WORK_CONV_SLOTS && EXCHANGE_PER_BLOCK == BLOCK_END && EXCHANGE_PER_TEAM == TEAM_END,
              "the host allocates this much");

// What the optimiser does with a parameter whose gradient is known: the kernels of update.cu, a parameter at a time.
struct Descent {
    Global<const float> step; // rate, decay and root
    Global<const unsigned char> treatments;
    Global<float> first, second;
    bool is_adamw;

    __device__ void apply(float *parameters, unsigned at, float gradient) const {
        if (!is_adamw) {
            sgd(parameters + at, gradient, step);
        } else if (treatments[at] != TREATMENT_KEEP) {
            adamw(parameters + at, gradient, first + at, second + at, treatments[at], step);
        }
    }
};

// A block's place in its team. The last team may be smaller, the last example of the last block may be missing.
struct Team {
    unsigned index, count; // of all teams
    unsigned first_block, member, members;
    unsigned examples; // of this team

    // This member's share of some features.
    __device__ unsigned share(unsigned features) const { return features * member / members; }
    __device__ unsigned share_end(unsigned features) const { return features * (member + 1) / members; }
};

__device__ inline Team team_of(unsigned block, unsigned blocks, unsigned n) {
    const unsigned index = block / TEAM, first_block = index * TEAM;
    return {index, (blocks + TEAM - 1) / TEAM, first_block, block - first_block, min(TEAM, blocks - first_block),
            min(TEAM_EXAMPLES, n - first_block * MINE)};
}

// One run of the kernel, as a block sees it. It lies in shared memory, and not in every thread's registers.
struct PersistentRun {
    Global<const unsigned char> images, labels;
    Global<const unsigned> order; // of the step's batch
    Global<float> parameters, gradients, batch_mean, batch_var;
    Global<const float> settings;
    Global<float> workspace;
    Global<float2> exchange;
    Descent descent;
    Global<double> totals;
    unsigned n, first, mine; // this block's examples are [first, first + mine)
    Team team;
    unsigned tag;   // of the step
    unsigned steps; // that are left, this one among them

    __device__ float *work(Work tensor) const { return workspace + tensor * n; }
    __device__ float2 *of_block(OfBlock array) const { return exchange + 1 + array * gridDim.x; }
    __device__ float2 *of_team(OfTeam array) const {
        return exchange + 1 + EXCHANGE_PER_BLOCK * gridDim.x + array * team.count;
    }
    __device__ void descend(unsigned at, float gradient) const { descent.apply(parameters, at, gradient); }
    __device__ float eps() const { return settings[SETTING_EPS]; }
    // Whether example `e` of the team is one of this block's; which one of its own then.
    __device__ bool is_mine(unsigned e) const { return e / MINE == team.member && e % MINE < mine; }
    __device__ unsigned example(unsigned e) const { return team.first_block * MINE + e; }
};

struct Hidden4 {
    float x_hat[TEAM_EXAMPLES * LINEAR2];
    float y[TEAM_EXAMPLES * LINEAR2]; // a gradient takes its place, [LINEAR2][TEAM_EXAMPLES]
};

// A block's shared memory. Maps are [MINE][channels][side][side].
struct PersistentShared {
    alignas(16) float image[MINE * PIXELS];
    alignas(16) float y1[MINE * CONV1_OUT]; // the gradient d_y1 takes its place
    alignas(16) float pool1[MINE * POOL1_OUT];
    alignas(16) float y2[MINE * CONV2_OUT];
    // What lives within some phases.
    union {
        struct {
            alignas(16) float kernels1[KERNELS1], kernels2[KERNELS2];
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
                float d_y3[LINEAR1 * TEAM_EXAMPLES]; // [LINEAR1][TEAM_EXAMPLES]
            };
            float logits[TEAM_EXAMPLES * CLASSES], d_logits[TEAM_EXAMPLES * CLASSES];
            Channel channels3[LINEAR1], channels4[LINEAR2];
            ChannelGradient gradients3[LINEAR1], gradients4[LINEAR2 + 1];
        } linear;
        struct {
            alignas(16) float kernels2[KERNELS2], d_y2[MINE * CONV2_CHANNELS * D_Y2_OF], d_pool1[MINE * POOL1_OUT];
            float second[CONV2_ROWS * 2 * KERNEL];
            float squares[SQUARES * 2];
        } backward;
        float conv1[CONV1_GROUPS * CONV1_LAYER];
        struct {
            float weights[PERSISTENT_WARPS * MOST_TILE_FEATURES * LANES], biases[PERSISTENT_WARPS * MOST_TILE_FEATURES];
        } descent;
    } within;
    Channel channels1[CONV1_CHANNELS], channels2[CONV2_CHANNELS];
    ChannelGradient gradients1[CONV1_CHANNELS], gradients2[CONV2_CHANNELS];
    float2 maps1[MINE * CONV1_CHANNELS]; // their means, and the sums of squared distances
    float2 loss;                         // and hits, of the batch
    PersistentRun run;
    // Opens once all blocks have read the linear layers' weights; and at the end of a step's last two phases.
    GridBarrier linear, all;
};
static_assert(sizeof(PersistentShared) <= PERSISTENT_SHARED, "the host asks for this much");

__device__ inline PersistentShared &persistent_shared() { return dynamic_shared<PersistentShared>(); }

// BatchNorm forward from slots of (mean, sum of squared distances from it): `examples` of `map` values each, the last slot maybe
// fewer. The channels' first means stand for zero, so that nothing cancels. The caller synchronises.
template <int SEGMENT, int ROUNDS, int DEPTH>
__device__ inline void persistent_merge(const PersistentRun &run, Channel *shared, const float2 *slots, unsigned channels,
                                        unsigned count, unsigned examples, unsigned map, unsigned layer, unsigned first_channel) {
    float2 firsts[ROUNDS], sums[ROUNDS];
    gather<SEGMENT, ROUNDS, DEPTH>(firsts, sums, slots, channels, count, run.tag, [&](float2 pair, float2 head, unsigned slot) {
        const float values = min(examples, run.n - slot * examples) * map, distance = pair.x - head.x;
        return make_float2(values * distance, pair.y + values * (distance * distance));
    });
#pragma unroll
    for (int round = 0; round < ROUNDS; round++) {
        const unsigned c = gather_channel<SEGMENT>(round);
        if (lane() % SEGMENT == 0 && c < channels) {
            const float values = static_cast<float>(run.n) * map, distance = sums[round].x / values;
            const float mean = firsts[round].x + distance, var = (sums[round].y - sums[round].x * distance) / values;
            shared[c] = batch_norm_channel(run.parameters, layer, channels, c, mean, var, run.eps());
            if (blockIdx.x == 0) {
                run.batch_mean[first_channel + c] = mean;
                run.batch_var[first_channel + c] = var;
            }
        }
    }
}

// BatchNorm backward from slots of (sum d_y, sum d_y * x_hat). EXTRA rows of slots behind them are summed, no more. The caller
// synchronises.
template <int SEGMENT, int ROUNDS, int DEPTH, unsigned EXTRA = 0>
__device__ inline void persistent_merge_backward(const PersistentRun &run, ChannelGradient *shared, const float2 *slots,
                                                 unsigned channels, unsigned count, unsigned map, unsigned layer) {
    float2 firsts[ROUNDS], sums[ROUNDS];
    gather<SEGMENT, ROUNDS, DEPTH>(firsts, sums, slots, channels + EXTRA, count, run.tag,
                                   [](float2 pair, float2, unsigned) { return pair; });
#pragma unroll
    for (int round = 0; round < ROUNDS; round++) {
        const unsigned c = gather_channel<SEGMENT>(round);
        if (lane() % SEGMENT == 0 && c < channels) {
            const float values = static_cast<float>(run.n) * map;
            shared[c] = {sums[round].x / values, sums[round].y / values};
            if (blockIdx.x == 0) {
                run.gradients[layer + c] = sums[round].y;
                run.gradients[layer + channels + c] = sums[round].x;
            }
        } else if (lane() % SEGMENT == 0 && c < channels + EXTRA) {
            shared[c] = {sums[round].x, sums[round].y};
        }
    }
}
