@ Convolutions, sigmoid and pool: one channel. A tile is 4 rows of 4 columns of outputs: 2 rows of 2 pooled values.
@
@       data rows   0 1 2 3 4 5 6 7        a column of one input channel at one point, a word each
@       output 0    k0 k1 k2 k3 k4         four accumulators slide down eight words:
@       output 1       k0 k1 k2 k3 k4      20 multiplications for 5 weights and 3 LDM of data
@       output 2          k0 k1 k2 k3 k4
@       output 3             k0 k1 k2 k3 k4
@
@ Points come in pairs +p, -p; the second of a pair goes on from the sums of the first, which gives even = M(+p) + M(-p), and
@ odd = 2 M(+p) - even. Sums wrap modulo 2^32; only the outputs are used, and the stream's `check` has proved that they fit.

k0      .req r2
k1      .req r3
k2      .req r4
k3      .req r5
k4      .req r6
sum0    .req r7
sum1    .req r8
sum2    .req r9
sum3    .req r10
x_a     .req r11
x_b     .req r12
x_c     .req lr

.set    BN_POINTS, 0                            @ [row 4][M(2), even, M(1/2), even, M(1), even, M(0) + even, M(infinity)]
.set    BN_BIAS, 128
.set    BN_TABLE, 132
.set    BN_OUT, 136
.set    BN_WINDOW_END, 140
.set    BN_FRAME, 148                           @ with the nine registers saved, 8-aligned

@ \first: how an accumulator begins, `new` at 0, `bias` from sum3, `on` from its value.
.macro BN_BEGIN acc, data, first
.ifc \first, new
        mul     \acc, \data, k0
.else
.ifc \first, bias
        mla     \acc, \data, k0, sum3
.else
        mla     \acc, \data, k0, \acc
