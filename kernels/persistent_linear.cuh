// The linear layers of the persistent kernel, forward and backward, and the losses. Its phases and their order: persistent.cu.
//
// A team's blocks hold the values of all of the team's examples, and compute a share of the features each: so a block reads a
// share of the weights, and BatchNorm has one slot a team. What is cheap, every block computes for all features: normalising,
// the logits, the losses.
#pragma once

#include "persistent_batch_norm.cuh"
#include "persistent_team.cuh"

// The pairs of a layer of all of the team's blocks: a thread has one feature of some of the blocks.
template <int FEATURES, typename Memory = DeviceMemory>
struct TeamPairs {
    static constexpr int WIDTH = FEATURES <= 128 ? 128 : 256, STEP = PERSISTENT_THREADS / WIDTH, COUNT = TEAM / STEP;
    static_assert(FEATURES <= WIDTH && STEP * COUNT == TEAM, "all of them");

    Await<COUNT, STEP * FEATURES, Memory> await;
    unsigned feature, first_block;

    __device__ void begin(Exchange array) {
        const PersistentRun &run = persistent_shared().run;
        begin(run.at(array) + run.team.first_block * FEATURES);
    }
    // From the pairs of the team's first block on.
    __device__ void begin(const float2 *pairs) {
        const PersistentRun &run = persistent_shared().run;
        const unsigned members = run.team.members;
        feature = threadIdx.x % WIDTH;
        first_block = threadIdx.x / WIDTH;
        await.begin(pairs + first_block * FEATURES + min(feature, FEATURES - 1u), run.tag, [&](int k) { return first_block + k * STEP < members; });
    }

    // `use(e, first, second)` for the examples e and e + 1 of the team.
    template <typename Use>
    __device__ void each(const Use &use) const {
        if (feature < FEATURES) {
#pragma unroll
            for (int k = 0; k < COUNT; k++) {
                use((first_block + k * STEP) * MINE, await.pairs[k].x, await.pairs[k].y);
            }
        }
    }
};

// Publishes this block's share of a layer: `value(e, feature)` in pairs of examples, and the team's slots, what
// `finish(sums, feature)` makes of the sums of `slot(value, e, feature)` over the team's examples. Half a warp a feature.
template <int FEATURES, typename Value, typename Slot, typename Finish>
__device__ inline void publish_share(Share share, Exchange pairs, Exchange slots, const Value &value, const Slot &slot,
                                     const Finish &finish) {
    const PersistentRun &run = persistent_shared().run;
    const unsigned e = threadIdx.x % TEAM_EXAMPLES, half = threadIdx.x / TEAM_EXAMPLES;
#pragma unroll 1
    for (unsigned first = share.first; first + half / 2 * 2 < share.end; first += PERSISTENT_THREADS / TEAM_EXAMPLES) {
        const unsigned wished = first + half, feature = min(wished, share.end - 1);
        const float own = value(e, feature), other = __shfl_xor_sync(ALL_LANES, own, 1);
        if (wished < share.end && e % MINE == 0 && e / MINE < run.team.members) {
            publish(run.at(pairs) + (run.team.first_block + e / MINE) * FEATURES + feature, own, other, run.tag);
        }
        const float2 one = e < run.team.examples ? slot(own, e, feature) : make_float2(0.0f, 0.0f);
        const float sum = warp_sum<TEAM_EXAMPLES>(one.x), second = warp_sum<TEAM_EXAMPLES>(one.y);
        if (wished < share.end && e == 0) {
            const float2 finished = finish(make_float2(sum, second), feature);
            publish(run.team_slots(slots, FEATURES) + feature, finished.x, finished.y, run.tag);
        }
    }
}

