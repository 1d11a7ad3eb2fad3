// The first of two translation units, beside persistent.cu: every kernel of the graph of a training step, and of inference. It
// includes no header of CUDA's, so that NVRTC compiles it as it is.
#include "lenet.h"

#include "common.cuh"

#include "linear.cu"

#include "conv2d_1.cu"

#include "conv2d_2.cu"

#include "avg_pool2d.cu"

#include "cross_entropy.cu"

#include "update.cu"

#include "inference.cu"
