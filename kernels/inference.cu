// Inference mode: the whole network for one image a block, every BatchNorm with its moving statistics. Changes nothing.
// Twin: host-trainer/src/engine/reference/network.rs, function infer.
//
// | kernel          | blocks   | threads       |
// |-----------------|----------|---------------|
// | infer           | examples | CONV2_THREADS |
// | infer_totals    | 1        | SUM_THREADS   |
#pragma once

#include "avg_pool2d.cu"
#include "cross_entropy.cu"
#include "totals.cuh"

// Channel with the moving statistics, which follow gamma and beta.
__device__ inline Channel batch_norm_moving(const float *parameters, unsigned layer, unsigned channels, unsigned c,
                                            float eps) {
    return batch_norm_channel(parameters, layer, channels, c, parameters[layer + 2 * channels + c],
                              parameters[layer + 3 * channels + c], eps);
}

// conv1, BN 1, sigmoid and pool: pool [6][12][12]. A thread computes four neighbours in two rows, two squares a channel.
__device__ inline void infer_conv2d_1(float *pool, const float *image, const float *layer, const Channel *channels) {
    constexpr int COLUMNS = CONV1_SIDE / VECTOR;
    for (int i = threadIdx.x; i < POOL1_SIDE * COLUMNS; i += blockDim.x) {
        const int row = i / COLUMNS, column = i % COLUMNS * VECTOR;
        float upper[CONV1_CHANNELS][VECTOR], lower[CONV1_CHANNELS][VECTOR];
        conv2d_1_at(upper, image, layer, row * POOL, column);
        conv2d_1_at(lower, image, layer, row * POOL + 1, column);
        for (int c = 0; c < CONV1_CHANNELS; c++) {
            for (int square = 0; square < VECTOR / POOL; square++) {
                const float x[POOL * POOL] = {upper[c][square * POOL], upper[c][square * POOL + 1],
                                              lower[c][square * POOL], lower[c][square * POOL + 1]};
                pool[c * POOL1_MAP + row * POOL1_SIDE + column / POOL + square] =
                    avg_pool2d_forward(x, POOL, channels[c]);
            }
        }
    }
    __syncthreads();
}

// One linear layer, a thread an output; with BatchNorm and sigmoid behind it if `layer` is not 0.
__device__ inline void infer_linear(float *y, const float *x, const float *__restrict__ parameters, unsigned weight,
                                    unsigned bias, int inputs, int outputs, unsigned layer, float eps) {
    for (int o = threadIdx.x; o < outputs; o += blockDim.x) {
        float sum = parameters[bias + o];
#pragma unroll 4
        for (int i = 0; i < inputs; i++) {
            sum += parameters[weight + o * inputs + i] * x[i];
        }
        if (layer != 0) {
            const Channel channel = batch_norm_moving(parameters, layer, outputs, o, eps);
            sum = sigmoid_forward(channel.y(channel.x_hat(sum)));
        }
        y[o] = sum;
    }
    __syncthreads();
}

// A slot of the totals a block: loss and hit of image `blockIdx.x`.
extern "C" __global__ void __launch_bounds__(CONV2_THREADS)
    infer(const unsigned char *__restrict__ images, const unsigned char *__restrict__ labels,
          const float *__restrict__ parameters, const float *__restrict__ settings, double *__restrict__ loss_slots) {
    __shared__ __align__(16) float image[PIXELS];
    __shared__ __align__(16) float pool[POOL1_OUT];
    __shared__ float layer1[CONV1_LAYER], layer2[CONV2_LAYER];
    __shared__ Channel channels1[CONV1_CHANNELS], channels2[CONV2_CHANNELS];
    __shared__ float map[CONV2_OUT], flat[FLAT], y3[LINEAR1], y4[LINEAR2], logits[CLASSES];
    const float eps = settings[SETTING_EPS];
    const unsigned t = threadIdx.x, example = blockIdx.x;
    load_image(image, pixels_of(images, example), example);
    load_shared(layer1, parameters + AT_CONV1_WEIGHT, CONV1_LAYER);
    load_shared(layer2, parameters + AT_CONV2_WEIGHT, CONV2_LAYER);
    if (t < CONV1_CHANNELS) {
        channels1[t] = batch_norm_moving(parameters, AT_BN1_GAMMA, CONV1_CHANNELS, t, eps);
    }
    if (t < CONV2_CHANNELS) {
        channels2[t] = batch_norm_moving(parameters, AT_BN2_GAMMA, CONV2_CHANNELS, t, eps);
    }
    __syncthreads();

    infer_conv2d_1(pool, image, layer1, channels1);
    const int o = t * VECTOR / CONV2_MAP, position = t * VECTOR % CONV2_MAP;
    float y[1][VECTOR];
    conv2d_2_at(y, pool, layer2, o, position / CONV2_SIDE, position % CONV2_SIDE);
    for (int k = 0; k < VECTOR; k++) {
        map[t * VECTOR + k] = y[0][k];
    }
    __syncthreads();
    for (int i = t; i < FLAT; i += blockDim.x) {
        const int c = i / POOL2_MAP, row = i % POOL2_MAP / POOL2_SIDE, column = i % POOL2_SIDE;
        const float *x = map + c * CONV2_MAP + row * POOL * CONV2_SIDE + column * POOL;
        flat[i] = avg_pool2d_forward(x, CONV2_SIDE, channels2[c]);
    }
    __syncthreads();
    infer_linear(y3, flat, parameters, AT_LINEAR1_WEIGHT, AT_LINEAR1_BIAS, FLAT, LINEAR1, AT_BN3_GAMMA, eps);
    infer_linear(y4, y3, parameters, AT_LINEAR2_WEIGHT, AT_LINEAR2_BIAS, LINEAR1, LINEAR2, AT_BN4_GAMMA, eps);
    infer_linear(logits, y4, parameters, AT_LINEAR3_WEIGHT, AT_LINEAR3_BIAS, LINEAR2, CLASSES, 0, eps);
    if (t == 0) {
        float values[CLASSES];
        for (int k = 0; k < CLASSES; k++) {
            values[k] = logits[k];
        }
        const Loss result = cross_entropy(values, labels[example], 0.0f);
        loss_slots[2 * example] = result.loss;
        loss_slots[2 * example + 1] = result.correct ? 1.0 : 0.0;
    }
}

// Adds the slots of `examples` blocks of `infer` to the totals.
extern "C" __global__ void __launch_bounds__(SUM_THREADS)
    infer_totals(const double *__restrict__ loss_slots, double *__restrict__ totals, unsigned examples) {
    __shared__ double scratch[2 * MAX_WARPS];
    add_totals(totals, loss_slots, examples, examples, scratch);
}
