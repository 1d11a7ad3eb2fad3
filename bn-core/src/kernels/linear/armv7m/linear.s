@ Linear layers: two blocks of four outputs over all quads of inputs, int8 weights multiplied as they lie in flash.
@
@       a halfword of weights h:  256 w1 + w0                  sum += h * a1
@       sxtb h:                            w0                  sum += sxtb h * (256 a0 - a1)
@
@ which adds 256 (w0 a0 + w1 a1): four instructions for two products. the stream's `check` has proved that no sum leaves 32 bits.

@ void bn_lenet_linear_blocks(const Quad *input, const Quad *end, const uint32_t *const weights[2], int32_t (*sums)[2][4]): adds the
@ products of both blocks to the sums. Input and end are an even number of quads apart.
        .section .text.bn_lenet_linear_blocks, "ax", %progbits
        .global bn_lenet_linear_blocks
        .type   bn_lenet_linear_blocks, %function
        .thumb_func

input   .req r0
first   .req r1
second  .req r2
odd     .req r3
even    .req r4
h       .req r5

bn_lenet_linear_blocks:
        push    {r1, r3, r4-r11, lr}
        sub     sp, #4
        ldm     r2, {first, second}
        ldm     r3, {r6-r12, lr}
.macro BNL_PRODUCTS weights, at, acc
        ldrsh   h, [\weights, #\at]
        mla     \acc, h, odd, \acc
        sxtb    h, h
        mla     \acc, h, even, \acc
.endm
@ Two inputs; \half: 0 or 2, the half of each word.
.macro BNL_INPUTS quad, half
        ldrsh   odd, [input, #8 * \quad + \half]
        ldrsh   even, [input, #8 * \quad + 4 + \half]
        BNL_PRODUCTS first, 16 * \quad + \half, r6
        BNL_PRODUCTS first, 16 * \quad + \half + 4, r7
        BNL_PRODUCTS first, 16 * \quad + \half + 8, r8
        BNL_PRODUCTS first, 16 * \quad + \half + 12, r9
        BNL_PRODUCTS second, 16 * \quad + \half, r10
        BNL_PRODUCTS second, 16 * \quad + \half + 4, r11
        BNL_PRODUCTS second, 16 * \quad + \half + 8, r12
        BNL_PRODUCTS second, 16 * \quad + \half + 12, lr
.endm
1:
        BNL_INPUTS 0, 0
        BNL_INPUTS 0, 2
        BNL_INPUTS 1, 0
        BNL_INPUTS 1, 2
        add     input, #16
        add     first, #32
        add     second, #32
        ldr     h, [sp, #4]
        cmp     input, h
        bne.w   1b
        ldr     h, [sp, #8]
        stm     h, {r6-r12, lr}
        BN_RETURN bn_lenet_linear_blocks, 12
