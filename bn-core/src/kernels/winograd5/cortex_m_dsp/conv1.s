@ Convolution 1, sigmoid and pool: two pooled rows of all channels from the transformed rows under them.
@
@       window   [tile 6][point 8][4 pairs of input rows]          lanes   [channel 6][point 8][upper, lower][3 pairs]
@
@       input rows  a b | c d | e f | g h      one word holds two rows of a column
@       output 0    w0 w1 w2 w3 w4 .           upper row of a pool: three SMLAD a point
@       output 1    .  w0 w1 w2 w3 w4          lower row of a pool: the same three words of data
@       output 2          w0 w1 w2 w3 w4 .     the weights of output 0, a pair of rows down
@       output 3          .  w0 w1 w2 w3 w4    the weights of output 1, likewise
@
@ A tile is 4 columns of 4 rows: 16 outputs, 4 pooled values, from 12 SMLAD and 3 loads a point. Each point's four sums are
@ pushed; inverse.s takes them from there. Points come in pairs +p, -p; the second of a pair goes on from the sums of the
@ first, which gives even = M(+p) + M(-p).
@ Sums wrap modulo 2^32; only the outputs are used, and the stream's `check` has proved that they fit.

@ void bn_lenet_transform_upper(const uint8_t *rows, uint32_t *window): two rows of pixels become the third pair of every
@ tile's window, whose last two become the first two. bn_lenet_transform_lower, likewise: the fourth pair, nothing moves.
@ Both read 56 bytes at any address, LDR may be unaligned.

@ Four pixels of each row, from `at` on, become four words (upper, lower).
.macro BN_PAIR_ROWS at, x0, x1, x2, x3
        ldr     t0, [r0, #\at]
        ldr     t1, [r0, #\at + 28]
        pkhbt   t2, t0, t1, lsl #16             @ columns 0 and 1 of both
        pkhtb   t3, t1, t0, asr #16             @ columns 2 and 3 of both
        uxtb16  \x0, t2
        uxtb16  \x1, t2, ror #8
        uxtb16  \x2, t3
        uxtb16  \x3, t3, ror #8
.endm
.macro BN_STORE_UPPER result, point, u, v
        ldrd    \u, \v, [r1, #16 * \point + 8]
        strd    \u, \v, [r1, #16 * \point]
        str     \result, [r1, #16 * \point + 8]
.endm
.macro BN_STORE_LOWER result, point, u, v
        str     \result, [r1, #16 * \point + 12]
.endm
.macro BN_TRANSFORM_ROWS name, store
        BN_FUNCTION \name
        add     t0, r1, #768                    @ the window's end
        push    {t0, lr}                        @ lr only keeps the stack 8-aligned
1:
        BN_PAIR_ROWS 0, i0, i1, i2, i3
        BN_PAIR_ROWS 4, i4, i5, i6, i7
        BN_TRANSFORM \store, 0
        adds    r0, #4
        adds    r1, #128
        ldr     t0, [sp]
        cmp     r1, t0
        bne     1b
        pop     {t0, lr}
        pop     {r4-r11, pc}
        .size   \name, . - \name
.endm
        BN_TRANSFORM_ROWS bn_lenet_transform_upper, BN_STORE_UPPER
        BN_TRANSFORM_ROWS bn_lenet_transform_lower, BN_STORE_LOWER

data    .req r0
weights .req r1
w0      .req r2
w1      .req r3
w2      .req r4
row0    .req r5
row1    .req r6
row2    .req r7
row3    .req r8
x0      .req r9
x1      .req r10
x2      .req r11
x3      .req r12

@ void bn_lenet_conv1_rows(const uint32_t *window, const uint32_t *lanes, const struct { const int32_t *bias;
@     const uint8_t *sigmoid; uint16_t *pooled; } *)
@ `pooled` is the upper row in the first pair of channels; the lower is 48 bytes on, another pair of channels 576.
.set    BN1_OUT, 0
.set    BN1_BIAS, 4
.set    BN1_WINDOW, 8
.set    BN1_END, 12
.set    BN1_NEXT_BIAS, 16
.set    BN1_POOLED, 20
.set    BN1_CHANNELS, 24
.set    BN1_FRAME, 28                           @ with the nine registers saved, 8-aligned

        BN_FUNCTION bn_lenet_conv1_rows
        sub     sp, #BN1_FRAME
        ldm     r2, {r3, r4, r5}
        str     r3, [sp, #BN1_NEXT_BIAS]
        mov     table, r4
        str     r5, [sp, #BN1_POOLED]
        str     r0, [sp, #BN1_WINDOW]
        add     r3, r0, #768
        str     r3, [sp, #BN1_END]
        movs    r3, #6
        str     r3, [sp, #BN1_CHANNELS]

@ \first: how a sum begins, `new` at 0, `bias` from row3, which is the last to begin, `on` from its value.
.macro BN1_BEGIN acc, x, first
.ifc \first, new
        smuad   \acc, w0, \x
.else
.ifc \first, bias
        smlad   \acc, w0, \x, row3
.else
        smlad   \acc, w0, \x, \acc
.endif
.endif
.endm
.macro BN1_POINT first
        ldm     weights!, {w0, w1, w2}          @ upper
        ldm     data!, {x0, x1, x2, x3}
        BN1_BEGIN row0, x0, \first
        BN1_BEGIN row2, x1, \first
        smlad   row0, w1, x1, row0
        smlad   row2, w1, x2, row2
        smlad   row0, w2, x2, row0
        smlad   row2, w2, x3, row2
        ldm     weights!, {w0, w1, w2}          @ lower
        BN1_BEGIN row1, x0, \first
        BN1_BEGIN row3, x1, \first
        smlad   row1, w1, x1, row1
        smlad   row3, w1, x2, row3
        smlad   row1, w2, x2, row1
        smlad   row3, w2, x3, row3
        push    {row0, row1, row2, row3}
.endm

1:      @ a channel
        ldr     r3, [sp, #BN1_NEXT_BIAS]
        ldr     r4, [r3], #4
        str     r3, [sp, #BN1_NEXT_BIAS]
        str     r4, [sp, #BN1_BIAS]
        ldr     r3, [sp, #BN1_POOLED]
        str     r3, [sp, #BN1_OUT]
        ldr     data, [sp, #BN1_WINDOW]
2:      @ a tile
        BN1_POINT new
        BN1_POINT on
        BN1_POINT new
        BN1_POINT on
        ldr     row3, [sp, #BN_SUMS / 2 + BN1_BIAS]     @ four points are pushed
        BN1_POINT bias
        BN1_POINT on
        BN1_POINT on                            @ from the evens of point 1: output 0 needs their sum
        BN1_POINT new
        ldr     r12, [sp, #BN_SUMS + BN1_OUT]
        BN_OUTPUTS 2, ldrb, 13
        strh    left, [r12, #48]
        strh    right, [r12, #52]
        BN_OUTPUTS 0, ldrb, 13
        strh    left, [r12], #8
        strh    right, [r12, #-4]
        str     r12, [sp, #BN1_OUT]
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
        BN_RETURN bn_lenet_conv1_rows, BN1_FRAME
