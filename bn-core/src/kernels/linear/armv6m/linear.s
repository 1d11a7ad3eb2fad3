@ Linear layers: two blocks of four outputs over all quads of inputs, int8 weights multiplied as they lie in flash, in Thumb-1.
@
@       a halfword of weights h:  256 w1 + w0                  sum += h * a1
@       sxtb h:                            w0                  sum += sxtb h * (256 a0 - a1)
@
@ which adds 256 (w0 a0 + w1 a1). the stream's `check` has proved that no sum leaves 32 bits.

@ void bn_lenet_linear_blocks(const Quad *input, const Quad *end, const uint32_t *const weights[2], int32_t (*sums)[2][4]): adds the
@ products of both blocks to the sums, one block after the other.

odd1    .req r2
even0   .req r3
odd3    .req r4
even2   .req r5

.set    BNL_INPUT, 0
.set    BNL_SECOND, 4
.set    BNL_SUMS, 8
.set    BNL_FRAME, 12                           @ with the nine registers saved, 8-aligned

        BN_FUNCTION bn_lenet_linear_blocks
        sub     sp, #BNL_FRAME
        mov     r12, r1
        ldr     r1, [r2]
        ldr     r2, [r2, #4]
        str     r0, [sp, #BNL_INPUT]
        str     r2, [sp, #BNL_SECOND]
        str     r3, [sp, #BNL_SUMS]
@ Four weights of one output, all of which lie in one word.
.macro BNL_PRODUCTS at, sum
        ldr     r6, [r1, #\at]
        sxth    r7, r6
        muls    r7, odd1, r7
        add     \sum, r7
        sxtb    r7, r6
        muls    r7, even0, r7
        add     \sum, r7
        asrs    r6, r6, #16
        sxtb    r7, r6
        muls    r7, even2, r7
        add     \sum, r7
        muls    r6, odd3, r6
        add     \sum, r6
.endm
1:      @ a block
        ldm     r3!, {r4-r7}
        mov     r8, r4
        mov     r9, r5
        mov     r10, r6
        mov     r11, r7
2:      @ a quad
        ldm     r0!, {r4, r5}
        sxth    odd1, r4
        sxth    even0, r5
        asrs    odd3, r4, #16
        asrs    even2, r5, #16
        BNL_PRODUCTS 0, r8
        BNL_PRODUCTS 4, r9
        BNL_PRODUCTS 8, r10
        BNL_PRODUCTS 12, r11
        adds    r1, #16
        cmp     r0, r12
        bne     2b
        ldr     r3, [sp, #BNL_SUMS]
        mov     r4, r8
        mov     r5, r9
        mov     r6, r10
        mov     r7, r11
        stm     r3!, {r4-r7}
        str     r3, [sp, #BNL_SUMS]
        ldr     r1, [sp, #BNL_SECOND]
        cmp     r1, #0
        beq     3f
        movs    r2, #0                          @ the second block is the last
        str     r2, [sp, #BNL_SECOND]
        ldr     r0, [sp, #BNL_INPUT]
        b       1b
3:
        BN_RETURN bn_lenet_linear_blocks, BNL_FRAME
