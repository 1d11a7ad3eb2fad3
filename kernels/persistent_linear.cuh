// The linear layers of the persistent kernel, forward and backward, and the losses. Its phases and their order: persistent.cu.
//
// A team's blocks hold the values of all of the team's examples, and compute a share of the features each: so a block reads a share of
// the weights, and BatchNorm has one slot a team. What is cheap, every block computes for all features: normalising, the
// logits, the losses.
#pragma once

#include "persistent.cuh"

// How the slots of a linear layer's BatchNorm are gathered: all channels at once, and sixteen teams.
constexpr int TEAM_SEGMENT = 4, TEAM_DEPTH = 4;
static_assert(PERSISTENT_THREADS / TEAM_SEGMENT >= LINEAR1 && PERSISTENT_THREADS / TEAM_SEGMENT > LINEAR2, "one round");

// Forward of a linear layer of IN inputs: a warp takes four features of four examples at a time, lanes share the inputs. The weights
// of the first ones are asked for by `begin`.
template <int IN>
struct TeamLinear {
    static constexpr int ROUNDS = (IN + VECTOR * static_cast<int>(LANES) - 1) / (VECTOR * static_cast<int>(LANES));
    static constexpr unsigned EXAMPLE_QUADS = TEAM_EXAMPLES / VECTOR;
    static_assert(IN % VECTOR == 0, "inputs in whole vectors");

    const float *weights;
    unsigned first, end; // the features
    float4 w[VECTOR][ROUNDS];

    __device__ void load(unsigned unit) {
#pragma unroll
        for (unsigned f = 0; f < VECTOR; f++) {
            const float *row = weights + min(first + unit / EXAMPLE_QUADS * VECTOR + f, end - 1) * IN;
#pragma unroll
            for (unsigned r = 0; r < ROUNDS; r++) {
                const unsigned i = (r * LANES + lane()) * VECTOR;
                w[f][r] = i < IN ? load4(row + i) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            }
        }
    }

    // The features [from, to), at least one, of those that `of` holds the weights of.
    __device__ void begin(const float *of, unsigned from, unsigned to) {
        weights = of;
        first = from;
        end = to;
        load(warp());
    }

    // `x` [TEAM_EXAMPLES][IN] and `to` [TEAM_EXAMPLES][out] are shared; `biases` [out].
    __device__ void run(const float *x, const float *biases, float *to, unsigned out) {
#pragma unroll 1
        for (unsigned unit = warp(); first + unit / EXAMPLE_QUADS * VECTOR < end; unit += warps()) {
            if (unit != warp()) {
                load(unit);
            }
            const unsigned first_example = unit % EXAMPLE_QUADS * VECTOR;
            float sums[VECTOR * VECTOR] = {};
#pragma unroll
            for (unsigned e = 0; e < VECTOR; e++) {
#pragma unroll
                for (unsigned r = 0; r < ROUNDS; r++) {
                    const unsigned i = (r * LANES + lane()) * VECTOR;
                    const float4 v = load4(x + (first_example + e) * IN + (i < IN ? i : 0));
#pragma unroll
                    for (unsigned f = 0; f < VECTOR; f++) {
                        const float4 u = w[f][r];
                        float &sum = sums[e * VECTOR + f];
                        sum += u.x * v.x;
                        sum += u.y * v.y;
                        sum += u.z * v.z;
                        sum += u.w * v.w;
                    }
                }
            }
            const float sum = warp_sums(sums);
            const unsigned index = warp_sums_index<VECTOR * VECTOR>();
            const unsigned o = first + unit / EXAMPLE_QUADS * VECTOR + index % VECTOR, e = first_example + index / VECTOR;
            if (lane() % (LANES / (VECTOR * VECTOR)) == 0 && o < end) {
                to[e * out + o] = sum + biases[o];
            }
        }
    }
};

// Gradient of LANES inputs of a linear layer with OUT outputs and IN inputs, a lane each, in parts: a warp sums a share of the
// outputs for half of the examples. The weights are asked for by `begin`.
template <int OUT, int IN>
struct TeamGradient {
    static constexpr int ROUNDS = (OUT + PARTS - 1) / PARTS;

    float w[ROUNDS];

    __device__ void begin(const float *weights, unsigned first, unsigned end) {
        const unsigned column = min(first + lane(), end - 1);
#pragma unroll
        for (unsigned r = 0; r < ROUNDS; r++) {
            const unsigned o = r * PARTS + warp() / HALVES;
            w[r] = o < OUT ? weights[o * IN + column] : 0.0f;
        }
    }