// Publishes this block's share of z [TEAM_EXAMPLES][FEATURES], and the slots of the BatchNorm behind it: from distances from the
// first example's value. The squares of TEAM_EXAMPLES distances from one of the values are at most TEAM_EXAMPLES times those from
// the mean, and mostly about twice: so much of the rounding, and no more, is what one sum over the lanes costs in place of two.
template <int FEATURES>
__device__ inline void publish_z(Share share, Exchange pairs, Exchange slots, const float *z) {
    const float part = 1.0f / persistent_shared().run.team.examples;
    publish_share<FEATURES>(
        share, pairs, slots, [&](unsigned e, unsigned feature) { return z[e * FEATURES + feature]; },
        [&](float own, unsigned, unsigned feature) {
            const float apart = own - z[feature];
            return make_float2(apart, apart * apart);
        },
        [&](float2 sums, unsigned feature) {
            const float apart = sums.x * part;
            return make_float2(z[feature] + apart, sums.y - sums.x * apart);
        });
}

// BatchNorm and sigmoid behind a linear layer, once the team's z and all teams' slots are there: x_hat and y
// [TEAM_EXAMPLES][FEATURES]; y of this block's own examples also in the workspace.
template <int FEATURES, unsigned FIRST_CHANNEL>
__device__ inline void persistent_normalise(Exchange pairs, Exchange slots, Channel *channels, float *x_hat, float *y,
                                            Work batch_y) {
    const PersistentRun &run = persistent_shared().run;
    TeamPairs<FEATURES> z;
    z.begin(pairs);
    if (threadIdx.x < FEATURES) {
        channels[threadIdx.x] = gather_feature<FEATURES, FIRST_CHANNEL>(slots, threadIdx.x);
    }
    z.await.finish();
    __syncthreads();
    const Channel channel = channels[min(z.feature, FEATURES - 1u)];
    float *own = run.work(batch_y) + run.first * FEATURES + z.feature;
    z.each([&](unsigned e, float first, float second) {
        const unsigned i = e * FEATURES + z.feature;
        x_hat[i] = channel.x_hat(first);
        x_hat[i + FEATURES] = channel.x_hat(second);
        y[i] = sigmoid_forward(channel.y(x_hat[i]));
        y[i + FEATURES] = sigmoid_forward(channel.y(x_hat[i + FEATURES]));
        if (e == run.team.member * MINE) {
            own[0] = y[i];
            if (run.mine == MINE) {
                own[FEATURES] = y[i + FEATURES];
            }
        }
    });
    __syncthreads();
}

// The team's flat features, and this block's share of linear1.
template <bool CLUSTERS>
__device__ __noinline__ void persistent_linear1() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    TeamLinear<FLAT> linear;
    linear.begin(run.parameters + AT_LINEAR1_WEIGHT, run.parameters + AT_LINEAR1_BIAS, run.team.linear1);
    TeamPairs<FLAT, typename Pairs<CLUSTERS>::Memory> flat;
    flat.begin(Pairs<CLUSTERS>::flat());
    flat.await.finish();
    flat.each([&](unsigned e, float first, float second) {
        s.within.linear.flat[e * FLAT + flat.feature] = first;
        s.within.linear.flat[(e + 1) * FLAT + flat.feature] = second;
    });
    __syncthreads();
    linear.run(s.within.linear.flat, s.within.linear.x_hat3, LINEAR1);
    __syncthreads();
    publish_z<LINEAR1>(run.team.linear1, PAIRS_Z3, TEAM_SLOTS3, s.within.linear.x_hat3);
}

// BN 3, the team's y3, and this block's share of linear2.
__device__ __noinline__ void persistent_linear2() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    TeamLinear<LINEAR1> linear;
    linear.begin(run.parameters + AT_LINEAR2_WEIGHT, run.parameters + AT_LINEAR2_BIAS, run.team.linear2);
    persistent_normalise<LINEAR1, BN3>(PAIRS_Z3, TEAM_SLOTS3, s.within.linear.channels3, s.within.linear.x_hat3,
                                       s.within.linear.y3, WORK_Y3);
    linear.run(s.within.linear.y3, s.within.linear.layer4.x_hat, LINEAR2);
    __syncthreads();
    publish_z<LINEAR2>(run.team.linear2, PAIRS_Z4, TEAM_SLOTS4, s.within.linear.layer4.x_hat);
}

// The largest of half a warp's values, and the first lane that has it.
__device__ inline void largest_of_half(float &largest, unsigned &at) {
#pragma unroll
    for (unsigned distance = TEAM_EXAMPLES / 2; distance > 0; distance /= 2) {
        const float other = __shfl_xor_sync(ALL_LANES, largest, distance);
        const unsigned there = __shfl_xor_sync(ALL_LANES, at, distance);
        if (other > largest || (other == largest && there < at)) {
            largest = other;
            at = there;
        }
    }
}

