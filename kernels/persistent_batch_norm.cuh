// BatchNorm in the persistent kernel: what a block or a team leaves for all others in a slot, and how the slots are merged. The
// formulas: batch_norm.cuh.
#pragma once

#include "persistent.cuh"

// A slot of BatchNorm forward is the mean of some values and the sum of their squared distances from it (M2). Slots are merged as
// Chan et al. 1983 do, so that no variance is ever the small difference of large sums; and nothing but this step's values goes
// into them, so that a step's bits do not depend on the call that it belongs to.

// The slot of a thread's own values.
template <int COUNT>
__device__ inline float2 slot_of(const float (&values)[COUNT]) {
    float mean = 0.0f, m2 = 0.0f;
#pragma unroll
    for (int k = 0; k < COUNT; k++) {
        mean += values[k];
    }
    mean *= 1.0f / COUNT;
#pragma unroll
    for (int k = 0; k < COUNT; k++) {
        m2 += (values[k] - mean) * (values[k] - mean);
    }
    return make_float2(mean, m2);
}

// The slot of a block's examples, from slots of `values` values a lane: EXAMPLE_LANES neighbours hold one example, as many beside
// them the other. The first lane of both gets it; where the other example is missing, it is the first one's alone.
template <unsigned EXAMPLE_LANES>
__device__ inline float2 block_slot(float2 slot, float values) {
    const bool both = persistent_shared().run.mine == MINE;
#pragma unroll
    for (unsigned i = 1; i <= EXAMPLE_LANES; i *= 2) {
        const float mean = __shfl_xor_sync(ALL_LANES, slot.x, i), m2 = __shfl_xor_sync(ALL_LANES, slot.y, i);
        const float apart = mean - slot.x, half = values * i * 0.5f;
        if (i < EXAMPLE_LANES || both) {
            slot = make_float2((slot.x + mean) * 0.5f, slot.y + m2 + apart * apart * half);
        }
    }
    return slot;
}

// BatchNorm forward of a channel, number `at` of all BatchNorms', whose values are VALUES an example: what is known before the
// slots are there. Each of up to SLOTS slots is of EXAMPLES examples, the last one perhaps of fewer.
template <unsigned SLOTS, unsigned EXAMPLES, unsigned VALUES>
struct Merge {
    unsigned at, whole_slots;
    float rest, share, eps, gamma, beta;

    __device__ explicit Merge(unsigned channel) {
        const PersistentShared &s = persistent_shared();
        at = channel;
        whole_slots = s.run.n / EXAMPLES;
        rest = s.run.n % EXAMPLES;
        share = s.run.share;
        eps = s.run.eps;
        gamma = s.gamma[channel];
        beta = s.beta[channel];
    }
    // Sums over some slots, to be added up in any way: of the distances from the mean `first` of the first slot, which is so near
    // the batch's that nothing cancels, in examples, and of squared distances from it. `number(k)` is the place of slot k.
    template <int COUNT, typename Number>
    __device__ float2 sums(const float2 (&slots)[COUNT], float first, const Number &number) const {
        float sum = 0.0f, squares = 0.0f, m2 = 0.0f;
#pragma unroll
        for (int k = 0; k < COUNT; k++) {
            m2 += slots[k].y;
        }
        // The largest batch, in which all slots are whole, takes fewer instructions.
        if (whole_slots == SLOTS) {
#pragma unroll
            for (int k = 0; k < COUNT; k++) {
                const float apart = slots[k].x - first;
                sum += apart;
                squares += apart * apart;
            }
            return make_float2(EXAMPLES * sum, m2 + squares * (EXAMPLES * VALUES));
        }
#pragma unroll
        for (int k = 0; k < COUNT; k++) {
            const float examples = number(k) < whole_slots ? EXAMPLES : number(k) == whole_slots ? rest : 0.0f;
            const float apart = slots[k].x - first;
            sum += examples * apart;
            squares += examples * apart * apart;
        }
        return make_float2(sum, m2 + squares * VALUES);
    }
    // From the sums over all slots. Block 0 also leaves both statistics for the moving ones.
    __device__ Channel channel(float2 sums, float first) const {
        const PersistentRun &run = persistent_shared().run;
        const float apart = sums.x * share, var = sums.y * (share * (1.0f / VALUES)) - apart * apart;
        const float mean = first + apart, variance = var < 0.0f ? 0.0f : var;
        if (blockIdx.x == 0) {
            run.batch_mean[at] = mean;
            run.batch_var[at] = variance;
        }
        return {mean, approximate_inverse_root(variance + eps), gamma, beta};
    }
};

