@ Convolutions, sigmoid and pool: one channel, in Thumb-1. A tile is 4 rows of 4 columns of outputs: 2 rows of 2 pooled values.
@
@       data rows   0 1 2 3 4 5 6 7        a column of one input channel at one point, a word each
@       output 0    k0 k1 k2 k3 k4
@       output 1       k0 k1 k2 k3 k4      a weight is multiplied with four rows at a time: an LDM loads them, each product
@       output 2          k0 k1 k2 k3 k4   takes the place of its row and is added to its sum in a high register
@       output 3             k0 k1 k2 k3 k4
@
@ Points come in pairs +p, -p; the second of a pair goes on from the sums of the first, which gives even = M(+p) + M(-p), and
@ odd = 2 M(+p) - even. Sums wrap modulo 2^32; only the outputs are used, and the stream's `check` has proved that they fit.
@
@ r0: data, r1: weights, r2: the weight, r3-r6: rows, r7: two weights, r8-r11: the sums.

.set    BN_POINTS, 0                            @ [M(2), even, M(1/2), even, M(1), even, M(0) + even, M(infinity)][row 4]
.set    BN_BIAS, 128
.set    BN_TABLE, 132
.set    BN_OUT, 136
.set    BN_WINDOW_END, 140
.set    BN_FRAME, 148                           @ with the nine registers saved, 8-aligned

.macro BN_BEGIN first
.ifc \first, new
        movs    r3, #0