// log_softmax in half a warp, a lane a class, of logits less the largest; the logarithm in this lane.
__device__ inline float log_softmax_of_half(float above, float temperature, bool is_class) {
    const float softened = above / temperature;
    return softened - logf(warp_sum<TEAM_EXAMPLES>(is_class ? expf(softened) : 0.0f));
}

// learn_from_teacher in half a warp, likewise. `above` is this lane's logit less the largest; the loss, and `d` of this lane's class.
__device__ inline float persistent_learn(unsigned e, float above, float loss, float &d) {
    const PersistentRun &run = persistent_shared().run;
    const float weight = run.teacher_weight, temperature = run.temperature;
    const unsigned k = threadIdx.x % TEAM_EXAMPLES;
    // Behind the last example and the last class the last one's: their lanes count for nothing.
    const unsigned example = run.example(min(e, run.team.examples - 1));
    const float logit = run.teacher[example * CLASSES + min(k, CLASSES - 1u)];
    float largest = logit;
    unsigned at = k;
    largest_of_half(largest, at);
    const float ours = log_softmax_of_half(above, temperature, k < CLASSES);
    const float theirs = log_softmax_of_half(logit - largest, temperature, k < CLASSES);
    const float share = expf(theirs);
    const float divergence = warp_sum<TEAM_EXAMPLES>(k < CLASSES ? share * (theirs - ours) : 0.0f);
    d = (1.0f - weight) * d + weight * temperature * (expf(ours) - share);
    return (1.0f - weight) * loss + weight * temperature * temperature * divergence;
}

// Softmax and cross-entropy of one of the team's examples in half a warp, a lane a class: cross_entropy in parallel. Its loss,
// and 1 if the largest logit is the label's, in every lane; d_logits in the logits' place.
__device__ inline float2 persistent_cross_entropy(unsigned e, unsigned label) {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    constexpr int SEGMENT = TEAM_EXAMPLES;
    static_assert(CLASSES <= SEGMENT, "a lane a class");
    const unsigned k = threadIdx.x % SEGMENT;
    const bool counts = e < run.team.examples;
    // Lanes without a class take the last one's.
    const float logit = s.within.linear.logits[e * CLASSES + min(k, CLASSES - 1u)];
    float largest = logit;
    unsigned best = k;
    largest_of_half(largest, best);
    const float smoothing = run.smoothing, share = smoothing / CLASSES;
    const float above = logit - largest, power = k < CLASSES ? expf(above) : 0.0f;
    const float sum = warp_sum<SEGMENT>(power), all = warp_sum<SEGMENT>(k < CLASSES ? above : 0.0f);
    const float label_logit = warp_sum<SEGMENT>(k == label ? above : 0.0f);
    float loss = logf(sum) - ((1.0f - smoothing) * label_logit + share * all);
    float d = power / sum - (k == label ? 1.0f - smoothing + share : share);
    if (run.teacher_weight != 0.0f) {
        loss = persistent_learn(e, above, loss, d);
    }
    d /= run.n;
    __syncwarp(); // all have read their logits
    if (k < CLASSES) {
        s.within.linear.logits[e * CLASSES + k] = counts ? d : 0.0f;
        if (run.is_mine(e)) {
            run.work(WORK_D_LOGITS)[run.example(e) * D_LOGITS_ROW + k] = d;
        }
    }
    return make_float2(counts ? loss : 0.0f, counts && best == label ? 1.0f : 0.0f);
}

// BN 4, the team's logits and losses, and back to the front of the second hidden layer's sigmoid. This block's share of the
// slots of BN 4; the first block of a team publishes its loss.
__device__ __noinline__ void persistent_loss() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    TeamLinear<LINEAR2> linear;
    linear.begin(run.parameters + AT_LINEAR3_WEIGHT, run.parameters + AT_LINEAR3_BIAS, {0, CLASSES});
    // Half a warp an example, later.
    const unsigned of_half = threadIdx.x / TEAM_EXAMPLES;
    const unsigned label = of_half < run.team.examples ? run.labels[example_of(run.order[run.example(of_half)])] : 0;
    // Four examples of a feature a thread, after that.
    constexpr unsigned QUADS = TEAM_EXAMPLES / VECTOR;
    const unsigned feature = min(threadIdx.x / QUADS, LINEAR2 - 1u), first_example = threadIdx.x % QUADS * VECTOR;
    float w[CLASSES];