// BatchNorm backward from the sums of (d_y, d_y * x_hat) over the slots of channel `c`. Block 0 also leaves the gradients of
// gamma, which lie at `at_gamma`, and of beta. `share` is that of a value, and known before the slots are.
__device__ inline ChannelGradient persistent_gradient(float2 sums, unsigned c, unsigned channels, float share,
                                                      unsigned at_gamma) {
    const PersistentRun &run = persistent_shared().run;
    if (blockIdx.x == 0) {
        run.gradients[at_gamma + c] = sums.y;
        run.gradients[at_gamma + channels + c] = sums.x;
    }
    return {sums.x * share, sums.y * share};
}

// The blocks' slots of a channel, four a lane of a warp, and their sums in every lane.
__device__ inline unsigned block_of(int k) { return lane() + k * LANES; }
__device__ inline bool is_block(int k) { return block_of(k) < gridDim.x; }
__device__ inline float2 sum_of_blocks(Await<BLOCKS / LANES, LANES> &await) {
    await.finish();
    float2 sums = await.pairs[0];
#pragma unroll
    for (int k = 1; k < BLOCKS / static_cast<int>(LANES); k++) {
        sums = make_float2(sums.x + await.pairs[k].x, sums.y + await.pairs[k].y);
    }
    return make_float2(warp_sum(sums.x), warp_sum(sums.y));
}
__device__ inline float2 gather_blocks(Exchange slots, unsigned channel) {
    const PersistentRun &run = persistent_shared().run;
    Await<BLOCKS / LANES, LANES> await;
    await.begin(run.at(slots) + channel * BLOCKS + lane(), run.tag, is_block);
    return sum_of_blocks(await);
}

// BatchNorm forward of a convolution's channel, by a warp, from the blocks' slots at `slots`; the BatchNorm's first channel is
// number FIRST_CHANNEL of all, and its maps have MAP values.
template <unsigned FIRST_CHANNEL, unsigned MAP>
__device__ inline void gather_channel(Channel *to, Exchange slots, unsigned channel) {
    const PersistentRun &run = persistent_shared().run;
    Await<BLOCKS / LANES, LANES> await;
    const Merge<BLOCKS, MINE, MAP> merge(FIRST_CHANNEL + channel);
    await.begin(run.at(slots) + channel * BLOCKS + lane(), run.tag, is_block);
    await.finish();
    const float first = __shfl_sync(ALL_LANES, await.pairs[0].x, 0);
    float2 sums = merge.sums(await.pairs, first, block_of);
    sums = make_float2(warp_sum(sums.x), warp_sum(sums.y));
    if (lane() == 0) {
        to[channel] = merge.channel(sums, first);
    }
}

// The teams' slots of a channel, one thread's.
template <int CHANNELS>
__device__ inline void begin_teams(Await<TEAMS, CHANNELS> &await, Exchange slots, unsigned channel) {
    const PersistentRun &run = persistent_shared().run;
    const int count = run.team.count;
    await.begin(run.at(slots) + channel, run.tag, [&](int k) { return k < count; });
}
// Their sums.
template <int CHANNELS>
__device__ inline float2 gather_teams(Exchange slots, unsigned channel) {
    Await<TEAMS, CHANNELS> await;
    begin_teams(await, slots, channel);
    await.finish();
    float2 sums = await.pairs[0];
#pragma unroll
    for (int k = 1; k < TEAMS; k++) {
        sums = make_float2(sums.x + await.pairs[k].x, sums.y + await.pairs[k].y);
    }
    return sums;
}
// BatchNorm forward of a linear layer's feature; the BatchNorm's first channel is number FIRST_CHANNEL of all.
template <int CHANNELS, unsigned FIRST_CHANNEL>
__device__ inline Channel gather_feature(Exchange slots, unsigned feature) {
    Await<TEAMS, CHANNELS> await;
    begin_teams(await, slots, feature);
    const Merge<TEAMS, TEAM_EXAMPLES, 1> merge(FIRST_CHANNEL + feature);
    await.finish();
    const float first = await.pairs[0].x;
    return merge.channel(merge.sums(await.pairs, first, [](unsigned k) { return k; }), first);
}