.endif
.ifc \first, bias
        ldr     r3, [sp, #BN_BIAS]
.endif
.ifnc \first, on
        mov     r8, r3
        mov     r9, r3
        mov     r10, r3
        mov     r11, r3
.endif
.endm
@ One weight. Leaves r0 four rows on.
.macro BN_TAP
        ldm     r0!, {r3-r6}
        muls    r3, r2, r3
        muls    r4, r2, r4
        muls    r5, r2, r5
        muls    r6, r2, r6
        add     r8, r3
        add     r9, r4
        add     r10, r5
        add     r11, r6
.endm
@ All points of a tile; \columns adds up one point.
.macro BN_TILE columns
.macro BN_POINT first, slot
        BN_BEGIN \first
        \columns
        mov     r3, r8
        mov     r4, r9
        mov     r5, r10
        mov     r6, r11
        add     r7, sp, #BN_POINTS + 16 * \slot
        stm     r7!, {r3-r6}
.endm
        BN_POINT new, 0
        BN_POINT on, 1
        BN_POINT new, 2
        BN_POINT on, 3
        BN_POINT bias, 4
        BN_POINT on, 5
        BN_POINT on, 6                          @ from the evens of point 1: output 0 needs their sum
        BN_POINT new, 7
.purgem BN_POINT
.endm

@ An activation: the shift's floor, clamped to the table. r0: 1023, r1: the table. One comparison sees both ends; which it was
@ is seen by the sign.
.macro BN_ACTIVATION output, shift, load
        asrs    \output, \output, #\shift
        cmp     \output, r0
        bls     2f
        asrs    \output, \output, #31
        mvns    \output, \output
        ands    \output, \output, r0
2:
        \load   \output, [r1, \output]
.endm
@ Output row \row: the sums of its two left and two right activations in r6 and r5.
.macro BN_OUTPUTS row, shift, load
        ldr     r0, [sp, #BN_POINTS + 4 * (\row)]
        ldr     r1, [sp, #BN_POINTS + 4 * (\row) + 16]
        ldr     r2, [sp, #BN_POINTS + 4 * (\row) + 32]
        ldr     r3, [sp, #BN_POINTS + 4 * (\row) + 48]
        ldr     r4, [sp, #BN_POINTS + 4 * (\row) + 64]
        ldr     r5, [sp, #BN_POINTS + 4 * (\row) + 80]
        lsls    r0, r0, #1
        subs    r0, r0, r1                      @ odd of 2; r1 is the even
        lsls    r2, r2, #1
        subs    r2, r2, r3                      @ odd of 1/2; r3
        lsls    r4, r4, #1
        subs    r4, r4, r5                      @ odd of 1; r5
        ldr     r6, [sp, #BN_POINTS + 4 * (\row) + 96]
        adds    r6, r6, r1
        lsls    r7, r3, #3
        adds    r6, r6, r7                      @ output 0
        lsls    r1, r1, #2
        adds    r5, r5, r1
        lsls    r3, r3, #1
        adds    r5, r5, r3                      @ output 2
        ldr     r7, [sp, #BN_POINTS + 4 * (\row) + 112]
        adds    r7, r7, r4
        adds    r7, r7, r2
        lsls    r0, r0, #1
        adds    r4, r4, r0
        lsls    r0, r0, #2
        adds    r7, r7, r0                      @ output 3
        lsls    r2, r2, #2
        adds    r4, r4, r2                      @ output 1
        ldr     r0, 8f
        ldr     r1, [sp, #BN_TABLE]
        BN_ACTIVATION r6, \shift, \load
        BN_ACTIVATION r4, \shift, \load
        BN_ACTIVATION r5, \shift, \load
        BN_ACTIVATION r7, \shift, \load
        adds    r6, r6, r4
        adds    r5, r5, r7
.endm
@ Pooled row \pooled: the sums of four in r6, r5.
.macro BN_POOLED pooled, shift, load
        BN_OUTPUTS 2 * \pooled, \shift, \load
        mov     r12, r6
        mov     lr, r5
        BN_OUTPUTS 2 * \pooled + 1, \shift, \load
        add     r6, r12
        add     r5, lr
.endm
.macro BN_ENTER
        sub     sp, #BN_FRAME
        ldm     r2!, {r3, r4, r5}
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
        movs    r3, #6
        lsls    r3, r3, #8
        adds    r3, r3, r0
        str     r3, [sp, #BN_WINDOW_END]
.macro BN1_COLUMNS
        ldr     r7, [r1]
        sxth    r2, r7
        BN_TAP
        subs    r0, #12
        asrs    r2, r7, #16
        BN_TAP
        subs    r0, #12
        ldr     r7, [r1, #4]
        sxth    r2, r7
        BN_TAP
        subs    r0, #12
        asrs    r2, r7, #16
        BN_TAP
        subs    r0, #12
        ldr     r7, [r1, #8]
        sxth    r2, r7
        BN_TAP
        adds    r1, #24
.endm
1:
        BN_TILE BN1_COLUMNS
        mov     r8, r0
        mov     r9, r1
        BN_POOLED 0, 13, ldrb
        ldr     r3, [sp, #BN_OUT]
        strh    r6, [r3]
        strh    r5, [r3, #4]
        BN_POOLED 1, 13, ldrb
        ldr     r3, [sp, #BN_OUT]
        strh    r6, [r3, #48]
        strh    r5, [r3, #52]
        adds    r3, #8
        str     r3, [sp, #BN_OUT]
        mov     r0, r8
        mov     r1, r9
        subs    r1, #8 * 24                     @ the next tile, the same weights
        ldr     r3, [sp, #BN_WINDOW_END]
        cmp     r0, r3
        beq     3f
        b       1b
        .align  2
8:      .word   1023
3:
        BN_LEAVE BN_FRAME
        BN_PART_END bn_lenet_conv1_channel

@ One point: six columns, of which two and two have their weights in the halves of the same words.
        BN_PART bn_lenet_conv2_point
.rept   3
.irp    tap, 0, 1, 2, 3, 4
        ldr     r7, [r1, #4 * \tap]
        sxth    r2, r7
        BN_TAP
        adds    r0, #16
        asrs    r2, r7, #16
        BN_TAP
.if \tap < 4
        subs    r0, #44
.endif
.endr
        adds    r1, #20
.endr
        bx      lr
        BN_PART_END bn_lenet_conv2_point

@ void bn_lenet_conv2_channel(const int32_t *window, const int16_t *lanes, const struct { int32_t bias; const int8_t *sigmoid;
@     int16_t *flat; } *)
@ window [point 8][input channel 6][row 8]; lanes [point 8][pair of channels 3][kernel row 5][2]. Writes a half of two quads.
        BN_FUNCTION bn_lenet_conv2_channel
        BN_ENTER
.macro BN2_COLUMNS
        bl      bn_lenet_conv2_point
.endm
        BN_TILE BN2_COLUMNS
.irp    pooled, 0, 1
        BN_POOLED \pooled, 17, ldrsb
        adds    r6, #2
        adds    r5, #2
        asrs    r6, r6, #2                      @ the pooled activations
        asrs    r5, r5, #2
        lsls    r6, r6, #8
        subs    r6, r6, r5
        ldr     r3, [sp, #BN_OUT]
        strh    r5, [r3, #8 * \pooled]
        strh    r6, [r3, #8 * \pooled + 4]
.endr
        BN_LEAVE BN_FRAME
        .align  2
8:      .word   1023
        BN_PART_END bn_lenet_conv2_channel
