// The backward pass of the persistent kernel through the convolutions, from the gradient of the flat features to the slots of the
// convolutions' gradients. Its phases and their order: persistent.cu.
#pragma once

#include "persistent_forward.cuh"

// This block's slots of BN 2 backward, a feature of one example a thread as in persistent_flat; then d_y2
// [MINE][channels][side][side], channels D_Y2_OF apart; 0 where an example is missing.
__device__ __noinline__ void persistent_d_y2() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    const unsigned e = threadIdx.x % MINE, feature = threadIdx.x / MINE, o = feature / POOL2_MAP;
    Await<1> await;
    await.from = run.of_block(BLOCK_D_FLAT) + blockIdx.x * FLAT;
    await.at[0] = feature;
    await.begin();
    load_kernels(s.within.backward.kernels2, run.parameters + AT_CONV2_WEIGHT, CONV2_WEIGHTS, CONV1_CHANNELS * KERNEL, KERNELS2_OF);
    const Channel channel = s.channels2[o];
    const float *x = s.y2 + e * CONV2_OUT + square_of(feature);
    await.finish(run.tag);
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
        publish(run.of_block(BLOCK_D_SLOTS2) + o * gridDim.x + blockIdx.x, sum, along, run.tag);
    }
    persistent_merge_backward<LANES, 1, 4>(run, s.gradients2, run.of_block(BLOCK_D_SLOTS2), CONV2_CHANNELS, gridDim.x, CONV2_MAP,
                                           AT_BN2_GAMMA);
    __syncthreads();
    float *d_y = s.within.backward.d_y2 + (e * CONV2_CHANNELS + o) * D_Y2_OF + square_of(feature % POOL2_MAP);
#pragma unroll
    for (int k = 0; k < POOL * POOL; k++) {
        const float d_x = s.gradients2[o].d_x(channel, d_z[k], x_hat[k]);
        d_y[k / POOL * CONV2_SIDE + k % POOL] = e < run.mine ? d_x : 0.0f;
    }
    __syncthreads();
}

// Adds to one row of d_pool1 what kernel rows [first, last) bring from output channel `o`: row `row - a` of d_y2 each.
__device__ inline void conv2d_d_input_rows(float (&sums)[REACH], const float *d_y, const float *kernels, int row, int first, int last) {
#pragma unroll 1
    for (int a = first; a < last; a++) {
        float d[RUN], w[KERNEL_ROW];
        load_row(d, d_y + (row - a) * CONV2_SIDE);
        load_row(w, kernels + a * KERNEL_ROW);
        for (int k = 0; k < RUN; k++) {
            for (int j = 0; j < KERNEL; j++) {
                sums[k + j] += d[k] * w[j];
            }
        }
    }
}

// Adds the sums of four neighbouring lanes, and writes the row: three values a lane.
__device__ inline void store_d_row(float *row, const float (&sums)[REACH]) {
    constexpr int HALF = REACH / 2, QUARTER = REACH / 4;
    static_assert(REACH % 4 == 0, "quarters");
    float halves[HALF], quarters[QUARTER];
    const bool upper = (lane() & 1) != 0, last = (lane() & 2) != 0;
#pragma unroll
    for (int k = 0; k < HALF; k++) {
        const float handed_over = upper ? sums[k] : sums[k + HALF], kept = upper ? sums[k + HALF] : sums[k];
        halves[k] = kept + __shfl_xor_sync(ALL_LANES, handed_over, 1);
    }
#pragma unroll
    for (int k = 0; k < QUARTER; k++) {
        const float handed_over = last ? halves[k] : halves[k + QUARTER], kept = last ? halves[k + QUARTER] : halves[k];
        quarters[k] = kept + __shfl_xor_sync(ALL_LANES, handed_over, 2);
    }
    if (row) {
        for (int k = 0; k < QUARTER; k++) {
            row[(upper ? HALF : 0) + (last ? QUARTER : 0) + k] = quarters[k];
        }
    }
}

// d_pool1. A warp takes the rows of an example that need as many rows of kernels together: row `r` of the upper ones and, of the
// upper four, row r + 8. Four lanes share an input plane, an output channel in four each.
__device__ __noinline__ void persistent_d_pool1() {
    PersistentShared &s = persistent_shared();
    constexpr int SHARES = 4;
    static_assert(SHARES * CONV1_CHANNELS <= static_cast<int>(LANES) && MINE * CONV2_SIDE == PERSISTENT_WARPS, "a warp for each row of d_y2");
    const int row = warp() % CONV2_SIDE, e = warp() / CONV2_SIDE, share = lane() % SHARES;
    const bool works = lane() / SHARES < CONV1_CHANNELS;
    const int plane = works ? lane() / SHARES : 0, split = row < KERNEL ? row + 1 : KERNEL;
    const float *d_y = s.within.backward.d_y2 + e * CONV2_CHANNELS * D_Y2_OF;
    float *d_pool = s.within.backward.d_pool1 + (e * CONV1_CHANNELS + plane) * POOL1_MAP;
#pragma unroll 1
    for (int part = 0; part < 2; part++) {
        const int below = part * CONV2_SIDE, first = part == 0 ? 0 : split, last = part == 0 ? split : KERNEL;
        if (first == last) {
            break;
        }
        float sums[REACH] = {};
#pragma unroll 1
        for (int o = share; o < CONV2_CHANNELS; o += SHARES) {
            conv2d_d_input_rows(sums, d_y + o * D_Y2_OF, s.within.backward.kernels2 + o * KERNELS2_OF + plane * KERNEL * KERNEL_ROW,
                                row + below, first, last);
        }
        store_d_row(works ? d_pool + (row + below) * POOL1_SIDE : nullptr, sums);
    }
    __syncthreads();
}

