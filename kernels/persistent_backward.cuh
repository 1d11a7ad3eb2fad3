// The backward pass of the persistent kernel through the convolutions, from the gradient of the flat features to the slots of
// the convolutions' gradients. Its phases and their order: persistent.cu.
#pragma once

#include "persistent_forward.cuh"

// Where a value of d_y2 lies in its map: the lower rows' two vectors are swapped, so that rows four apart are in different
// banks.
__device__ inline unsigned in_d_y2(unsigned row, unsigned column) { return row * CONV2_SIDE + (column ^ (row & VECTOR)); }
static_assert(CONV2_SIDE == 2 * VECTOR, "two vectors a row, and as many rows as columns");

__device__ inline void load_d_y2(float (&row)[RUN], const float *map, unsigned at) {
    const float4 first = load4(map + in_d_y2(at, 0)), second = load4(map + in_d_y2(at, VECTOR));
    row[0] = first.x;
    row[1] = first.y;
    row[2] = first.z;
    row[3] = first.w;
    row[4] = second.x;
    row[5] = second.y;
    row[6] = second.z;
    row[7] = second.w;
}

// This block's slots of BN 2 backward, a feature of one example a thread as in persistent_flat; then d_y2
// [MINE][channels][side][side], channels D_Y2_OF apart; 0 where an example is missing.
template <bool CLUSTERS>
__device__ __noinline__ void persistent_d_y2() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    const unsigned e = threadIdx.x % MINE, feature = threadIdx.x / MINE, o = feature / POOL2_MAP;
    Await<1, 0, typename Pairs<CLUSTERS>::Memory> await;
    await.begin(Pairs<CLUSTERS>::d_flat() + feature, run.tag, [](int) { return true; });
    if (threadIdx.x < ROWS2) {
        for (int j = 0; j < KERNEL; j++) {
            s.within.end.backward.columns2[(threadIdx.x / ROWS1 * KERNEL + j) * LANES + threadIdx.x % ROWS1] =
                run.parameters[AT_CONV2_WEIGHT + threadIdx.x * KERNEL + j];
        }
    }
    const Channel channel = s.channels2[o];
    const float *x = s.y2 + e * CONV2_OUT + square_of(feature);
    await.finish();
    const float d = e < run.mine ? (e == 0 ? await.pairs[0].x : await.pairs[0].y) : 0.0f;
    float x_hat[POOL * POOL], d_z[POOL * POOL], sum = 0.0f, along = 0.0f;
#pragma unroll
    for (int k = 0; k < POOL * POOL; k++) {
        x_hat[k] = channel.x_hat(x[k / POOL * CONV2_SIDE + k % POOL]);
        d_z[k] = avg_pool2d_backward(d, x_hat[k], channel);
        sum += d_z[k];
        along += d_z[k] * x_hat[k];
    }
    static_assert(MINE * POOL2_MAP == LANES, "a channel is a warp");
    sum = warp_sum(sum);
    along = warp_sum(along);
    if (lane() == 0) {
        publish(run.slot(BLOCK_D_SLOTS2, o), sum, along, run.tag);
    }
    const float share = run.share * (1.0f / CONV2_MAP);
    const float2 sums = gather_blocks(BLOCK_D_SLOTS2, o);
    if (lane() == 0) {
        s.gradients2[o] = persistent_gradient(sums, o, CONV2_CHANNELS, share, AT_BN2_GAMMA);
    }
    __syncthreads();
    float *d_y = s.within.end.backward.d_y2 + (e * CONV2_CHANNELS + o) * D_Y2_OF;
    const unsigned row = feature % POOL2_MAP / POOL2_SIDE * POOL, column = feature % POOL2_SIDE * POOL;
#pragma unroll
    for (int k = 0; k < POOL * POOL; k++) {
        const float d_x = s.gradients2[o].d_x(channel, d_z[k], x_hat[k]);
        d_y[in_d_y2(row + k / POOL, column + k % POOL)] = e < run.mine ? d_x : 0.0f;
    }
    __syncthreads();
}

