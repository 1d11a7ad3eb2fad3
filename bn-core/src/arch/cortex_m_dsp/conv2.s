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
@ As in convolution 1, the second point of a pair goes on from the sums of the first, and sums wrap.

@ void bn_lenet_transform_channels(const uint32_t *map, uint32_t *window): 12 rows of 12 words, of which the 8 from `map` on,
@ into both halves of the window; half 1 begins at row 4.
        .section .text.bn_lenet_transform_channels, "ax", %progbits
        .global bn_lenet_transform_channels
        .type   bn_lenet_transform_channels, %function
        .thumb_func
bn_lenet_transform_channels:
        push    {r4-r11, lr}
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
        add     sp, #12
        pop     {r4-r11, pc}
        .size   bn_lenet_transform_channels, . - bn_lenet_transform_channels

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
.set    BN2_POINTS, 0                           @ [row 4][M(2), even, M(1/2), even, M(1), even, M(0) + even, M(infinity)]
.set    BN2_TABLE, 128
.set    BN2_FLAT, 132
.set    BN2_NEXT_BIAS, 136
.set    BN2_WINDOW, 140
.set    BN2_CHANNELS, 144
.set    BN2_END, 148
.set    BN2_FRAME, 156

        .section .text.bn_lenet_conv2_tile, "ax", %progbits
        .global bn_lenet_conv2_tile
        .type   bn_lenet_conv2_tile, %function
        .thumb_func
bn_lenet_conv2_tile:
        push    {r4-r11, lr}
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
.macro BN2_POINT first, slot
        BN2_BLOCK \first
        BN2_BLOCK on
        BN2_BLOCK on
        str     sum0, [sp, #BN2_POINTS + 4 * \slot]
        str     sum1, [sp, #BN2_POINTS + 4 * \slot + 32]
        str     sum2, [sp, #BN2_POINTS + 4 * \slot + 64]
        str     sum3, [sp, #BN2_POINTS + 4 * \slot + 96]
.endm
@ Eight sums of an output row in r2-r9, in the order of the file, to indices of the table in r8, r6, r7, r9.
.macro BN2_INDICES
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
        usat    \output, #10, \output, asr #17
.endr
.endm
@ The next output row: activations in r8, r6, r7, r9.
.macro BN2_OUTPUTS
        ldm     lr!, {r2-r9}
        BN2_INDICES
.irp    output, r8, r6, r7, r9
        ldrsb   \output, [r10, \output]
.endr
.endm

1:      @ a half of a channel
        BN2_POINT new, 0
        BN2_POINT on, 1
        BN2_POINT new, 2
        BN2_POINT on, 3
        ldr     sum3, [sp, #BN2_NEXT_BIAS]
        ldr     sum3, [sum3]
        BN2_POINT bias, 4
        BN2_POINT on, 5
        BN2_POINT on, 6                         @ from the evens of point 1: output 0 needs their sum
        BN2_POINT new, 7
        ldr     r10, [sp, #BN2_TABLE]
        mov     lr, sp
.irp    pooled, 0, 8
        BN2_OUTPUTS
        add     r11, r8, r6
        add     r12, r7, r9
        BN2_OUTPUTS
        add     r11, r11, r8
        add     r11, r11, r6
        add     r12, r12, r7
        add     r12, r12, r9
        add     r11, r11, #2
        add     r12, r12, #2
        asr     r11, r11, #2                    @ the pooled activations
        asr     r12, r12, #2
        rsb     r2, r12, r11, lsl #8
        ldr     r3, [sp, #BN2_FLAT]
        strh    r12, [r3, #\pooled]
        strh    r2, [r3, #\pooled + 4]
.endr
        add     r3, r3, #16
        str     r3, [sp, #BN2_FLAT]
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
        add     sp, #BN2_FRAME
        pop     {r4-r11, pc}
        .size   bn_lenet_conv2_tile, . - bn_lenet_conv2_tile