// This block's slots of BN 1 backward, from the squares of layer 1: LANES of them a warp at a time.
__device__ __noinline__ void persistent_d_slots1() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    static_assert(MINE * POOL1_MAP % LANES == 0, "whole warps a channel");
    constexpr unsigned OF_CHANNEL = MINE * POOL1_MAP / LANES;
#pragma unroll 1
    for (unsigned w = warp(); w < SQUARES; w += warps()) {
        const unsigned c = w / OF_CHANNEL, i = w % OF_CHANNEL * LANES + lane();
        const unsigned map = i / POOL1_MAP * CONV1_CHANNELS + c, at = i % POOL1_MAP, row = at / POOL1_SIDE, column = at % POOL1_SIDE;
        const float d = s.within.backward.d_pool1[map * POOL1_MAP + at];
        const float *x = s.y1 + map * CONV1_MAP + row * POOL * CONV1_SIDE + column * POOL;
        float sum = 0.0f, along = 0.0f;
#pragma unroll
        for (int k = 0; k < POOL * POOL; k++) {
            const float x_hat = s.channels1[c].x_hat(x[k / POOL * CONV1_SIDE + k % POOL]);
            const float d_z = avg_pool2d_backward(d, x_hat, s.channels1[c]);
            sum += d_z;
            along += d_z * x_hat;
        }
        sum = warp_sum(sum);
        along = warp_sum(along);
        if (lane() == 0) {
            s.within.backward.squares[2 * w] = sum;
            s.within.backward.squares[2 * w + 1] = along;
        }
    }
    __syncthreads();
    if (threadIdx.x < CONV1_CHANNELS) {
        const unsigned c = threadIdx.x;
        float sum = 0.0f, along = 0.0f;
        for (unsigned k = 0; k < OF_CHANNEL; k++) {
            sum += s.within.backward.squares[2 * (c * OF_CHANNEL + k)];
            along += s.within.backward.squares[2 * (c * OF_CHANNEL + k) + 1];
        }
        publish(run.of_block(BLOCK_D_SLOTS1) + c * gridDim.x + blockIdx.x, sum, along, run.tag);
    }
}

// The gradient of conv2's weights, into this block's slot: an example and two output channels' rows of kernels a thread.
__device__ __noinline__ void persistent_d_conv2() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    float *slot = run.work(WORK_CONV_SLOTS) + blockIdx.x * CONV_PARAMETERS + CONV1_LAYER;
    const unsigned e = threadIdx.x / CONV2_ROWS, row_of = threadIdx.x % CONV2_ROWS, a = row_of % KERNEL;
    const unsigned plane = row_of / KERNEL % CONV1_CHANNELS, o = row_of / CONV1_ROWS * 2;
    float sums[2][KERNEL] = {};
    if (e < MINE) {
        const float *d_y = s.within.backward.d_y2 + (e * CONV2_CHANNELS + o) * D_Y2_OF;
        const float *x = s.pool1 + (e * CONV1_CHANNELS + plane) * POOL1_MAP + a * POOL1_SIDE;
#pragma unroll 2
        for (int row = 0; row < CONV2_SIDE; row++) {
            float inputs[REACH];
            load_row(inputs, x + row * POOL1_SIDE);
            for (int k = 0; k < 2; k++) {
                float d[RUN];
                load_row(d, d_y + k * D_Y2_OF + row * CONV2_SIDE);
                for (int column = 0; column < RUN; column++) {
                    for (int j = 0; j < KERNEL; j++) {
                        sums[k][j] += d[column] * inputs[column + j];
                    }
                }
            }
        }
    } else if (warp() == BIAS_WARP) {
        // Half a map's channel of an example each.
        static_assert(MINE * CONV2_CHANNELS == LANES, "a lane a map");
        const float *d_y = s.within.backward.d_y2 + (lane() % MINE * CONV2_CHANNELS + lane() / MINE) * D_Y2_OF;
        float sum = 0.0f;
#pragma unroll 4
        for (int i = 0; i < CONV2_MAP; i += VECTOR) {
            const float4 d = load4(d_y + i);
            sum += (d.x + d.y) + (d.z + d.w);
        }
        sum = warp_sum<MINE>(sum);
        if (lane() % MINE == 0) {
            slot[CONV2_WEIGHTS + lane() / MINE] = sum;
        }
    }
    for (int i = 0; i < 2 * KERNEL && e == 1; i++) {
        s.within.backward.second[i * CONV2_ROWS + row_of] = sums[i / KERNEL][i % KERNEL];
    }
    __syncthreads();
    for (int i = 0; i < 2 * KERNEL && e == 0; i++) {
        const unsigned channel = o + i / KERNEL;
        slot[((channel * CONV1_CHANNELS + plane) * KERNEL + a) * KERNEL + i % KERNEL] =
            sums[i / KERNEL][i % KERNEL] + s.within.backward.second[i * CONV2_ROWS + row_of];
    }
}

