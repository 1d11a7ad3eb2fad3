// The forward pass of the persistent kernel, from the pixels to the losses. Its phases and their order: persistent.cu.
#pragma once

#include "persistent.cuh"

// Forward of a linear layer for this block's examples, TOGETHER features a warp: `own` [MINE][OUT] in shared memory and, unless
// null, batch[OUT][n]. `x` [MINE][IN] is shared.
template <int OUT, int IN>
__device__ inline void persistent_linear(const PersistentRun &run, unsigned at_weight, unsigned at_bias, const float *x,
                                         float *own, float *batch) {
#pragma unroll 1
    for (unsigned first = warp() * TOGETHER; first < OUT; first += warps() * TOGETHER) {
        float sums[MINE][TOGETHER] = {};
#pragma unroll 2
        for (unsigned i = lane(); i < IN; i += LANES) {
            for (int k = 0; k < TOGETHER; k++) {
                const float w = run.parameters[at_weight + min(first + k, OUT - 1u) * IN + i];
                for (int e = 0; e < MINE; e++) {
                    sums[e][k] += w * x[e * IN + i];
                }
            }
        }
        const unsigned o = first + warp_sums_index<TOGETHER>();
        for (unsigned e = 0; e < MINE; e++) {
            const float sum = warp_sums(sums[e]);
            if (lane() % (LANES / TOGETHER) == 0 && o < OUT && e < run.mine) {
                own[e * OUT + o] = sum + run.parameters[at_bias + o];
                if (batch) {
                    batch[o * run.n + run.first + e] = own[e * OUT + o];
                }
            }
        }
    }
}

// Merges a linear layer's values [CHANNELS][n], in two passes, TOGETHER channels a warp; like batch_norm_merge, whose slots
// hold more than one value.
template <unsigned CHANNELS>
__device__ inline void persistent_merge(const PersistentRun &run, Channel *shared, const float *values, unsigned layer,
                                        unsigned first_channel) {
#pragma unroll 1
    for (unsigned first = warp() * TOGETHER; first < CHANNELS; first += warps() * TOGETHER) {
        float mean[TOGETHER] = {}, var[TOGETHER] = {};
#pragma unroll 2
        for (unsigned s = lane(); s < run.n; s += LANES) {
            for (unsigned k = 0; k < TOGETHER; k++) {
                mean[k] += values[min(first + k, CHANNELS - 1) * run.n + s];
            }
        }
#pragma unroll
        for (unsigned k = 0; k < TOGETHER; k++) {
            mean[k] = warp_sum(mean[k]) / run.n;
        }
#pragma unroll 2
        for (unsigned s = lane(); s < run.n; s += LANES) {
            for (unsigned k = 0; k < TOGETHER; k++) {
                const float distance = values[min(first + k, CHANNELS - 1) * run.n + s] - mean[k];
                var[k] += distance * distance;
            }
        }
#pragma unroll
        for (unsigned k = 0; k < TOGETHER; k++) {
            var[k] = warp_sum(var[k]) / run.n;
            const unsigned c = first + k;
            if (lane() == k && c < CHANNELS) {
                shared[c] = batch_norm_channel(run.parameters, layer, CHANNELS, c, mean[k], var[k], run.eps());
                if (blockIdx.x == 0) {
                    run.batch_mean[first_channel + c] = mean[k];
                    run.batch_var[first_channel + c] = var[k];
                }
            }
        }
    }
    __syncthreads();
}

// BatchNorm and sigmoid behind a linear layer: x_hat [MINE][count] in place of its values, y likewise in shared memory and in
// the workspace.
__device__ inline void persistent_normalise(const PersistentRun &run, const Channel *channels, unsigned count, float *x_hat,
                                            float *y, float *batch_y) {
#pragma unroll 1
    for (unsigned i = threadIdx.x; i < run.mine * count; i += blockDim.x) {
        const Channel channel = channels[i % count];
        x_hat[i] = channel.x_hat(x_hat[i]);
        y[i] = sigmoid_forward(channel.y(x_hat[i]));
        batch_y[run.first * count + i] = y[i];
    }
    __syncthreads();
}