// d_pool1, in y2's place. A warp takes the rows of an example that need as many rows of kernels together: row `r`, which gets
// kernel row a from row r - a of d_y2, and row r + 8, which gets the others. A lane takes one row of the kernels of one plane,
// from all output channels; then the lanes of a plane are summed.
__device__ __noinline__ void persistent_d_pool1() {
    PersistentShared &s = persistent_shared();
    static_assert(MINE * CONV2_SIDE == PERSISTENT_WARPS, "a warp for each row of d_y2");
    const unsigned row = warp() % CONV2_SIDE, e = warp() / CONV2_SIDE, a = lane() % KERNEL;
    // Below the first row the last one follows: there lies what row r + 8 gets.
    const unsigned from = (row - a) % CONV2_SIDE;
    const float *d_y = s.within.end.backward.d_y2 + e * CONV2_CHANNELS * D_Y2_OF;
    const float *columns = s.within.end.backward.columns2 + min(lane(), ROWS1 - 1u);
    float sums[REACH] = {};
#pragma unroll 2
    for (int o = 0; o < CONV2_CHANNELS; o++) {
        float d[RUN];
        load_d_y2(d, d_y + o * D_Y2_OF, from);
        for (int j = 0; j < KERNEL; j++) {
            const float w = columns[(o * KERNEL + j) * LANES];
            for (int k = 0; k < RUN; k++) {
                sums[k + j] += d[k] * w;
            }
        }
    }
    float *const rows = s.within.end.backward.rows + warp() * REACH * ROWS_OF;
    for (int k = 0; k < REACH; k++) {
        rows[k * ROWS_OF + lane()] = sums[k];
    }
    __syncwarp();
    for (unsigned i = lane(); i < CONV1_CHANNELS * POOL1_SIDE; i += LANES) {
        const unsigned plane = i / POOL1_SIDE, column = i % POOL1_SIDE;
        float sum = 0.0f, below = 0.0f;
        for (unsigned k = 0; k < KERNEL; k++) {
            const float part = rows[column * ROWS_OF + plane * KERNEL + k];
            sum += k <= row ? part : 0.0f;
            below += k <= row ? 0.0f : part;
        }
        float *const d_pool = s.y2 + (e * CONV1_CHANNELS + plane) * POOL1_MAP + row * POOL1_SIDE + column;
        *d_pool = sum;
        if (row + CONV2_SIDE < POOL1_SIDE) {
            d_pool[CONV2_SIDE * POOL1_SIDE] = below;
        }
    }
    __syncthreads();
}

// This block's slots of BN 1 backward, from the squares of layer 1.
__device__ __noinline__ void persistent_d_slots1() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    static_assert(COUPLES % LANES == 0, "whole warps");
#pragma unroll 1
    for (unsigned i = threadIdx.x; i < COUPLES; i += blockDim.x) {
        const Couple couple = couple_of(i);
        const Channel channel = s.channels1[couple.map % CONV1_CHANNELS];
        const float4 upper = load4(s.y1 + couple.in_y1), lower = load4(s.y1 + couple.in_y1 + CONV1_SIDE);
        const float2 d = *reinterpret_cast<const float2 *>(s.y2 + couple.in_d_pool1);
        float sum = 0.0f, along = 0.0f;
        const auto add = [&](float d_pool, float x) {
            const float x_hat = channel.x_hat(x), d_z = avg_pool2d_backward(d_pool, x_hat, channel);
            sum += d_z;
            along += d_z * x_hat;
        };
        add(d.x, upper.x);
        add(d.x, upper.y);
        add(d.x, lower.x);
        add(d.x, lower.y);
        add(d.y, upper.z);
        add(d.y, upper.w);
        add(d.y, lower.z);
        add(d.y, lower.w);
        sum = warp_sum<EIGHT>(sum);
        along = warp_sum<EIGHT>(along);
        if (lane() % EIGHT == 0) {
            s.within.end.backward.eights[i / EIGHT] = make_float2(sum, along);
        }
    }
    __syncthreads();
    if (threadIdx.x < CONV1_CHANNELS) {
        const unsigned c = threadIdx.x;
        float sum = 0.0f, along = 0.0f;
#pragma unroll
        for (unsigned k = 0; k < MINE * EIGHTS_A_MAP; k++) {
            const float2 eight =
                s.within.end.backward.eights[(k / EIGHTS_A_MAP * CONV1_CHANNELS + c) * EIGHTS_A_MAP + k % EIGHTS_A_MAP];
            sum += eight.x;
            along += eight.y;
        }
        publish(run.slot(BLOCK_D_SLOTS1, c), sum, along, run.tag);
    }
}

// BN 1 backward, by one warp: all channels' slots are under way at once.
__device__ inline void persistent_gather_d1() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    const float share = run.share * (1.0f / CONV1_MAP);
    Await<BLOCKS / LANES, LANES> channels[CONV1_CHANNELS];
#pragma unroll
    for (unsigned c = 0; c < CONV1_CHANNELS; c++) {
        channels[c].begin(run.at(BLOCK_D_SLOTS1) + c * BLOCKS + lane(), run.tag, is_block);
    }
#pragma unroll
    for (unsigned c = 0; c < CONV1_CHANNELS; c++) {
        const float2 sums = sum_of_blocks(channels[c]);
        if (lane() == 0) {
            s.gradients1[c] = persistent_gradient(sums, c, CONV1_CHANNELS, share, AT_BN1_GAMMA);
        }
    }
}