// BN 1 backward, and the gradient of conv1's weights, into this block's slot.
__device__ __noinline__ void persistent_d_conv1() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    if (warp() < CONV1_CHANNELS) {
        persistent_merge_backward<LANES, 1, 4>(run, s.gradients1, run.of_block(BLOCK_D_SLOTS1), CONV1_CHANNELS, gridDim.x, CONV1_MAP,
                                               AT_BN1_GAMMA);
    }
    __syncthreads();
#pragma unroll 1
    for (unsigned i = threadIdx.x; i < MINE * CONV1_OUT / 2; i += blockDim.x) {
        // Two neighbours of one square.
        const unsigned map = 2 * i / CONV1_MAP, at = 2 * i % CONV1_MAP, row = at / CONV1_SIDE, column = at % CONV1_SIDE;
        const Channel channel = s.channels1[map % CONV1_CHANNELS];
        const float d_pool = s.within.backward.d_pool1[map * POOL1_MAP + row / POOL * POOL1_SIDE + column / POOL];
        float2 &both = *reinterpret_cast<float2 *>(s.y1 + 2 * i);
        const auto d_x = [&](float x) {
            const float x_hat = channel.x_hat(x);
            const float d = s.gradients1[map % CONV1_CHANNELS].d_x(channel, avg_pool2d_backward(d_pool, x_hat, channel), x_hat);
            return map / CONV1_CHANNELS < run.mine ? d : 0.0f;
        };
        both = make_float2(d_x(both.x), d_x(both.y));
    }
    __syncthreads();
    const unsigned group = threadIdx.x / CONV1_ROWS, c = threadIdx.x % CONV1_ROWS / KERNEL, a = threadIdx.x % KERNEL;
    constexpr unsigned GROUPS_EACH = CONV1_GROUPS / MINE;
    if (group < CONV1_GROUPS) {
        const unsigned e = group / GROUPS_EACH, first_row = group % GROUPS_EACH * CONV1_GROUP_ROWS;
        float sums[KERNEL] = {};
#pragma unroll 1
        for (unsigned row = first_row; row < first_row + CONV1_GROUP_ROWS; row++) {
            const float *d_y = s.y1 + (e * CONV1_CHANNELS + c) * CONV1_MAP + row * CONV1_SIDE;
            const float *x = s.image + e * PIXELS + (row + a) * IMAGE_SIDE;
#pragma unroll
            for (int column = 0; column < CONV1_SIDE; column += RUN) {
                float d[RUN], inputs[REACH];
                load_row(d, d_y + column);
                load_row(inputs, x + column);
                for (int k = 0; k < RUN; k++) {
                    for (int j = 0; j < KERNEL; j++) {
                        sums[j] += d[k] * inputs[k + j];
                    }
                }
            }
        }
        for (int j = 0; j < KERNEL; j++) {
            s.within.conv1[group * CONV1_LAYER + (c * KERNEL + a) * KERNEL + j] = sums[j];
        }
    } else if (warp() == BIAS_WARP) {
        // In the first group's place: a channel after the other.
#pragma unroll 1
        for (unsigned channel = 0; channel < CONV1_CHANNELS; channel++) {
            float sum = 0.0f;
#pragma unroll 3
            for (unsigned i = lane(); i < MINE * CONV1_MAP / VECTOR; i += LANES) {
                constexpr unsigned QUADS = CONV1_MAP / VECTOR;
                const float4 d = load4(s.y1 + (i / QUADS * CONV1_CHANNELS + channel) * CONV1_MAP + i % QUADS * VECTOR);
                sum += (d.x + d.y) + (d.z + d.w);
            }
            sum = warp_sum(sum);
            if (lane() == 0) {
                s.within.conv1[CONV1_WEIGHTS + channel] = sum;
            }
        }
    }
    __syncthreads();
    for (unsigned i = threadIdx.x; i < CONV1_LAYER; i += blockDim.x) {
        float sum = s.within.conv1[i];
        for (unsigned g = 1; g < CONV1_GROUPS && i < CONV1_WEIGHTS; g++) {
            sum += s.within.conv1[g * CONV1_LAYER + i];
        }
        run.work(WORK_CONV_SLOTS)[blockIdx.x * CONV_PARAMETERS + i] = sum;
    }
}