    // `d` [OUT][TEAM_EXAMPLES] and `parts` [PARTS][TEAM_EXAMPLES][LANES] are shared.
    __device__ void run(const float *d, float *parts) {
        const unsigned part = warp() / HALVES, first_example = warp() % HALVES * RUN;
        float sums[RUN] = {};
#pragma unroll
        for (unsigned r = 0; r < ROUNDS; r++) {
            const unsigned o = min(r * PARTS + part, OUT - 1u);
            float values[RUN];
            load_row(values, d + o * TEAM_EXAMPLES + first_example);
            for (int e = 0; e < RUN; e++) {
                sums[e] += w[r] * values[e];
            }
        }
        for (int e = 0; e < RUN; e++) {
            parts[(part * TEAM_EXAMPLES + first_example + e) * LANES + lane()] = sums[e];
        }
    }
};
static_assert(RUN * HALVES == TEAM_EXAMPLES, "a warp holds half of the examples");

// The sum of the parts for one example, in this lane's column.
__device__ inline float sum_of_parts(const float *parts, unsigned e) {
    float sum = 0.0f;
    for (int part = 0; part < PARTS; part++) {
        sum += parts[(part * TEAM_EXAMPLES + e) * LANES + lane()];
    }
    return sum;
}

// Waits for a layer's pairs of the whole team, and its channels: COUNT pairs a thread.
template <int FEATURES>
struct TeamPairs {
    static constexpr int COUNT = (TEAM * FEATURES + PERSISTENT_THREADS - 1) / PERSISTENT_THREADS;

    Await<COUNT> await;

    __device__ void begin(const PersistentRun &run, OfBlock array) {
        await.from = run.of_block(array) + run.team.first_block * FEATURES;
        for (int k = 0; k < COUNT; k++) {
            const unsigned at = k * PERSISTENT_THREADS + threadIdx.x;
            await.at[k] = at < run.team.members * FEATURES ? at : await.NOTHING;
        }
        await.begin();
    }

    // `use(e, feature, first, second)` for the examples e and e + 1.
    template <typename Use>
    __device__ void each(const Use &use) const {
#pragma unroll
        for (int k = 0; k < COUNT; k++) {
            const unsigned at = k * PERSISTENT_THREADS + threadIdx.x;
            if (at < TEAM * FEATURES) {
                use(at / FEATURES * MINE, at % FEATURES, await.pairs[k].x, await.pairs[k].y);
            }
        }
    }
};

// Publishes this block's share of a layer: `value(e, feature)` in pairs of examples, and the team's slots as `slot` says, which gets
// a thread's value, whether its example is there, and the feature. Half a warp a feature.
template <int FEATURES, typename Value, typename Slot>
__device__ inline void publish_share(const PersistentRun &run, OfBlock pairs, OfTeam slots, const Value &value, const Slot &slot) {
    const unsigned e = threadIdx.x % TEAM_EXAMPLES, end = run.team.share_end(FEATURES);
#pragma unroll 1
    for (unsigned first = run.team.share(FEATURES); first < end; first += PERSISTENT_THREADS / TEAM_EXAMPLES) {
        const unsigned wished = first + threadIdx.x / TEAM_EXAMPLES, feature = min(wished, end - 1);
        const float own = value(e, feature), other = __shfl_xor_sync(ALL_LANES, own, 1);
        if (wished < end && e % MINE == 0 && e / MINE < run.team.members) {
            publish(run.of_block(pairs) + (run.team.first_block + e / MINE) * FEATURES + feature, own, other, run.tag);
        }
        const float2 sums = slot(own, e, feature);
        if (wished < end && e == 0) {
            publish(run.of_team(slots) + feature * run.team.count + run.team.index, sums.x, sums.y, run.tag);
        }
    }
}

// Publishes this block's share of z [TEAM_EXAMPLES][FEATURES], and the slots of the BatchNorm behind it.
template <int FEATURES>
__device__ inline void publish_z(const PersistentRun &run, OfBlock pairs, OfTeam slots, const float *z) {
    publish_share<FEATURES>(
        run, pairs, slots, [&](unsigned e, unsigned feature) { return z[e * FEATURES + feature]; },
        [&](float own, unsigned e, unsigned) {
            const bool counts = e < run.team.examples;
            const float mean = warp_sum<TEAM_EXAMPLES>(counts ? own : 0.0f) / run.team.examples;
            return make_float2(mean, warp_sum<TEAM_EXAMPLES>(counts ? (own - mean) * (own - mean) : 0.0f));
        });
}

