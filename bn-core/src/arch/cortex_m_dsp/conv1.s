@ Convolution 1, sigmoid and pool: one pooled row of all channels from the transformed rows under it.
@
@       window   [tile 6][point 8][3 pairs of input rows]          lanes   [channel 6][point 8][upper, lower][3 pairs]
@
@       input rows  a b | c d | e f      one word holds two rows of a column
@       upper       w0 w1 w2 w3 w4 .     output row above: three SMLAD a point
@       lower       .  w0 w1 w2 w3 w4    output row below: the same three words of data
@
@ A tile is 4 columns of both rows: 8 outputs, 2 pooled values. Points come in pairs +p, -p; the second of a pair goes on
@ from the sum of the first, which gives even = M(+p) + M(-p), and odd = 2 M(+p) - even.
@ Sums wrap modulo 2^32; only the outputs are used, and `format::check` has proved that they fit.

@ void bn_lenet_transform_rows(const uint8_t *rows, uint32_t *window): two rows of pixels become the third pair of every
@ tile's window, whose other two move up. Reads 56 bytes at any address, LDR may be unaligned.
        .section .text.bn_lenet_transform_rows, "ax", %progbits
        .global bn_lenet_transform_rows
        .type   bn_lenet_transform_rows, %function
        .thumb_func
bn_lenet_transform_rows:
        push    {r4-r11, lr}
        add     t0, r1, #576                    @ the window's end
        push    {t0, lr}                        @ lr only keeps the stack 8-aligned

