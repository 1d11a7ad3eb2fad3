"""JAX: a whole epoch as one scan over its batches, compiled once; a step at a time, or several in the body of its loop."""

import functools
import os
import time

from data import BATCH, CLASSES, EPS, LR, MOMENTUM

# (weight's shape, whether a BatchNorm follows)
LAYERS = [((6, 1, 5, 5), True), ((16, 6, 5, 5), True), ((120, 256), True), ((84, 120), True), ((10, 84), False)]


# Steps in the body of the scan's loop.
UNROLL = {"jax-scan": 1, "jax-scan-unrolled": 13}


def train(name, splits, epochs, seed, device):
    if device == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    import jax
    import jax.numpy as jnp

    def init(key):
        layers, moving = [], []
        for shape, normalised in LAYERS:
            key, weight_key, bias_key = jax.random.split(key, 3)
            receptive = shape[2] * shape[3] if len(shape) == 4 else 1
            fan_in, fan_out = shape[1] * receptive, shape[0] * receptive
            bound, bias_bound = (6 / (fan_in + fan_out)) ** 0.5, fan_in**-0.5
            layer = {
                "weight": jax.random.uniform(weight_key, shape, minval=-bound, maxval=bound),
                "bias": jax.random.uniform(bias_key, shape[:1], minval=-bias_bound, maxval=bias_bound),
            }
            if normalised:
                layer |= {"gamma": jnp.ones(shape[0]), "beta": jnp.zeros(shape[0])}
                moving.append((jnp.zeros(shape[0]), jnp.ones(shape[0])))
            layers.append(layer)
        return layers, moving

    def linear_or_conv(x, layer):
        if layer["weight"].ndim == 2:
            return x.reshape(len(x), -1) @ layer["weight"].T + layer["bias"]
        dims = ("NCHW", "OIHW", "NCHW")
        return jax.lax.conv_general_dilated(x, layer["weight"], (1, 1), "VALID", dimension_numbers=dims) + layer["bias"][:, None, None]

    def normalise(x, layer, mean, var):
        shape = (1, -1, 1, 1) if x.ndim == 4 else (1, -1)
        mean, var, gamma, beta = (v.reshape(shape) for v in (mean, var, layer["gamma"], layer["beta"]))
        return gamma * (x - mean) / jnp.sqrt(var + EPS) + beta

    def pool(x):
        n, c, h, w = x.shape
        return x.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))

    def apply(layers, x, statistics):
        """`statistics(x, i)` gives mean and variance of BatchNorm i. Returns logits and what it gave."""
        used = []
        for i, layer in enumerate(layers):
            x = linear_or_conv(x, layer)
            if "gamma" in layer:
                mean, var = statistics(x, i)
                used.append((mean, var))
                x = jax.nn.sigmoid(normalise(x, layer, mean, var))
                x = pool(x) if x.ndim == 4 else x
        return x, used

    def of_batch(x, _):
        axes = (0, 2, 3) if x.ndim == 4 else (0,)
        return x.mean(axes), x.var(axes)

    def loss_of(layers, x, y):
        logits, used = apply(layers, x, of_batch)
        loss = -(jax.nn.log_softmax(logits) * jax.nn.one_hot(y, CLASSES)).sum(1).mean()
        return loss, (used, (logits.argmax(1) == y).sum())

    def pixels(images):
        return images[:, None].astype(jnp.float32) / 255

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def epoch(layers, moving, key, images, labels):
        steps = len(labels) // BATCH
        batches = jax.random.permutation(key, len(labels))[: steps * BATCH].reshape(steps, BATCH)

        def step(carry, batch):
            layers, moving = carry
            gradient = jax.value_and_grad(loss_of, has_aux=True)
            (loss, (used, correct)), d_layers = gradient(layers, pixels(images[batch]), labels[batch])
            layers = jax.tree.map(lambda p, d: p - LR * d, layers, d_layers)
            moving = jax.tree.map(lambda old, new: (1 - MOMENTUM) * old + MOMENTUM * new, moving, used)
            return (layers, moving), (loss, correct)

        (layers, moving), (losses, correct) = jax.lax.scan(step, (layers, moving), batches, unroll=UNROLL[name])
        return layers, moving, losses.mean(), correct.sum() / (steps * BATCH)

    @jax.jit
    def test(layers, moving, images, labels):
        logits, _ = apply(layers, pixels(images), lambda x, i: moving[i])
        return (logits.argmax(1) == labels).mean()

    images, labels, test_images, test_labels = map(jnp.asarray, splits)
    key, init_key = jax.random.split(jax.random.key(seed))
    layers, moving = init(init_key)
    speeds = []
    for _ in range(epochs):
        key, epoch_key = jax.random.split(key)
        jax.block_until_ready((layers, moving))
        start = time.perf_counter()
        layers, moving, loss, accuracy = epoch(layers, moving, epoch_key, images, labels)
        loss, accuracy = float(loss), float(accuracy)
        speeds.append(len(labels) // BATCH * BATCH / (time.perf_counter() - start))
    return {
        "epoch_examples_per_second": speeds,
        "train_loss": loss,
        "train_accuracy": accuracy,
        "test_accuracy": float(test(layers, moving, test_images, test_labels)),
        "device": f"{jax.devices()[0].device_kind}, JAX {jax.__version__}",
    }