// BatchNorm and sigmoid behind a linear layer, once the team's z and all teams' slots are there: x_hat and y [TEAM_EXAMPLES][FEATURES];
// y of this block's own examples also in the workspace.
template <int FEATURES>
__device__ inline void persistent_normalise(const PersistentRun &run, OfBlock pairs, OfTeam slots, Channel *channels, float *x_hat,
                                            float *y, Work batch_y, unsigned layer, unsigned first_channel) {
    TeamPairs<FEATURES> z;
    z.begin(run, pairs);
    persistent_merge<TEAM_SEGMENT, 1, TEAM_DEPTH>(run, channels, run.of_team(slots), FEATURES, run.team.count, TEAM_EXAMPLES, 1, layer,
                                               first_channel);
    z.await.finish(run.tag);
    __syncthreads();
    z.each([&](unsigned first_example, unsigned feature, float first, float second) {
        const Channel channel = channels[feature];
        for (unsigned k = 0; k < MINE; k++) {
            const unsigned e = first_example + k, i = e * FEATURES + feature;
            x_hat[i] = channel.x_hat(k == 0 ? first : second);
            y[i] = sigmoid_forward(channel.y(x_hat[i]));
            if (run.is_mine(e)) {
                run.work(batch_y)[run.example(e) * FEATURES + feature] = y[i];
            }
        }
    });
    __syncthreads();
}

// The team's flat features, and this block's share of linear1.
__device__ __noinline__ void persistent_linear1() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    TeamLinear<FLAT> linear;
    linear.begin(run.parameters + AT_LINEAR1_WEIGHT, run.team.share(LINEAR1), run.team.share_end(LINEAR1));
    TeamPairs<FLAT> flat;
    flat.begin(run, BLOCK_FLAT);
    flat.await.finish(run.tag);
    flat.each([&](unsigned e, unsigned feature, float first, float second) {
        s.within.linear.flat[e * FLAT + feature] = first;
        s.within.linear.flat[(e + 1) * FLAT + feature] = second;
    });
    __syncthreads();
    linear.run(s.within.linear.flat, run.parameters + AT_LINEAR1_BIAS, s.within.linear.x_hat3, LINEAR1);
    __syncthreads();
    publish_z<LINEAR1>(run, BLOCK_Z3, TEAM_SLOTS3, s.within.linear.x_hat3);
    __syncthreads();
}

// BN 3, the team's y3, and this block's share of linear2.
__device__ __noinline__ void persistent_linear2() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    TeamLinear<LINEAR1> linear;
    linear.begin(run.parameters + AT_LINEAR2_WEIGHT, run.team.share(LINEAR2), run.team.share_end(LINEAR2));
    persistent_normalise<LINEAR1>(run, BLOCK_Z3, TEAM_SLOTS3, s.within.linear.channels3, s.within.linear.x_hat3,
                                  s.within.linear.y3, WORK_Y3, AT_BN3_GAMMA, BN3);
    linear.run(s.within.linear.y3, run.parameters + AT_LINEAR2_BIAS, s.within.linear.layer4.x_hat, LINEAR2);
    __syncthreads();
    publish_z<LINEAR2>(run, BLOCK_Z4, TEAM_SLOTS4, s.within.linear.layer4.x_hat);
    __syncthreads();
}

