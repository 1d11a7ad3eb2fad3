/* Runs a network on an input and prints what it says.
 *
 *     cargo trainer library weights.bin --out .
 *     arm-none-eabi-gcc -mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16 -O2 -Wall -Wextra -I. \
 *         --specs=rdimon.specs -Wl,--gc-sections -T mps2.ld main.c startup.c libmodel.a -o main.elf
 *     qemu-system-arm -machine mps2-an386 -nographic -semihosting-config enable=on,target=native -kernel main.elf
 */
#include <inttypes.h>
#include <stdio.h>

#include "model.h"

/* All the memory that an inference takes, in a section of your choice. */
__attribute__((section(".ccmram"))) static bn_model_arena arena;

static uint8_t input[BN_MODEL_INPUT_BYTES];

int main(void)
{
    FILE *sensor = fopen("input.bin", "rb");
    if (sensor == NULL || fread(input, sizeof input, 1, sensor) != 1) {
        printf("no input.bin of %d bytes\n", BN_MODEL_INPUT_BYTES);
        return 1;
    }
    const bn_model *model = bn_model_open(bn_model_weights, BN_MODEL_WEIGHTS_BYTES);
    bn_model_logit logits[BN_MODEL_OUTPUTS];
    int32_t class = bn_model_predict(model, input, &arena, logits);
    if (class < 0) {
        printf("refused, reason %" PRId32 "\n", bn_model_check(bn_model_weights, BN_MODEL_WEIGHTS_BYTES));
        return 1;
    }
#ifdef BN_MODEL_CLASS_NAMES
    static const char *const names[] = BN_MODEL_CLASS_NAMES;
    printf("class %" PRId32 " (%s)\n", class, names[class]);
#endif
    printf("logits [");
    for (int output = 0; output < BN_MODEL_OUTPUTS; output++) {
        printf("%s%" PRId32, output > 0 ? ", " : "", (int32_t)logits[output]);
    }
    printf("], in units of %g\n", (double)BN_MODEL_OUTPUT_SCALE);
    return 0;
}
