@ Convolution 2, sigmoid and pool: one tile column (4 output columns, 8 rows) of all channels.
@
@       window  [half 2][point 8][pair of channels 3][row 8]       lanes  [channel 16][point 8][pair 3][kernel row 5]
@
@       data rows   0 1 2 3 4 5 6 7        one word holds two input channels
@       output 0    k0 k1 k2 k3 k4         four accumulators slide down eight words:
@       output 1       k0 k1 k2 k3 k4      20 SMLAD for 4 loads
@       output 2          k0 k1 k2 k3 k4
@       output 3             k0 k1 k2 k3 k4
@
@ As in convolution 1, the second point of a pair goes on from the sums of the first, sums wrap, and inverse.s takes them
@ from the stack.

@ void bn_lenet_transform_channels(const uint32_t *map, uint32_t *window): 12 rows of 12 words, of which the 8 from `map` on,
@ into both halves of the window; half 1 begins at row 4.
        BN_FUNCTION bn_lenet_transform_channels
        sub     sp, #12

.macro BN_STORE_FIRST result, point, u, v
        str     \result, [r1, #96 * \point]
.endm
.macro BN_STORE_BOTH result, point, u, v
        str     \result, [r1, #96 * \point]
        str     \result, [r1, #96 * \point + 752]
.endm
.macro BN_STORE_SECOND result, point, u, v
        str     \result, [r1, #96 * \point + 752]
.endm
.irp    store, BN_STORE_FIRST, BN_STORE_BOTH, BN_STORE_SECOND
        movs    r2, #4
        str     r2, [sp]
1:
        ldm     r0, {r2-r9}
        BN_TRANSFORM \store, 1
        adds    r0, #48
        adds    r1, #4
        ldr     r2, [sp]
        subs    r2, #1
        str     r2, [sp]
        bne     1b
.endr
        BN_RETURN bn_lenet_transform_channels, 12

k0      .req r2
k1      .req r3
k2      .req r4
k3      .req r5
k4      .req r6
sum0      .req r7
sum1      .req r8
sum2      .req r9
sum3      .req r10
x_a     .req r11
x_b     .req r12
x_c     .req lr

@ void bn_lenet_conv2_tile(const uint32_t *window, const uint32_t *lanes, const struct { const int32_t *bias;
@     const int8_t *sigmoid; int16_t *flat; } *)
@ `flat` is the half of the first quad that belongs to this column; the next pooled row is 8 bytes on.
.set    BN2_TABLE, 0
.set    BN2_FLAT, 4
.set    BN2_NEXT_BIAS, 8
.set    BN2_WINDOW, 12
.set    BN2_CHANNELS, 16
.set    BN2_END, 20
.set    BN2_FRAME, 28                           @ with the nine registers saved, 8-aligned

        BN_FUNCTION bn_lenet_conv2_tile
        sub     sp, #BN2_FRAME
        ldm     r2, {r3, r4, r5}
        str     r3, [sp, #BN2_NEXT_BIAS]
        str     r4, [sp, #BN2_TABLE]
        str     r5, [sp, #BN2_FLAT]
        str     r0, [sp, #BN2_WINDOW]
        movs    r3, #16
        str     r3, [sp, #BN2_CHANNELS]
        add     r3, r0, #1536
        str     r3, [sp, #BN2_END]

@ Four outputs of one pair of channels. \first: how an accumulator begins, `new` at 0, `bias` from sum3, `on` from its value.
.macro BN2_BEGIN acc, data, first
.ifc \first, new
        smuad   \acc, \data, k0
.else
.ifc \first, bias
        smlad   \acc, \data, k0, sum3
.else
        smlad   \acc, \data, k0, \acc
.endif
.endif
.endm
.macro BN2_BLOCK first
        ldm     r1!, {k0, k1, k2, k3, k4}
        ldm     r0!, {x_a, x_b, x_c}            @ rows 0, 1, 2
        BN2_BEGIN sum0, x_a, \first
        BN2_BEGIN sum1, x_b, \first
        BN2_BEGIN sum2, x_c, \first
        smlad   sum0, x_b, k1, sum0
        smlad   sum1, x_c, k1, sum1
        smlad   sum0, x_c, k2, sum0
        ldm     r0!, {x_a, x_b, x_c}            @ rows 3, 4, 5
        BN2_BEGIN sum3, x_a, \first
        smlad   sum0, x_a, k3, sum0
        smlad   sum1, x_a, k2, sum1
        smlad   sum2, x_a, k1, sum2
        smlad   sum0, x_b, k4, sum0
        smlad   sum1, x_b, k3, sum1
        smlad   sum2, x_b, k2, sum2
        smlad   sum3, x_b, k1, sum3
        smlad   sum1, x_c, k4, sum1
        smlad   sum2, x_c, k3, sum2
        smlad   sum3, x_c, k2, sum3
        ldm     r0!, {x_a, x_b}                 @ rows 6, 7
        smlad   sum2, x_a, k4, sum2
        smlad   sum3, x_a, k3, sum3
        smlad   sum3, x_b, k4, sum3
.endm
.macro BN2_POINT first
        BN2_BLOCK \first
        BN2_BLOCK on
        BN2_BLOCK on
        push    {sum0, sum1, sum2, sum3}
.endm
@ The second pool: from sums to means in left (a0) and right (a1), then left to 256 a0 - a1.
.macro BN2_MEANS
        add     left, left, #2
        add     right, right, #2
        asr     left, left, #2
        asr     right, right, #2
        rsb     left, right, left, lsl #8
.endm

1:      @ a half of a channel
        BN2_POINT new
        BN2_POINT on
        BN2_POINT new
        BN2_POINT on
        ldr     sum3, [sp, #BN_SUMS / 2 + BN2_NEXT_BIAS]        @ four points are pushed
        ldr     sum3, [sum3]
        BN2_POINT bias
        BN2_POINT on
        BN2_POINT on                            @ from the evens of point 1: output 0 needs their sum
        BN2_POINT new
        ldr     table, [sp, #BN_SUMS + BN2_TABLE]
        ldr     r12, [sp, #BN_SUMS + BN2_FLAT]
        BN_OUTPUTS 2, ldrsb, 17
        BN2_MEANS
        strh    right, [r12, #8]
        strh    left, [r12, #12]
        BN_OUTPUTS 0, ldrsb, 17
        BN2_MEANS
        strh    left, [r12, #4]
        strh    right, [r12], #16
        str     r12, [sp, #BN2_FLAT]
        ldr     r3, [sp, #BN2_END]
        cmp     r0, r3
        itt     ne
        subne   r1, #480                        @ the other half, the same weights
        bne     1b
        ldr     r0, [sp, #BN2_WINDOW]
        ldr     r3, [sp, #BN2_NEXT_BIAS]
        add     r3, r3, #4
        str     r3, [sp, #BN2_NEXT_BIAS]
        ldr     r3, [sp, #BN2_CHANNELS]
        subs    r3, #1
        str     r3, [sp, #BN2_CHANNELS]
        bne     1b
        BN_RETURN bn_lenet_conv2_tile, BN2_FRAME