// Softmax and cross-entropy of one of the team's examples in half a warp, a lane a class: cross_entropy in parallel. Its loss, and
// 1 if the largest logit is the label's, in every lane; d_logits [TEAM_EXAMPLES][CLASSES].
__device__ inline float2 persistent_cross_entropy(const PersistentRun &run, unsigned e) {
    PersistentShared &s = persistent_shared();
    constexpr int SEGMENT = TEAM_EXAMPLES;
    static_assert(CLASSES <= SEGMENT, "a lane a class");
    const unsigned k = threadIdx.x % SEGMENT;
    const bool counts = e < run.team.examples;
    const unsigned label = counts ? run.labels[example_of(run.order[run.example(e)])] : 0;
    // Lanes without a class take the last one's.
    const float logit = s.within.linear.logits[e * CLASSES + min(k, CLASSES - 1u)];
    // The largest, of equal ones the first.
    float largest = logit;
    unsigned best = k;
#pragma unroll
    for (unsigned distance = SEGMENT / 2; distance > 0; distance /= 2) {
        const float other = __shfl_xor_sync(ALL_LANES, largest, distance);
        const unsigned at = __shfl_xor_sync(ALL_LANES, best, distance);
        if (other > largest || (other == largest && at < best)) {
            largest = other;
            best = at;
        }
    }
    const float smoothing = run.settings[SETTING_LABEL_SMOOTHING], share = smoothing / CLASSES;
    const float above = logit - largest, power = k < CLASSES ? expf(above) : 0.0f;
    const float sum = warp_sum<SEGMENT>(power), all = warp_sum<SEGMENT>(k < CLASSES ? above : 0.0f);
    const float label_logit = warp_sum<SEGMENT>(k == label ? above : 0.0f);
    if (k < CLASSES) {
        const float d = (power / sum - (k == label ? 1.0f - smoothing + share : share)) / run.n;
        s.within.linear.d_logits[e * CLASSES + k] = counts ? d : 0.0f;
        if (run.is_mine(e)) {
            run.work(WORK_D_LOGITS)[run.example(e) * D_LOGITS_ROW + k] = d;
        }
    }
    const float loss = logf(sum) - ((1.0f - smoothing) * label_logit + share * all);
    return make_float2(counts ? loss : 0.0f, counts && best == label ? 1.0f : 0.0f);
}

// BN 4, the team's logits and losses, and back to the front of the second hidden layer's sigmoid. This block's share of the slots of
// BN 4; the first block of a team publishes its loss.
__device__ __noinline__ void persistent_loss() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    TeamLinear<LINEAR2> linear;
    linear.begin(run.parameters + AT_LINEAR3_WEIGHT, 0, CLASSES);
    // Four examples of a feature a thread, later.
    constexpr unsigned QUADS = TEAM_EXAMPLES / VECTOR;
    const unsigned feature = min(threadIdx.x / QUADS, LINEAR2 - 1u), first_example = threadIdx.x % QUADS * VECTOR;
    float w[CLASSES];