// The gradient of conv2's weights, into this block's slot: an example and two output channels' rows of kernels a thread. The
// last warp gathers what conv1's gradient waits for.
__device__ __noinline__ void persistent_d_conv2() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    float *slot = run.work(WORK_CONV_SLOTS) + blockIdx.x * CONV_WEIGHTS + CONV1_WEIGHTS;
    const unsigned e = threadIdx.x / CONV2_ROWS, row_of = threadIdx.x % CONV2_ROWS, a = row_of % KERNEL;
    const unsigned plane = row_of / KERNEL % CONV1_CHANNELS, o = row_of / ROWS1 * 2;
    float sums[2][KERNEL] = {};
    if (e < MINE) {
        const float *d_y = s.within.end.backward.d_y2 + (e * CONV2_CHANNELS + o) * D_Y2_OF;
        const float *x = s.pool1 + (e * CONV1_CHANNELS + plane) * POOL1_OF + a * POOL1_SIDE;
#pragma unroll 2
        for (int row = 0; row < CONV2_SIDE; row++) {
            float inputs[REACH];
            load_row(inputs, x + row * POOL1_SIDE);
            for (int k = 0; k < 2; k++) {
                float d[RUN];
                load_d_y2(d, d_y + k * D_Y2_OF, row);
                for (int column = 0; column < RUN; column++) {
                    for (int j = 0; j < KERNEL; j++) {
                        sums[k][j] += d[column] * inputs[column + j];
                    }
                }
            }
        }
    } else if (warp() == GATHERING_WARP) {
        persistent_gather_d1();
    }
    for (int i = 0; i < 2 * KERNEL && e == 1; i++) {
        s.within.end.backward.second[i * CONV2_ROWS + row_of] = sums[i / KERNEL][i % KERNEL];
    }
    __syncthreads();
    for (int i = 0; i < 2 * KERNEL && e == 0; i++) {
        const unsigned channel = o + i / KERNEL;
        slot[((channel * CONV1_CHANNELS + plane) * KERNEL + a) * KERNEL + i % KERNEL] =
            sums[i / KERNEL][i % KERNEL] + s.within.end.backward.second[i * CONV2_ROWS + row_of];
    }
}

// The gradient of conv1's weights, into this block's slot.
__device__ __noinline__ void persistent_d_conv1() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
#pragma unroll 1
    for (unsigned i = threadIdx.x; i < COUPLES; i += blockDim.x) {
        const Couple couple = couple_of(i);
        const unsigned c = couple.map % CONV1_CHANNELS;
        const Channel channel = s.channels1[c];
        const ChannelGradient gradient = s.gradients1[c];
        const float2 d = *reinterpret_cast<const float2 *>(s.y2 + couple.in_d_pool1);
        const bool counts = couple.map / CONV1_CHANNELS < run.mine;
        const auto d_x = [&](float d_pool, float x) {
            const float x_hat = channel.x_hat(x);
            return counts ? gradient.d_x(channel, avg_pool2d_backward(d_pool, x_hat, channel), x_hat) : 0.0f;
        };
        for (int row = 0; row < POOL; row++) {
            float4 &four = *reinterpret_cast<float4 *>(s.y1 + couple.in_y1 + row * CONV1_SIDE);
            four = make_float4(d_x(d.x, four.x), d_x(d.x, four.y), d_x(d.y, four.z), d_x(d.y, four.w));
        }
    }
    __syncthreads();
    const unsigned group = threadIdx.x / CONV1_ROWS, c = threadIdx.x % CONV1_ROWS / KERNEL * 2, a = threadIdx.x % KERNEL;
    constexpr unsigned GROUPS_EACH = CONV1_GROUPS / MINE;
    if (group < CONV1_GROUPS) {
        const unsigned e = group / GROUPS_EACH, first_row = group % GROUPS_EACH * CONV1_GROUP_ROWS;
        float sums[2][KERNEL] = {};
#pragma unroll 1
        for (unsigned row = first_row; row < first_row + CONV1_GROUP_ROWS; row++) {
            const float *d_y = s.y1 + (e * CONV1_CHANNELS + c) * Y1_OF + row * CONV1_SIDE;
            const float *x = s.image + e * PIXELS + (row + a) * IMAGE_SIDE;
#pragma unroll
            for (int column = 0; column < CONV1_SIDE; column += RUN) {
                float inputs[REACH];
                load_row(inputs, x + column);
                for (int k = 0; k < 2; k++) {
                    float d[RUN];
                    load_row(d, d_y + k * Y1_OF + column);
                    for (int i = 0; i < RUN; i++) {
                        for (int j = 0; j < KERNEL; j++) {
                            sums[k][j] += d[i] * inputs[i + j];
                        }
                    }
                }
            }
        }
        for (int i = 0; i < 2 * KERNEL; i++) {
            s.within.end.conv1[group * CONV1_WEIGHTS + ((c + i / KERNEL) * KERNEL + a) * KERNEL + i % KERNEL] =
                sums[i / KERNEL][i % KERNEL];
        }
    }
    __syncthreads();
    static_assert(CONV1_WEIGHTS <= PERSISTENT_THREADS, "a thread each");
    if (threadIdx.x < CONV1_WEIGHTS) {
        const unsigned i = threadIdx.x;
        float sum = s.within.end.conv1[i];
#pragma unroll
        for (unsigned g = 1; g < CONV1_GROUPS; g++) {
            sum += s.within.end.conv1[g * CONV1_WEIGHTS + i];
        }
        run.work(WORK_CONV_SLOTS)[blockIdx.x * CONV_WEIGHTS + i] = sum;
    }
}
