/* Each answer of a library's functions, with two networks in one program. */
#include <stdio.h>
#include <string.h>

#include "lenet.h"
#include "model.h"

static uint32_t copy[BN_LENET_WEIGHTS_BYTES / 4 + 1];
static uint32_t memory[BN_LENET_ARENA_BYTES / 4 + 1];
static bn_model_arena arena;
static uint8_t image[BN_LENET_INPUT_BYTES], picture[BN_MODEL_INPUT_BYTES];
static const char *const names[] = BN_LENET_CLASS_NAMES;

static int wrong;

static void expect(const char *what, long is, long wanted)
{
    if (is != wanted) {
        printf("%s: %ld, not %ld\n", what, is, wanted);
        wrong = 1;
    }
}

static int32_t check(size_t bytes)
{
    return bn_lenet_check(copy, bytes);
}

int main(void)
{
    const size_t bytes = sizeof bn_lenet_weights;
    bn_lenet_arena *lenet_arena = (bn_lenet_arena *)memory;
    bn_lenet_logit logits[BN_LENET_OUTPUTS];
    bn_model_logit others[BN_MODEL_OUTPUTS];
    int32_t class, largest = 0;
    const bn_lenet *lenet;

    memcpy(copy, bn_lenet_weights, bytes);
    expect("whole", check(bytes), BN_LENET_OK);
    expect("NULL", bn_lenet_check(NULL, 0), BN_LENET_ERROR_MISALIGNED);
    expect("shorter", check(bytes - 4), BN_LENET_ERROR_LENGTH);
    expect("nothing", check(0), BN_LENET_ERROR_LENGTH);
    expect("other plan", bn_lenet_check(bn_model_weights, sizeof bn_model_weights), BN_LENET_ERROR_PLAN);
    memmove((char *)copy + 1, bn_lenet_weights, bytes);
    expect("misaligned", bn_lenet_check((char *)copy + 1, bytes), BN_LENET_ERROR_MISALIGNED);
    memcpy(copy, bn_lenet_weights, bytes);
    copy[bytes / 8] ^= 1;
    expect("a bit", check(bytes), BN_LENET_ERROR_CHECKSUM);
    expect("open", bn_lenet_open(copy, bytes) == NULL, 1);
    memset(copy, 0xFF, bytes);
    expect("erased", check(bytes), BN_LENET_ERROR_ERASED);

    /* A model anywhere else, as a retrained one would be. */
    memcpy(copy, bn_lenet_weights, bytes);
    lenet = bn_lenet_open(copy, bytes);
    class = bn_lenet_predict(lenet, image, lenet_arena, logits);
    for (int output = 1; output < BN_LENET_OUTPUTS; output++) {
        largest = logits[output] > logits[largest] ? output : largest;
    }
    expect("class", class, largest);
    expect("without logits", bn_lenet_predict(lenet, image, lenet_arena, NULL), class);
    expect("no model", bn_lenet_predict(NULL, image, lenet_arena, logits), -1);
    expect("no input", bn_lenet_predict(lenet, NULL, lenet_arena, logits), -1);
    expect("no arena", bn_lenet_predict(lenet, image, NULL, logits), -1);
    expect("arena", bn_lenet_predict(lenet, image, (bn_lenet_arena *)(void *)((char *)memory + 2), logits), -1);
    expect("names", strlen(names[9]), strlen("ankle boot"));
    expect("quantize", bn_lenet_quantize(199.6f), 200);
    expect("saturate", bn_lenet_quantize(-5.0f) + bn_lenet_quantize(300.0f), 255);

    class = bn_model_predict(bn_model_open(bn_model_weights, sizeof bn_model_weights), picture, &arena, others);
    expect("other network", class >= 0 && class < BN_MODEL_OUTPUTS && others[class] >= others[0], 1);
    puts(wrong ? "wrong" : "all of it");
    return wrong;
}