#pragma unroll
    for (int k = 0; k < CLASSES; k++) {
        w[k] = run.parameters[AT_LINEAR3_WEIGHT + k * LINEAR2 + feature];
    }
    persistent_normalise<LINEAR2>(run, BLOCK_Z4, TEAM_SLOTS4, s.within.linear.channels4, s.within.linear.layer4.x_hat,
                                  s.within.linear.layer4.y, WORK_Y4, AT_BN4_GAMMA, BN4);
    linear.run(s.within.linear.layer4.y, run.parameters + AT_LINEAR3_BIAS, s.within.linear.logits, CLASSES);
    __syncthreads();
    if (warp() < TEAM_EXAMPLES / 2) {
        const float2 one = persistent_cross_entropy(run, threadIdx.x / TEAM_EXAMPLES);
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
            d_y += w[c] * s.within.linear.d_logits[e * CLASSES + c];
        }
        d[k] = sigmoid_backward(d_y, s.within.linear.layer4.y[e * LINEAR2 + feature]);
        sum += d[k];
        along += d[k] * s.within.linear.layer4.x_hat[e * LINEAR2 + feature];
    }
    sum = warp_sum<QUADS>(sum);
    along = warp_sum<QUADS>(along);
    if (threadIdx.x % QUADS == 0 && threadIdx.x / QUADS >= run.team.share(LINEAR2) &&
        threadIdx.x / QUADS < run.team.share_end(LINEAR2)) {
        publish(run.of_team(TEAM_D_SLOTS4) + feature * run.team.count + run.team.index, sum, along, run.tag);
    }
    if (warp() == PERSISTENT_WARPS - 1 && run.team.member == 0) {
        const float *one = s.within.linear.parts + 2 * (lane() % TEAM_EXAMPLES);
        const float loss = warp_sum<TEAM_EXAMPLES>(one[0]), hits = warp_sum<TEAM_EXAMPLES>(one[1]);
        if (lane() == 0) {
            publish(run.of_team(TEAM_LOSS) + run.team.index, loss, hits, run.tag);
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
    const unsigned end = run.team.share_end(LINEAR1);
    TeamGradient<LINEAR2, LINEAR1> gradient;
    gradient.begin(run.parameters + AT_LINEAR2_WEIGHT, run.team.share(LINEAR1), end);
    persistent_merge_backward<TEAM_SEGMENT, 1, TEAM_DEPTH, 1>(run, s.within.linear.gradients4, run.of_team(TEAM_D_SLOTS4), LINEAR2,
                                                           run.team.count, 1, AT_BN4_GAMMA);
    __syncthreads();
    if (threadIdx.x == 0) {
        const ChannelGradient &last = s.within.linear.gradients4[LINEAR2];
        s.loss = make_float2(last.mean_d_y, last.mean_d_y_x_hat);
    }
    float *const d4 = s.within.linear.layer4.y;
    for (unsigned i = threadIdx.x; i < LINEAR2 * TEAM_EXAMPLES; i += blockDim.x) {
        const unsigned feature = i / TEAM_EXAMPLES, e = i % TEAM_EXAMPLES;
        d4[i] = s.within.linear.gradients4[feature].d_x(s.within.linear.channels4[feature], d4[i],
                                                        s.within.linear.layer4.x_hat[e * LINEAR2 + feature]);
        if (run.is_mine(e)) {
            run.work(WORK_D_Y4)[run.example(e) * LINEAR2 + feature] = d4[i];
        }
    }
    __syncthreads();
#pragma unroll 1
    for (unsigned first = run.team.share(LINEAR1); first < end; first += LANES) {
        if (first != run.team.share(LINEAR1)) {
            gradient.begin(run.parameters + AT_LINEAR2_WEIGHT, first, end);
        }
        gradient.run(d4, s.within.linear.parts);
        __syncthreads();
        const unsigned e = warp(), i = e * LINEAR1 + first + lane();
        if (first + lane() < end) {
            s.within.linear.y3[i] = sigmoid_backward(sum_of_parts(s.within.linear.parts, e), s.within.linear.y3[i]);
        }
        __syncthreads();
    }
    publish_share<LINEAR1>(
        run, BLOCK_D_Z3, TEAM_D_SLOTS3, [&](unsigned e, unsigned feature) { return s.within.linear.y3[e * LINEAR1 + feature]; },
        [&](float own, unsigned e, unsigned feature) {
            const float d = e < run.team.examples ? own : 0.0f;
            return make_float2(warp_sum<TEAM_EXAMPLES>(d),
                               warp_sum<TEAM_EXAMPLES>(d * s.within.linear.x_hat3[e * LINEAR1 + feature]));
        });
    __syncthreads();
}

// BN 3 backward, and this block's share of the team's d_flat.
__device__ __noinline__ void persistent_d_flat() {
    PersistentShared &s = persistent_shared();
    const PersistentRun &run = s.run;
    const unsigned begin = run.team.share(FLAT), end = run.team.share_end(FLAT);
    TeamGradient<LINEAR1, FLAT> gradient;
    gradient.begin(run.parameters + AT_LINEAR1_WEIGHT, begin, end);
    TeamPairs<LINEAR1> d_z;
    d_z.begin(run, BLOCK_D_Z3);
    persistent_merge_backward<TEAM_SEGMENT, 1, TEAM_DEPTH>(run, s.within.linear.gradients3, run.of_team(TEAM_D_SLOTS3), LINEAR1,
                                                        run.team.count, 1, AT_BN3_GAMMA);
    d_z.await.finish(run.tag);
    __syncthreads();
    d_z.each([&](unsigned first_example, unsigned feature, float first, float second) {
        for (unsigned k = 0; k < MINE; k++) {
            const unsigned e = first_example + k;
            const float d = s.within.linear.gradients3[feature].d_x(s.within.linear.channels3[feature], k == 0 ? first : second,
                                                                    s.within.linear.x_hat3[e * LINEAR1 + feature]);
            s.within.linear.d_y3[feature * TEAM_EXAMPLES + e] = d;
            if (run.is_mine(e)) {
                run.work(WORK_D_Y3)[run.example(e) * LINEAR1 + feature] = d;
            }
        }
    });
    __syncthreads();
#pragma unroll 1
    for (unsigned first = begin; first < end; first += LANES) {
        if (first != begin) {
            gradient.begin(run.parameters + AT_LINEAR1_WEIGHT, first, end);
        }
        gradient.run(s.within.linear.d_y3, s.within.linear.parts);
        __syncthreads();
        const unsigned member = warp(), feature = first + lane();
        if (member < run.team.members && feature < end) {
            publish(run.of_block(BLOCK_D_FLAT) + (run.team.first_block + member) * FLAT + feature,
                    sum_of_parts(s.within.linear.parts, member * MINE), sum_of_parts(s.within.linear.parts, member * MINE + 1), run.tag);
        }
        __syncthreads();
    }
}