.endif
.endif
.endm
@ One column. Weights are halfwords \stride bytes apart, the next ones \next bytes on.
.macro BN_COLUMN first, stride, next
        ldrsh   k1, [r1, #\stride]
        ldrsh   k2, [r1, #2 * \stride]
        ldrsh   k3, [r1, #3 * \stride]
        ldrsh   k4, [r1, #4 * \stride]
        ldrsh   k0, [r1], #\next
        ldm     r0!, {x_a, x_b, x_c}            @ rows 0, 1, 2
        BN_BEGIN sum0, x_a, \first
        BN_BEGIN sum1, x_b, \first
        BN_BEGIN sum2, x_c, \first
        mla     sum0, x_b, k1, sum0
        mla     sum1, x_c, k1, sum1
        mla     sum0, x_c, k2, sum0
        ldm     r0!, {x_a, x_b, x_c}            @ rows 3, 4, 5
        BN_BEGIN sum3, x_a, \first
        mla     sum0, x_a, k3, sum0
        mla     sum1, x_a, k2, sum1
        mla     sum2, x_a, k1, sum2
        mla     sum0, x_b, k4, sum0
        mla     sum1, x_b, k3, sum1
        mla     sum2, x_b, k2, sum2
        mla     sum3, x_b, k1, sum3
        mla     sum1, x_c, k4, sum1
        mla     sum2, x_c, k3, sum2
        mla     sum3, x_c, k2, sum3
        ldm     r0!, {x_a, x_b}                 @ rows 6, 7
        mla     sum2, x_a, k4, sum2
        mla     sum3, x_a, k3, sum3
        mla     sum3, x_b, k4, sum3
.endm
@ All points of a tile; \columns adds up one point, given how it begins.
.macro BN_TILE columns
.macro BN_POINT first, slot
        \columns \first
        str     sum0, [sp, #BN_POINTS + 4 * \slot]
        str     sum1, [sp, #BN_POINTS + 4 * \slot + 32]
        str     sum2, [sp, #BN_POINTS + 4 * \slot + 64]
        str     sum3, [sp, #BN_POINTS + 4 * \slot + 96]
.endm
        BN_POINT new, 0
        BN_POINT on, 1
        BN_POINT new, 2
        BN_POINT on, 3
        ldr     sum3, [sp, #BN_BIAS]
        BN_POINT bias, 4
        BN_POINT on, 5
        BN_POINT on, 6                          @ from the evens of point 1: output 0 needs their sum
        BN_POINT new, 7
.purgem BN_POINT
.endm
@ The next output row: activations in r8, r6, r7, r9. lr: its points, r10: the table.
.macro BN_OUTPUTS shift, load
        ldm     lr!, {r2-r9}
        rsb     r2, r3, r2, lsl #1              @ odd of 2; r3 is the even
        rsb     r4, r5, r4, lsl #1              @ odd of 1/2
        rsb     r6, r7, r6, lsl #1              @ odd of 1
        add     r8, r8, r3
        add     r8, r8, r5, lsl #3              @ output 0
        add     r7, r7, r3, lsl #2
        add     r7, r7, r5, lsl #1              @ output 2
        add     r9, r9, r6
        add     r9, r9, r2, lsl #3
        add     r9, r9, r4                      @ output 3
        add     r6, r6, r2, lsl #1
        add     r6, r6, r4, lsl #2              @ output 1
.irp    output, r8, r6, r7, r9
        usat    \output, #10, \output, asr #\shift
.endr
.irp    output, r8, r6, r7, r9
        \load   \output, [r10, \output]
.endr
.endm
@ The next pooled row: the sums of four in r11, r12.
.macro BN_POOLED shift, load
        BN_OUTPUTS \shift, \load
        add     r11, r8, r6
        add     r12, r7, r9
        BN_OUTPUTS \shift, \load
        add     r11, r11, r8
        add     r11, r11, r6
        add     r12, r12, r7
        add     r12, r12, r9
.endm
.macro BN_ENTER
        sub     sp, #BN_FRAME
        ldm     r2, {r3, r4, r5}
        str     r3, [sp, #BN_BIAS]
        str     r4, [sp, #BN_TABLE]
        str     r5, [sp, #BN_OUT]
.endm

@ void bn_lenet_conv1_channel(const int32_t *window, const int16_t *lanes, const struct { int32_t bias; const uint8_t *sigmoid;
@     int16_t *pooled; } *)
@ window [tile 6][point 8][row 8]; lanes [point 8][5, and 7 that repeat them]. Writes, for each tile, `pooled` and its right
@ neighbour, 4 bytes on, and those of the row below, 48 bytes on.
        BN_FUNCTION bn_lenet_conv1_channel
        BN_ENTER
        add     r3, r0, #6 * 256
        str     r3, [sp, #BN_WINDOW_END]
.macro BN1_COLUMNS first
        BN_COLUMN \first, 2, 24
.endm
1:
        BN_TILE BN1_COLUMNS
        ldr     r10, [sp, #BN_TABLE]
        mov     lr, sp
        BN_POOLED 13, ldrb
        ldr     r3, [sp, #BN_OUT]
        strh    r11, [r3]
        strh    r12, [r3, #4]
        BN_POOLED 13, ldrb
        ldr     r3, [sp, #BN_OUT]
        strh    r11, [r3, #48]
        strh    r12, [r3, #52]
        add     r3, r3, #8
        str     r3, [sp, #BN_OUT]
        sub     r1, r1, #8 * 24                 @ the next tile, the same weights
        ldr     r3, [sp, #BN_WINDOW_END]
        cmp     r0, r3
        bne     1b
        BN_RETURN bn_lenet_conv1_channel, BN_FRAME

@ One point: six columns, of which two and two have their weights in the halves of the same words.
        BN_PART bn_lenet_conv2_point
        push    {r2, lr}
.rept   3
        BN_COLUMN on, 4, 2
        BN_COLUMN on, 4, 18
.endr
        pop     {r2, pc}
        BN_PART_END bn_lenet_conv2_point

@ void bn_lenet_conv2_channel(const int32_t *window, const int16_t *lanes, const struct { int32_t bias; const int8_t *sigmoid;
@     int16_t *flat; } *)
@ window [point 8][input channel 6][row 8]; lanes [point 8][pair of channels 3][kernel row 5][2]. Writes a half of two quads.
        BN_FUNCTION bn_lenet_conv2_channel
        BN_ENTER
.macro BN2_COLUMNS first
.ifc \first, new
        movs    sum0, #0
        mov     sum1, #0
        mov     sum2, #0
        mov     sum3, #0
.endif
.ifc \first, bias
        mov     sum0, sum3
        mov     sum1, sum3
        mov     sum2, sum3
.endif
        bl      bn_lenet_conv2_point
.endm
        BN_TILE BN2_COLUMNS
        ldr     r10, [sp, #BN_TABLE]
        mov     lr, sp
        ldr     r0, [sp, #BN_OUT]
.irp    pooled, 0, 8
        BN_POOLED 17, ldrsb
        add     r11, r11, #2
        add     r12, r12, #2
        asr     r11, r11, #2                    @ the pooled activations
        asr     r12, r12, #2
        rsb     r2, r12, r11, lsl #8
        strh    r12, [r0, #\pooled]
        strh    r2, [r0, #\pooled + 4]
.endr
        BN_RETURN bn_lenet_conv2_channel, BN_FRAME