#pragma unroll
    for (int k = 0; k < CLASSES; k++) {
        w[k] = run.parameters[AT_LINEAR3_WEIGHT + k * LINEAR2 + feature];
    }
    persistent_normalise<LINEAR2, BN4>(PAIRS_Z4, TEAM_SLOTS4, s.within.linear.channels4, s.within.linear.layer4.x_hat,
                                       s.within.linear.layer4.y, WORK_Y4);
    linear.run(s.within.linear.layer4.y, s.within.linear.logits, CLASSES);
    __syncthreads();
    if (warp() < TEAM_EXAMPLES / 2) {
        const float2 one = persistent_cross_entropy(threadIdx.x / TEAM_EXAMPLES, label);
        if (threadIdx.x % TEAM_EXAMPLES == 0) {
            s.within.linear.parts[2 * (threadIdx.x / TEAM_EXAMPLES)] = one.x;
            s.within.linear.parts[2 * (threadIdx.x / TEAM_EXAMPLES) + 1] = one.y;
        }
    }
    __syncthreads();
    float d[VECTOR], sum = 0.0f, along = 0.0f;
    for (int k = 0; k < VECTOR; k++) {
        const unsigned e = first_example + k;
        float d_y = 0.0f;
        for (int c = 0; c < CLASSES; c++) {
            d_y += w[c] * s.within.linear.logits[e * CLASSES + c];
        }
        d[k] = sigmoid_backward(d_y, s.within.linear.layer4.y[e * LINEAR2 + feature]);
        sum += d[k];
        along += d[k] * s.within.linear.layer4.x_hat[e * LINEAR2 + feature];
    }
    sum = warp_sum<QUADS>(sum);
    along = warp_sum<QUADS>(along);
    if (threadIdx.x % QUADS == 0 && threadIdx.x / QUADS >= run.team.linear2.first &&
        threadIdx.x / QUADS < run.team.linear2.end) {
        publish(run.team_slots(TEAM_D_SLOTS4, LINEAR2 + 1) + feature, sum, along, run.tag);
    }
    if (warp() == PERSISTENT_WARPS - 1 && run.team.member == 0) {
        const float *one = s.within.linear.parts + 2 * (lane() % TEAM_EXAMPLES);
        const float loss = warp_sum<TEAM_EXAMPLES>(one[0]), hits = warp_sum<TEAM_EXAMPLES>(one[1]);
        if (lane() == 0) {
            publish(run.team_slots(TEAM_D_SLOTS4, LINEAR2 + 1) + LINEAR2, loss, hits, run.tag);
        }
    }
    __syncthreads();
    if (threadIdx.x < LINEAR2 * QUADS) {
        store4(s.within.linear.layer4.y + feature * TEAM_EXAMPLES + first_example, d);
    }
}