.macro BN_SHIFT_IN result, point, u, v
        ldrd    \u, \v, [r1, #12 * \point + 4]
        strd    \u, \v, [r1, #12 * \point]
        str     \result, [r1, #12 * \point + 8]
.endm
@ Four pixels of each row, from `at` on, become four words (upper, lower).
.macro BN_PAIR_ROWS at, x0, x1, x2, x3
        ldr     t0, [r0, #\at]
        ldr     t1, [r0, #\at + 28]
        uxtb16  t2, t0                          @ upper 0, 2
        uxtb16  t0, t0, ror #8                  @ upper 1, 3
        uxtb16  t3, t1                          @ lower 0, 2
        uxtb16  t1, t1, ror #8                  @ lower 1, 3
        pkhbt   \x0, t2, t3, lsl #16
        pkhtb   \x2, t3, t2, asr #16
        pkhbt   \x1, t0, t1, lsl #16
        pkhtb   \x3, t1, t0, asr #16
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

data    .req r0
weights .req r1
x0      .req r2
x1      .req r3
x2      .req r12

@ void bn_lenet_conv1_row(const uint32_t *window, const uint32_t *lanes, const struct { const int32_t *bias;
@     const uint8_t *sigmoid; uint16_t *pooled; } *)
@ `pooled` is the row in the first pair of channels; another pair is 576 bytes on.
.set    BN1_EVEN_ODD, 0                         @ even, odd of the upper row, then of the lower, for 2, 1/2, 1
.set    BN1_OUT, 48
.set    BN1_TABLE, 52
.set    BN1_BIAS, 56
.set    BN1_WINDOW, 60
.set    BN1_END, 64
.set    BN1_NEXT_BIAS, 68
.set    BN1_POOLED, 72
.set    BN1_CHANNELS, 76
.set    BN1_FRAME, 84                           @ with the nine registers saved, 8-aligned

@ Points +p and -p. \bias: the register that M(+p) begins with, or nothing.
.macro BN1_PAIR bias:vararg
        ldm     weights!, {r4-r9}
        ldm     data!, {x0, x1, x2}
.ifb \bias
        smuad   r4, r4, x0
        smuad   r7, r7, x0
.else
        smlad   r4, r4, x0, \bias
        smlad   r7, r7, x0, \bias
.endif
        smlad   r4, r5, x1, r4
        smlad   r7, r8, x1, r7
        smlad   r4, r6, x2, r4                  @ M(+p), upper
        smlad   r7, r9, x2, r7                  @ M(+p), lower
        ldm     weights!, {r5, r6, r8, r9, r10, r11}
        ldm     data!, {x0, x1, x2}
        smlad   r5, r5, x0, r4
        smlad   r9, r9, x0, r7
        smlad   r5, r6, x1, r5
        smlad   r9, r10, x1, r9
        smlad   r5, r8, x2, r5                  @ even, upper
        smlad   r9, r11, x2, r9                 @ even, lower
        rsb     r6, r5, r4, lsl #1              @ odd, upper
        rsb     r10, r9, r7, lsl #1             @ odd, lower
        stm     lr!, {r5, r6, r9, r10}
.endm
@ Four outputs and their activations from M(0) + even of 1, M(infinity) and the evens and odds at \at.
@ Out: activations in \m0, \odd1, \even1, \minf.
.macro BN1_OUTPUTS half, at, m0, minf, even1, odd1
        ldrd    \even1, \odd1, [sp, #BN1_EVEN_ODD + 32 + \at]
        ldrd    r6, r8, [sp, #BN1_EVEN_ODD + \at]
        ldrd    r10, r11, [sp, #BN1_EVEN_ODD + 16 + \at]
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
.if \half
        BN_HALF_TABLE \output, r12
.else
        ldrb    \output, [r12, \output]
.endif
.endr
.endm

@ The function itself. \half: its table is the upper half of a centred one, as in the small build.
.macro BN1_ROW name, half
        .section .text.\name, "ax", %progbits
        .global \name
        .type   \name, %function
        .thumb_func
\name:
        push    {r4-r11, lr}
        sub     sp, #BN1_FRAME
        ldm     r2, {r3, r4, r5}
        str     r3, [sp, #BN1_NEXT_BIAS]
        str     r4, [sp, #BN1_TABLE]
        str     r5, [sp, #BN1_POOLED]
        str     r0, [sp, #BN1_WINDOW]
        add     r3, r0, #576
        str     r3, [sp, #BN1_END]
        movs    r3, #6
        str     r3, [sp, #BN1_CHANNELS]
1:      @ a channel
        ldr     r3, [sp, #BN1_NEXT_BIAS]
        ldr     r4, [r3], #4
        str     r3, [sp, #BN1_NEXT_BIAS]
        str     r4, [sp, #BN1_BIAS]
        ldr     r3, [sp, #BN1_POOLED]
        str     r3, [sp, #BN1_OUT]
        ldr     data, [sp, #BN1_WINDOW]
2:      @ a tile
        mov     lr, sp
        BN1_PAIR
        BN1_PAIR
        ldr     r10, [sp, #BN1_BIAS]
        BN1_PAIR r10
        @ Point 0 goes on from the evens of point 1, which are still in r5 and r9: output 0 needs their sum.
        ldm     weights!, {r4, r6, r7, r8, r10, r11}
        ldm     data!, {x0, x1, x2}
        smlad   r4, r4, x0, r5
        smlad   r8, r8, x0, r9
        smlad   r4, r6, x1, r4
        smlad   r8, r10, x1, r8
        smlad   r4, r7, x2, r4                  @ M(0) + even, upper
        smlad   r7, r11, x2, r8                 @ M(0) + even, lower
        ldm     weights!, {r5, r6, r8, r9, r10, r11}
        ldm     data!, {x0, x1, x2}
        smuad   r5, r5, x0
        smuad   r9, r9, x0
        smlad   r5, r6, x1, r5
        smlad   r9, r10, x1, r9
        smlad   r5, r8, x2, r5                  @ point infinity, upper
        smlad   r9, r11, x2, r9                 @ point infinity, lower
        ldr     r12, [sp, #BN1_TABLE]
        BN1_OUTPUTS \half, 0, r4, r5, r2, r3
        add     r4, r4, r3
        add     r2, r2, r5
        BN1_OUTPUTS \half, 8, r7, r9, r3, r5
        add     r4, r4, r7
        add     r4, r4, r5
        add     r2, r2, r3
        add     r2, r2, r9
.if \half
        add     r4, r4, #508                    @ half tables are centred, the sums of this layer are not
        add     r2, r2, #508
.endif
        ldr     lr, [sp, #BN1_OUT]
        strh    r4, [lr], #4
        strh    r2, [lr], #4
        str     lr, [sp, #BN1_OUT]
        ldr     r3, [sp, #BN1_END]
        sub     weights, #192                   @ the next tile, the same weights
        cmp     data, r3
        bne     2b
        add     weights, #192
        @ The next channel is the other half of the pair, or the first half of the next pair.
        ldr     r3, [sp, #BN1_POOLED]
        ldr     r4, [sp, #BN1_CHANNELS]
        eor     r5, r3, #2
        tst     r4, #1                          @ an odd number to go: this was the second of its pair
        it      ne
        addne   r5, r5, #576
        str     r5, [sp, #BN1_POOLED]
        subs    r4, #1
        str     r4, [sp, #BN1_CHANNELS]
        bne     1b
        add     sp, #BN1_FRAME
        pop     {r4-r11, pc}
        .size   \name, . - \name
.endm
        BN1_ROW bn_lenet_conv1_row, 0
        BN1_ROW bn_lenet_small_conv1_row, 1
