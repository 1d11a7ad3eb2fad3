@ Convolution 1 of the small build: one pooled row of all channels from the transformed rows under it, which takes less code
@ than the two at once of conv1.s. The table is the upper half of a centred one.
@
@       window   [tile 6][point 8][3 pairs of input rows]          lanes   [channel 6][point 8][upper, lower][3 pairs]
@
@       input rows  a b | c d | e f      one word holds two rows of a column
@       upper       w0 w1 w2 w3 w4 .     output row above: three SMLAD a point
@       lower       .  w0 w1 w2 w3 w4    output row below: the same three words of data
@
@ A tile is 4 columns of both rows: 8 outputs, 2 pooled values. Points +p and -p are summed as in conv1.s; here even and odd
@ are made at once and lie on the stack. Registers: data r0, weights r1, three words of data r2, r3 and r12.

@ void bn_lenet_transform_rows(const uint8_t *rows, uint32_t *window): two rows of pixels become the third pair of every
@ tile's window, whose other two move up. Reads 56 bytes at any address, LDR may be unaligned.
        BN_FUNCTION bn_lenet_transform_rows
        add     t0, r1, #576                    @ the window's end
        push    {t0, lr}                        @ lr only keeps the stack 8-aligned

.macro BN_SHIFT_IN result, point, u, v
        ldrd    \u, \v, [r1, #12 * \point + 4]
        strd    \u, \v, [r1, #12 * \point]
        str     \result, [r1, #12 * \point + 8]
.endm
1:
        BN_PAIR_ROWS 0, i0, i1, i2, i3
        BN_PAIR_ROWS 4, i4, i5, i6, i7
        BN_TRANSFORM BN_SHIFT_IN, 0
        adds    r0, #4
        adds    r1, #96
        ldr     t0, [sp]
        cmp     r1, t0
        bne     1b
        pop     {t0, lr}
        pop     {r4-r11, pc}
        .size   bn_lenet_transform_rows, . - bn_lenet_transform_rows

@ void bn_lenet_small_conv1_row(const uint32_t *window, const uint32_t *lanes, const struct { const int32_t *bias;
@     const uint8_t *sigmoid; uint16_t *pooled; } *)
@ `pooled` is the row in the first pair of channels; another pair is 576 bytes on.
.set    BNS1_EVEN_ODD, 0                         @ even, odd of the upper row, then of the lower, for 2, 1/2, 1
.set    BNS1_OUT, 48
.set    BNS1_TABLE, 52
.set    BNS1_BIAS, 56
.set    BNS1_WINDOW, 60
.set    BNS1_END, 64
.set    BNS1_NEXT_BIAS, 68
.set    BNS1_POOLED, 72
.set    BNS1_CHANNELS, 76
.set    BNS1_FRAME, 84                           @ with the nine registers saved, 8-aligned

@ Points +p and -p. \bias: the register that M(+p) begins with, or nothing.
.macro BNS1_PAIR bias:vararg
        ldm     r1!, {r4-r9}
        ldm     r0!, {r2, r3, r12}
.ifb \bias
        smuad   r4, r4, r2
        smuad   r7, r7, r2
.else
        smlad   r4, r4, r2, \bias
        smlad   r7, r7, r2, \bias
.endif
        smlad   r4, r5, r3, r4
        smlad   r7, r8, r3, r7
        smlad   r4, r6, r12, r4                  @ M(+p), upper
        smlad   r7, r9, r12, r7                  @ M(+p), lower
        ldm     r1!, {r5, r6, r8, r9, r10, r11}
        ldm     r0!, {r2, r3, r12}
        smlad   r5, r5, r2, r4
        smlad   r9, r9, r2, r7
        smlad   r5, r6, r3, r5
        smlad   r9, r10, r3, r9
        smlad   r5, r8, r12, r5                  @ even, upper
        smlad   r9, r11, r12, r9                 @ even, lower
        rsb     r6, r5, r4, lsl #1              @ odd, upper
        rsb     r10, r9, r7, lsl #1             @ odd, lower
        stm     lr!, {r5, r6, r9, r10}
.endm
@ Four outputs and their activations from M(0) + even of 1, M(infinity) and the evens and odds at \at.
@ Out: activations in \m0, \odd1, \even1, \minf.
.macro BNS1_OUTPUTS at, m0, minf, even1, odd1
        ldrd    \even1, \odd1, [sp, #BNS1_EVEN_ODD + 32 + \at]
        ldrd    r6, r8, [sp, #BNS1_EVEN_ODD + \at]
        ldrd    r10, r11, [sp, #BNS1_EVEN_ODD + 16 + \at]
        add     \m0, \m0, r6
        add     \m0, \m0, r10, lsl #3           @ output 0
        add     \even1, \even1, r6, lsl #2
        add     \even1, \even1, r10, lsl #1     @ output 2
        add     \minf, \minf, \odd1
        add     \minf, \minf, r8, lsl #3
        add     \minf, \minf, r11               @ output 3
        add     \odd1, \odd1, r8, lsl #1
        add     \odd1, \odd1, r11, lsl #2       @ output 1
.irp    output, \m0, \odd1, \even1, \minf
        usat    \output, #10, \output, asr #13
.endr
.irp    output, \m0, \odd1, \even1, \minf
        BN_HALF_TABLE \output, r12
.endr
.endm

        BN_FUNCTION bn_lenet_small_conv1_row
        sub     sp, #BNS1_FRAME
        ldm     r2, {r3, r4, r5}
        str     r3, [sp, #BNS1_NEXT_BIAS]
        str     r4, [sp, #BNS1_TABLE]
        str     r5, [sp, #BNS1_POOLED]
        str     r0, [sp, #BNS1_WINDOW]
        add     r3, r0, #576
        str     r3, [sp, #BNS1_END]
        movs    r3, #6
        str     r3, [sp, #BNS1_CHANNELS]
1:      @ a channel
        ldr     r3, [sp, #BNS1_NEXT_BIAS]
        ldr     r4, [r3], #4
        str     r3, [sp, #BNS1_NEXT_BIAS]
        str     r4, [sp, #BNS1_BIAS]
        ldr     r3, [sp, #BNS1_POOLED]
        str     r3, [sp, #BNS1_OUT]
        ldr     r0, [sp, #BNS1_WINDOW]
2:      @ a tile
        mov     lr, sp
        BNS1_PAIR
        BNS1_PAIR
        ldr     r10, [sp, #BNS1_BIAS]
        BNS1_PAIR r10
        @ Point 0 goes on from the evens of point 1, which are still in r5 and r9: output 0 needs their sum.
        ldm     r1!, {r4, r6, r7, r8, r10, r11}
        ldm     r0!, {r2, r3, r12}
        smlad   r4, r4, r2, r5
        smlad   r8, r8, r2, r9
        smlad   r4, r6, r3, r4
        smlad   r8, r10, r3, r8
        smlad   r4, r7, r12, r4                  @ M(0) + even, upper
        smlad   r7, r11, r12, r8                 @ M(0) + even, lower
        ldm     r1!, {r5, r6, r8, r9, r10, r11}
        ldm     r0!, {r2, r3, r12}
        smuad   r5, r5, r2
        smuad   r9, r9, r2
        smlad   r5, r6, r3, r5
        smlad   r9, r10, r3, r9
        smlad   r5, r8, r12, r5                  @ point infinity, upper
        smlad   r9, r11, r12, r9                 @ point infinity, lower
        ldr     r12, [sp, #BNS1_TABLE]
        BNS1_OUTPUTS 0, r4, r5, r2, r3
        add     r4, r4, r3
        add     r2, r2, r5
        BNS1_OUTPUTS 8, r7, r9, r3, r5
        add     r4, r4, r7
        add     r4, r4, r5
        add     r2, r2, r3
        add     r2, r2, r9
        add     r4, r4, #508                    @ half tables are centred, the sums of this layer are not
        add     r2, r2, #508
        ldr     lr, [sp, #BNS1_OUT]
        strh    r4, [lr], #4
        strh    r2, [lr], #4
        str     lr, [sp, #BNS1_OUT]
        ldr     r3, [sp, #BNS1_END]
        sub     r1, #192                   @ the next tile, the same weights
        cmp     r0, r3
        bne     2b
        add     r1, #192
        @ The next channel is the other half of the pair, or the first half of the next pair.
        ldr     r3, [sp, #BNS1_POOLED]
        ldr     r4, [sp, #BNS1_CHANNELS]
        eor     r5, r3, #2
        tst     r4, #1                          @ an odd number to go: this was the second of its pair
        it      ne
        addne   r5, r5, #576
        str     r5, [sp, #BNS1_POOLED]
        subs    r4, #1
        str     r4, [sp, #BNS1_CHANNELS]
        bne     1b
        BN_RETURN bn_lenet_small_conv1_row, BNS1_FRAME