// y1, and this block's slots of BN 1.
__device__ inline void persistent_conv1(const PersistentRun &run) {
    PersistentShared &s = *run.shared;
    load_shared(s.layer1, run.parameters + AT_CONV1_WEIGHT, CONV1_LAYER);
    load_shared(s.layer2, run.parameters + AT_CONV2_WEIGHT, CONV2_LAYER);
    for (unsigned e = 0; e < run.mine; e++) {
        load_image(s.image + e * PIXELS, run.images, run.order[run.first + e]);
    }
    __syncthreads();
    constexpr int QUARTERS = CONV1_MAP / VECTOR;
#pragma unroll 1
    for (unsigned i = threadIdx.x; i < run.mine * QUARTERS; i += blockDim.x) {
        const int e = i / QUARTERS, position = i % QUARTERS * VECTOR;
        float y[CONV1_CHANNELS][VECTOR];
        conv2d_1_at(y, s.image + e * PIXELS, s.layer1, position / CONV1_SIDE, position % CONV1_SIDE);
        for (int c = 0; c < CONV1_CHANNELS; c++) {
            store4(s.y1 + e * CONV1_OUT + c * CONV1_MAP + position, y[c]);
        }
    }
    __syncthreads();
#pragma unroll 1
    for (unsigned i = warp(); i < run.mine * CONV1_CHANNELS; i += warps()) {
        const unsigned e = i / CONV1_CHANNELS, c = i % CONV1_CHANNELS;
        const float *y = s.y1 + i * CONV1_MAP;
        float sum = 0.0f, m2 = 0.0f;
#pragma unroll 4
        for (int k = lane(); k < CONV1_MAP; k += LANES) {
            sum += y[k];
        }
        const float mean = warp_sum(sum) / CONV1_MAP;
#pragma unroll 4
        for (int k = lane(); k < CONV1_MAP; k += LANES) {
            m2 += (y[k] - mean) * (y[k] - mean);
        }
        m2 = warp_sum(m2);
        if (lane() == 0) {
            run.work(WORK_MEAN1)[c * run.n + run.first + e] = mean;
            run.work(WORK_M2_1)[c * run.n + run.first + e] = m2;
        }
    }
}

// BN 1, pool1, y2, and this block's slots of BN 2.
__device__ inline void persistent_conv2(const PersistentRun &run) {
    PersistentShared &s = *run.shared;
    batch_norm_merge(s.channels1, run.work(WORK_MEAN1), run.work(WORK_M2_1), run.n, CONV1_MAP, run.parameters, AT_BN1_GAMMA,
                     CONV1_CHANNELS, run.eps(), run.batch_mean + BN1, run.batch_var + BN1);
#pragma unroll 1
    for (unsigned i = threadIdx.x; i < run.mine * POOL1_OUT; i += blockDim.x) {
        const int map = i / POOL1_MAP, row = i % POOL1_MAP / POOL1_SIDE, column = i % POOL1_SIDE;
        const float *x = s.y1 + map * CONV1_MAP + row * POOL * CONV1_SIDE + column * POOL;
        s.pool1[i] = avg_pool2d_forward(x, CONV1_SIDE, s.channels1[map % CONV1_CHANNELS]);
    }
    __syncthreads();
    // Of a missing example: read whatever lies there, write nothing.
    constexpr int SEGMENT = CONV2_MAP / VECTOR;
    const unsigned e = threadIdx.x / CONV2_THREADS, t = threadIdx.x % CONV2_THREADS;
    const int o = t / SEGMENT, position = t % SEGMENT * VECTOR;
    float y[1][VECTOR];
    conv2d_2_at(y, s.pool1 + e * POOL1_OUT, s.layer2, o, position / CONV2_SIDE, position % CONV2_SIDE);
    const float mean = warp_sum<SEGMENT>((y[0][0] + y[0][1]) + (y[0][2] + y[0][3])) / CONV2_MAP;
    float m2 = 0.0f;
    for (int k = 0; k < VECTOR; k++) {
        s.y2[e * CONV2_OUT + o * CONV2_MAP + position + k] = y[0][k];
        m2 += (y[0][k] - mean) * (y[0][k] - mean);
    }
    m2 = warp_sum<SEGMENT>(m2);
    if (position == 0 && e < run.mine) {
        run.work(WORK_MEAN2)[o * run.n + run.first + e] = mean;
        run.work(WORK_M2_2)[o * run.n + run.first + e] = m2;
    }
}

