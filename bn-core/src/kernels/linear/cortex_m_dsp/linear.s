@ Linear layers: blocks of four outputs over quads of inputs, int8 weights multiplied as they lie in flash.
@
@       one word of weights W:   256 w1 + w0 | 256 w3 + w2         acc += W . odd          odd  = a1 | a3
@       sxtb16 W:                         w0 | w2                  acc += sxtb16 W . even  even = 256 a0 - a1 | 256 a2 - a3
@
@ which adds 256 (w0 a0 + w1 a1 + w2 a2 + w3 a3): three instructions for four products, and 0.84 with all loads.
@ the stream's `check` has proved that no sum leaves 32 bits.

in_odd0         .req r2
in_even0        .req r3
in_odd1         .req r12
in_even1        .req lr

@ void bn_lenet_linear(const struct { const Quad *input; const uint32_t *weight; const int32_t *bias;
@     const int32_t *multiplier; const int8_t *sigmoid; Quad *output; uint32_t blocks; uint32_t quads; } *)
@ `quads` is 64, 30 or 22. Without a table the output is four i32 a block, the logits.
.set    BNL_INPUT, 0
.set    BNL_WEIGHT, 4
.set    BNL_BIAS, 8
.set    BNL_MULTIPLIER, 12
.set    BNL_TABLE, 16
.set    BNL_OUTPUT, 20
.set    BNL_BLOCKS, 24
.set    BNL_QUADS, 28
.set    BNL_END, 32                             @ the input's, in the small build
.set    BNL_FRAME, 36

.macro BNL_PRODUCTS odd, even
        ldm     r1!, {r8-r11}
        smlad   r4, r8, \odd, r4
        sxtb16  r8, r8
        smlad   r4, r8, \even, r4
        smlad   r5, r9, \odd, r5
        sxtb16  r9, r9
        smlad   r5, r9, \even, r5
        smlad   r6, r10, \odd, r6
        sxtb16  r10, r10
        smlad   r6, r10, \even, r6
        smlad   r7, r11, \odd, r7
        sxtb16  r11, r11
        smlad   r7, r11, \even, r7
.endm
.macro BNL_TWO_QUADS
        ldm     r0!, {in_odd0, in_even0, in_odd1, in_even1}
        BNL_PRODUCTS in_odd0, in_even0
        BNL_PRODUCTS in_odd1, in_even1
.endm

@ The function itself. \small: a loop over the quads, and half a table.
.macro BNL_LAYER name, small
        BN_FUNCTION \name
        sub     sp, #BNL_FRAME
        ldm     r0, {r1-r8}
        stm     sp, {r1-r8}
        mov     r1, r2
1:      @ a block
        ldr     r2, [sp, #BNL_BIAS]
        ldm     r2!, {r4-r7}
        str     r2, [sp, #BNL_BIAS]
        ldr     r0, [sp, #BNL_INPUT]
.if \small
        ldr     r2, [sp, #BNL_QUADS]
        add     r2, r0, r2, lsl #3
        str     r2, [sp, #BNL_END]
4:
        BNL_TWO_QUADS
        ldr     r2, [sp, #BNL_END]
        cmp     r0, r2
        bne     4b
.else
        ldr     r2, [sp, #BNL_QUADS]
        cmp     r2, #30
        beq.w   30f
        blt.w   22f
.rept   17
        BNL_TWO_QUADS
.endr
30:
.rept   4
        BNL_TWO_QUADS
.endr
22:
.rept   11
        BNL_TWO_QUADS
.endr
.endif
        ldr     r2, [sp, #BNL_MULTIPLIER]
        ldm     r2!, {r8-r11}
        str     r2, [sp, #BNL_MULTIPLIER]
        smmulr  r4, r4, r8
        smmulr  r5, r5, r9
        smmulr  r6, r6, r10
        smmulr  r7, r7, r11
        ldr     r3, [sp, #BNL_OUTPUT]
        ldr     r2, [sp, #BNL_TABLE]
        cbz     r2, 2f
.irp    output, r4, r5, r6, r7
        usat    \output, #10, \output
.endr
.irp    output, r4, r5, r6, r7
.if \small
        BN_HALF_TABLE \output, r2
.else
        ldrsb   \output, [r2, \output]
.endif
.endr
        pkhbt   r8, r5, r7, lsl #16             @ odd
        rsb     r4, r5, r4, lsl #8
        rsb     r6, r7, r6, lsl #8
        pkhbt   r9, r4, r6, lsl #16             @ even
        stm     r3!, {r8, r9}
        b       3f
2:
        stm     r3!, {r4-r7}
3:
        str     r3, [sp, #BNL_OUTPUT]
        ldr     r3, [sp, #BNL_BLOCKS]
        subs    r3, #1
        str     r3, [sp, #BNL_BLOCKS]
        bne.w   1b
        BN_RETURN \name, BNL_FRAME
.endm
        BNL_LAYER bn_lenet_linear, 0
        BNL_LAYER bn_lenet_small_linear, 1
