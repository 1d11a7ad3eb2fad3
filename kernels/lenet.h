// Written by host-trainer/src/engine/cuda/shapes.rs from bn-core/src/lenet.rs; a test compares. Do not edit.
#pragma once

// Shapes, counts and threads a block.
constexpr int IMAGE_SIDE = 28;
constexpr int PIXELS = 784;
constexpr int KERNEL = 5;
constexpr int POOL = 2;
constexpr int CONV1_CHANNELS = 6;
constexpr int CONV1_SIDE = 24;
constexpr int POOL1_SIDE = 12;
constexpr int CONV2_CHANNELS = 16;
constexpr int CONV2_SIDE = 8;
constexpr int POOL2_SIDE = 4;
constexpr int FLAT = 256;
constexpr int LINEAR1 = 120;
constexpr int LINEAR2 = 84;
constexpr int CLASSES = 10;
constexpr int CONV_WEIGHTS = 2550;
constexpr int EXAMPLES_PER_BLOCK = 2;
constexpr int BLOCKS_PER_TEAM = 8;
constexpr int CONV1_THREADS = 160;
constexpr int CONV2_THREADS = 256;
constexpr int CONV1_BACKWARD_THREADS = 256;
constexpr int CONV2_BACKWARD_THREADS = 480;
constexpr int LINEAR_THREADS = 256;
constexpr int SUM_THREADS = 256;
constexpr int PERSISTENT_THREADS = 512;
constexpr int PERSISTENT_SHARED = 101376;
constexpr int CLUSTER_SHARED = 119808;
constexpr int WORKSPACE_PER_EXAMPLE = 676;
constexpr int PERSISTENT_BLOCKS = 128;
constexpr int EXCHANGE_PAIRS = 119186;
constexpr int TOTAL_COUNT = 4;
constexpr int COEFFICIENT_COUNT = 3;

// Weight of the newest batch in the moving statistics.
constexpr float MOMENTUM = 0.1f;

// AdamW's weights of the old means, and what keeps it from dividing by zero.
constexpr float BETA1 = 0.9f;
constexpr float BETA2 = 0.999f;
constexpr float ADAM_EPS = 1e-8f;

// How a sample's word is read, and what AdamW does with a parameter.
constexpr unsigned SAMPLE_FLIP = 33554432;
constexpr unsigned SAMPLE_SHIFT_BITS = 3;
constexpr unsigned SAMPLE_RIGHT_AT = 26;
constexpr unsigned SAMPLE_DOWN_AT = 29;
constexpr unsigned TREATMENT_KEEP = 0;
constexpr unsigned TREATMENT_STEP = 1;
constexpr unsigned TREATMENT_STEP_AND_DECAY = 2;

// Channels in batch_mean and batch_var, and places in settings, coefficients and totals.
constexpr unsigned PARAMETERS = 45330;
constexpr unsigned BN1 = 0;
constexpr unsigned BN2 = 6;
constexpr unsigned BN3 = 22;
constexpr unsigned BN4 = 142;
constexpr unsigned BN_CHANNELS = 226;
constexpr unsigned SETTING_EPS = 0;
constexpr unsigned SETTING_UNBIASED = 1;
constexpr unsigned SETTING_LABEL_SMOOTHING = 2;
constexpr unsigned SETTING_TEACHER_WEIGHT = 3;
constexpr unsigned SETTING_TEMPERATURE = 4;
constexpr unsigned COEFFICIENT_RATE = 0;
constexpr unsigned COEFFICIENT_DECAY = 1;
constexpr unsigned COEFFICIENT_ROOT = 2;
constexpr unsigned TOTAL_LOSS = 0;
constexpr unsigned TOTAL_CORRECT = 1;
constexpr unsigned TOTAL_EXAMPLES = 2;
constexpr unsigned TOTAL_STOPPED = 3;

// Where each tensor begins in parameters and gradients.
constexpr unsigned AT_CONV1_WEIGHT = 0;
constexpr unsigned AT_CONV1_BIAS = 150;
constexpr unsigned AT_BN1_GAMMA = 156;
constexpr unsigned AT_BN1_BETA = 162;
constexpr unsigned AT_BN1_RUNNING_MEAN = 168;
constexpr unsigned AT_BN1_RUNNING_VAR = 174;
constexpr unsigned AT_CONV2_WEIGHT = 180;
constexpr unsigned AT_CONV2_BIAS = 2580;
constexpr unsigned AT_BN2_GAMMA = 2596;
constexpr unsigned AT_BN2_BETA = 2612;
constexpr unsigned AT_BN2_RUNNING_MEAN = 2628;
constexpr unsigned AT_BN2_RUNNING_VAR = 2644;
constexpr unsigned AT_LINEAR1_WEIGHT = 2660;
constexpr unsigned AT_LINEAR1_BIAS = 33380;
constexpr unsigned AT_BN3_GAMMA = 33500;
constexpr unsigned AT_BN3_BETA = 33620;
constexpr unsigned AT_BN3_RUNNING_MEAN = 33740;
constexpr unsigned AT_BN3_RUNNING_VAR = 33860;
constexpr unsigned AT_LINEAR2_WEIGHT = 33980;
constexpr unsigned AT_LINEAR2_BIAS = 44060;
constexpr unsigned AT_BN4_GAMMA = 44144;
constexpr unsigned AT_BN4_BETA = 44228;
constexpr unsigned AT_BN4_RUNNING_MEAN = 44312;
constexpr unsigned AT_BN4_RUNNING_VAR = 44396;
constexpr unsigned AT_LINEAR3_WEIGHT = 44480;
constexpr unsigned AT_LINEAR3_BIAS = 45320;