// BN 2, the flat features, linear1.
__device__ inline void persistent_flat(const PersistentRun &run) {
    PersistentShared &s = *run.shared;
    batch_norm_merge(s.channels2, run.work(WORK_MEAN2), run.work(WORK_M2_2), run.n, CONV2_MAP, run.parameters, AT_BN2_GAMMA,
                     CONV2_CHANNELS, run.eps(), run.batch_mean + BN2, run.batch_var + BN2);
#pragma unroll 1
    for (unsigned i = threadIdx.x; i < run.mine * FLAT; i += blockDim.x) {
        const int map = i / POOL2_MAP, row = i % POOL2_MAP / POOL2_SIDE, column = i % POOL2_SIDE;
        const float *x = s.y2 + map * CONV2_MAP + row * POOL * CONV2_SIDE + column * POOL;
        s.flat[i] = avg_pool2d_forward(x, CONV2_SIDE, s.channels2[map % CONV2_CHANNELS]);
        run.work(WORK_FLAT)[run.first * FLAT + i] = s.flat[i];
    }
    __syncthreads();
    persistent_linear<LINEAR1, FLAT>(run, AT_LINEAR1_WEIGHT, AT_LINEAR1_BIAS, s.flat, s.x_hat3, run.work(WORK_Z3));
}

// BN 3, y3, linear2.
__device__ inline void persistent_hidden(const PersistentRun &run) {
    PersistentShared &s = *run.shared;
    persistent_merge<LINEAR1>(run, s.channels3, run.work(WORK_Z3), AT_BN3_GAMMA, BN3);
    persistent_normalise(run, s.channels3, LINEAR1, s.x_hat3, s.y3, run.work(WORK_Y3));
    persistent_linear<LINEAR2, LINEAR1>(run, AT_LINEAR2_WEIGHT, AT_LINEAR2_BIAS, s.y3, s.x_hat4, run.work(WORK_Z4));
}

// BN 4, the logits and their gradient, and this block's losses.
__device__ inline void persistent_loss(const PersistentRun &run) {
    PersistentShared &s = *run.shared;
    persistent_merge<LINEAR2>(run, s.channels4, run.work(WORK_Z4), AT_BN4_GAMMA, BN4);
    persistent_normalise(run, s.channels4, LINEAR2, s.x_hat4, s.y4, run.work(WORK_Y4));
    persistent_linear<CLASSES, LINEAR2>(run, AT_LINEAR3_WEIGHT, AT_LINEAR3_BIAS, s.y4, s.logits, nullptr);
    __syncthreads();
    if (threadIdx.x < run.mine) {
        const unsigned e = threadIdx.x, label = run.labels[example_of(run.order[run.first + e])];
        float values[CLASSES];
        for (int k = 0; k < CLASSES; k++) {
            values[k] = s.logits[e * CLASSES + k];
        }
        const float smoothing = run.settings[SETTING_LABEL_SMOOTHING], share = smoothing / CLASSES;
        s.losses[e] = cross_entropy(values, label, smoothing);
        for (unsigned k = 0; k < CLASSES; k++) {
            const float d = (values[k] - (k == label ? 1.0f - smoothing + share : share)) / run.n;
            s.d_logits[e * CLASSES + k] = d;
            run.work(WORK_D_LOGITS)[(run.first + e) * CLASSES + k] = d;
        }
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        double loss = 0.0, correct = 0.0;
        for (unsigned e = 0; e < run.mine; e++) {
            loss += s.losses[e].loss;
            correct += s.losses[e].correct ? 1.0 : 0.0;
        }
        run.loss_slots[2 * blockIdx.x] = loss;
        run.loss_slots[2 * blockIdx.x + 1] = correct;
    }
}
