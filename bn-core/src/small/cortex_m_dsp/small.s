@ Convolution 2 of the small build: half of a tile column (4 output columns, 4 rows) of all channels at a time, in loops.
@
@       window  [point 8][pair of channels 3][row 8]               lanes   [channel 16][point 8][pair 3][kernel row 5]
@
@ The sums of a tile are those of conv2.s, whose diagram and proofs hold here. Loops where conv2.s has copies, and half of
@ the window.

@ void bn_lenet_small_transform_channels(const uint32_t *map, uint32_t *window): 8 rows of 12 words, of which the 8 from `map`
@ on.
        BN_FUNCTION bn_lenet_small_transform_channels
        sub     sp, #12
        movs    r2, #8
        str     r2, [sp]
1:
        ldm     r0, {r2-r9}
        BN_TRANSFORM BN_STORE_FIRST, 1
        adds    r0, #48
        adds    r1, #4
        ldr     r2, [sp]
        subs    r2, #1
        str     r2, [sp]
        bne     1b
        BN_RETURN bn_lenet_small_transform_channels, 12

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

@ void bn_lenet_small_conv2(const uint32_t *window, const uint32_t *lanes, const struct { const int32_t *bias;
@     const uint8_t *sigmoid; int8_t *flat; } *)
@ `flat` is the first activation of this half column; the next pooled row is 4 bytes on, the next channel 16.
.set    BNS_POINTS, 0                           @ [point 8][row 4]: sums, as conv2.s has them
.set    BNS_BIAS, 128
.set    BNS_TABLE, 132
.set    BNS_FLAT, 136
.set    BNS_WINDOW, 140
.set    BNS_CHANNELS, 144
.set    BNS_SLOT, 148
.set    BNS_END, 152
.set    BNS_RETURN, 156
.set    BNS_FRAME, 164                          @ with the nine registers saved, 8-aligned

@ A point: its three pairs of channels onto the sums, which go to the next slot.
        BN_PART bn_lenet_small_point
        str     lr, [sp, #BNS_RETURN]
        add     r2, r0, #96
        str     r2, [sp, #BNS_END]
4:
        BN2_BLOCK on
        ldr     r2, [sp, #BNS_END]
        cmp     r0, r2
        bne     4b
        ldr     r2, [sp, #BNS_SLOT]
        stm     r2!, {r7-r10}
        str     r2, [sp, #BNS_SLOT]
        ldr     pc, [sp, #BNS_RETURN]
        BN_PART_END bn_lenet_small_point

        BN_FUNCTION bn_lenet_small_conv2
        sub     sp, #BNS_FRAME
        ldm     r2, {r3, r4, r5}
        add     r2, sp, #BNS_BIAS
        stm     r2!, {r3, r4, r5}
        str     r0, [sp, #BNS_WINDOW]
        movs    r3, #16
        str     r3, [sp, #BNS_CHANNELS]

.macro BNS_BEGIN value
        mov     sum0, \value
        mov     sum1, sum0
        mov     sum2, sum0
        mov     sum3, sum0
.endm
1:      @ a channel
        mov     r2, sp
        str     r2, [sp, #BNS_SLOT]
        BNS_BEGIN #0
        bl      bn_lenet_small_point
        bl      bn_lenet_small_point
        BNS_BEGIN #0
        bl      bn_lenet_small_point
        bl      bn_lenet_small_point
        ldr     r2, [sp, #BNS_BIAS]
        ldr     r3, [r2], #4
        str     r2, [sp, #BNS_BIAS]
        BNS_BEGIN r3
        bl      bn_lenet_small_point
        bl      bn_lenet_small_point
        bl      bn_lenet_small_point                              @ from the evens of point 1: output 0 needs their sum
        BNS_BEGIN #0
        bl      bn_lenet_small_point
        ldr     r10, [sp, #BNS_TABLE]
        mov     lr, sp
        movs    r0, #4
        mov     r11, #2                         @ the second pool rounds
        mov     r12, #2
2:      @ an output row
        ldr     r2, [lr]
        ldr     r3, [lr, #16]
        ldr     r4, [lr, #32]
        ldr     r5, [lr, #48]
        ldr     r6, [lr, #64]
        ldr     r7, [lr, #80]
        ldr     r8, [lr, #96]
        ldr     r9, [lr, #112]
        BN2_INDICES
.irp    output, r8, r6, r7, r9
        BN_HALF_TABLE \output, r10
.endr
        add     r11, r11, r8
        add     r11, r11, r6
        add     r12, r12, r7
        add     r12, r12, r9
        add     lr, lr, #4
        subs    r0, #1
        tst     r0, #1
        bne     2b                              @ the other row of the pool
        asr     r11, r11, #2
        asr     r12, r12, #2
        ldr     r3, [sp, #BNS_FLAT]
        strb    r11, [r3]
        strb    r12, [r3, #1]
        adds    r3, #4
        str     r3, [sp, #BNS_FLAT]
        mov     r11, #2
        mov     r12, #2
        cmp     r0, #0
        bne     2b
        adds    r3, #8
        str     r3, [sp, #BNS_FLAT]
        ldr     r0, [sp, #BNS_WINDOW]
        ldr     r3, [sp, #BNS_CHANNELS]
        subs    r3, #1
        str     r3, [sp, #BNS_CHANNELS]
        bne     1b
        BN_RETURN bn_lenet_small_conv2, BNS_FRAME