// The batch's loss, BN 4 backward, and this block's share of the gradient in front of the first hidden layer's sigmoid.
__device__ __noinline__ void persistent_d_hidden() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    TeamGradient<LINEAR2, LINEAR1, TEAM_EXAMPLES> gradient;
    gradient.begin(run.parameters + AT_LINEAR2_WEIGHT, run.team.linear1);
    if (threadIdx.x <= LINEAR2) {
        const float share = run.share;
        const float2 sums = gather_teams<LINEAR2 + 1>(TEAM_D_SLOTS4, threadIdx.x);
        if (threadIdx.x == LINEAR2) {
            s.loss = sums;
        } else {
            s.within.linear.gradients4[threadIdx.x] = persistent_gradient(sums, threadIdx.x, LINEAR2, share, AT_BN4_GAMMA);
        }
    }
    __syncthreads();
    // Four examples of a feature a thread, as persistent_loss left them.
    float *const d4 = s.within.linear.layer4.y;
    constexpr unsigned QUADS = TEAM_EXAMPLES / VECTOR;
    const unsigned feature = threadIdx.x / QUADS, first_example = threadIdx.x % QUADS * VECTOR;
    if (feature < LINEAR2) {
        const Channel channel = s.within.linear.channels4[feature];
        const ChannelGradient of_channel = s.within.linear.gradients4[feature];
        float d[VECTOR];
        load_row(d, d4 + feature * TEAM_EXAMPLES + first_example);
        for (int k = 0; k < VECTOR; k++) {
            const unsigned e = first_example + k;
            d[k] = of_channel.d_x(channel, d[k], s.within.linear.layer4.x_hat[e * LINEAR2 + feature]);
            if (run.is_mine(e)) {
                run.work(WORK_D_Y4)[run.example(e) * LINEAR2 + feature] = d[k];
            }
        }
        store4(d4 + feature * TEAM_EXAMPLES + first_example, d);
    }
    __syncthreads();
    gradient.each(d4, s.within.linear.parts, [&](unsigned feature_in) {
        const unsigned e = warp(), i = e * LINEAR1 + feature_in;
        s.within.linear.y3[i] = sigmoid_backward(sum_of_parts(s.within.linear.parts, e), s.within.linear.y3[i]);
    });
    publish_share<LINEAR1>(
        run.team.linear1, PAIRS_D_Z3, TEAM_D_SLOTS3,
        [&](unsigned e, unsigned feature) { return s.within.linear.y3[e * LINEAR1 + feature]; },
        [&](float own, unsigned e, unsigned feature) {
            return make_float2(own, own * s.within.linear.x_hat3[e * LINEAR1 + feature]);
        },
        [](float2 sums, unsigned) { return sums; });
}

// BN 3 backward, and this block's share of the team's d_flat.
template <bool CLUSTERS>
__device__ __noinline__ void persistent_d_flat() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    TeamGradient<LINEAR1, FLAT, D_Y3_OF> gradient;
    gradient.begin(run.parameters + AT_LINEAR1_WEIGHT, run.team.flat);
    TeamPairs<LINEAR1> d_z;
    d_z.begin(PAIRS_D_Z3);
    if (threadIdx.x < LINEAR1) {
        const float share = run.share;
        const float2 sums = gather_teams<LINEAR1>(TEAM_D_SLOTS3, threadIdx.x);
        s.within.linear.gradients3[threadIdx.x] = persistent_gradient(sums, threadIdx.x, LINEAR1, share, AT_BN3_GAMMA);
    }
    d_z.await.finish();
    __syncthreads();
    const unsigned feature = min(d_z.feature, LINEAR1 - 1u);
    const Channel channel = s.within.linear.channels3[feature];
    const ChannelGradient of_channel = s.within.linear.gradients3[feature];
    float *own = run.work(WORK_D_Y3) + run.first * LINEAR1 + feature;
    d_z.each([&](unsigned e, float first, float second) {
        const float *x_hat = s.within.linear.x_hat3 + e * LINEAR1 + feature;
        const float2 d = make_float2(of_channel.d_x(channel, first, x_hat[0]), of_channel.d_x(channel, second, x_hat[LINEAR1]));
        *reinterpret_cast<float2 *>(s.within.linear.d_y3 + feature * D_Y3_OF + e) = d;
        if (e == run.team.member * MINE) {
            own[0] = d.x;
            if (run.mine == MINE) {
                own[LINEAR1] = d.y;
            }
        }
    });
    __syncthreads();
    gradient.each(s.within.linear.d_y3, s.within.linear.parts, [&](unsigned feature_in) {
        const unsigned member = warp();
        if (member < run.team.members) {
            const float first = sum_of_parts(s.within.linear.parts, member * MINE);
            const float second = sum_of_parts(s.within.linear.parts, member * MINE + 1);
            if constexpr (CLUSTERS) {
                publish_near(cluster_shared().d_flat + feature_in, first, second, run.tag, member);
            } else {
                publish(run.at(PAIRS_D_FLAT) + (run.team.first_block + member) * FLAT + feature_in, first, second, run.tag);
            }
        }
    });
}
