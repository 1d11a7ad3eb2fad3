@ Input transform of F(4, 5): what `ops::winograd::transform_data` says, one row of eight inputs at a time.
@
@ Everything is linear, so two rows may travel as one integer 65536 * high + low and every sum below is right for both. What
@ comes out is at most 25,400 in magnitude (two rows of 0..=1016), so that low is the signed lower half, and high what
@ remains without it.
@ Each result is passed to the macro \store as (register, point, a register that is free).

i0      .req r2
i1      .req r3
i2      .req r4
i3      .req r5
i4      .req r6
i5      .req r7
i6      .req r8
i7      .req r9
t0      .req r10
t1      .req r11
t2      .req r12
t3      .req lr

.macro BN_TRANSFORM store
        add     t1, i4, i4, lsl #2              @ 5 i4
        add     t2, i3, i3, lsl #2              @ 5 i3
        @ Point 0: 4 (i0 - i6) + 21 (i4 - i2).
        sub     t0, i4, i2
        sub     i0, i0, i6
        add     t3, t0, t0, lsl #2
        add     t0, t0, t3, lsl #2              @ 21 times
        add     i0, t0, i0, lsl #2
        \store  i0, 6, t0
        @ Infinity: 4 (i7 - i1) + 21 (i3 - i5).
        sub     t0, i3, i5
        sub     i7, i7, i1
        add     t3, t0, t0, lsl #2
        add     t0, t0, t3, lsl #2
        add     i7, t0, i7, lsl #2
        \store  i7, 7, t0
        @ Points 2 and -2: even = i2 + 4 i6 - 5 i4, odd = 2 (i1 + 4 i5 - 5 i3).
        add     t0, i2, i6, lsl #2
        sub     t0, t0, t1
        add     t3, i1, i5, lsl #2
        sub     t3, t3, t2
        add     i0, t0, t3, lsl #1
        sub     t0, t0, t3, lsl #1
        \store  i0, 0, i7
        \store  t0, 1, i7
        @ Points 1/2 and -1/2: even = 2 (i6 + 4 i2 - 5 i4), odd = i5 + 4 i1 - 5 i3.
        add     t0, i6, i2, lsl #2
        sub     t0, t0, t1
        add     t3, i5, i1, lsl #2
        sub     t3, t3, t2
        add     i0, t3, t0, lsl #1
        rsb     t0, t3, t0, lsl #1
        \store  i0, 2, i7
        \store  t0, 3, i7
        @ Points 1 and -1: even = 4 (i2 + i6) - 17 i4, odd = 4 (i1 + i5) - 17 i3.
        add     t0, i2, i6
        add     t1, i4, i4, lsl #4
        rsb     t0, t1, t0, lsl #2
        add     t3, i1, i5
        add     t2, i3, i3, lsl #4
        rsb     t3, t2, t3, lsl #2
        add     i0, t0, t3
        sub     t0, t0, t3
        \store  i0, 4, i7
        \store  t0, 5, i7
.endm

@ void bn_lenet_transform_row(const uint8_t *row, int32_t *window): a row of 28 pixels, 6 tiles four columns apart, into one slot of
@ each tile's eight columns of eight words.
        BN_FUNCTION bn_lenet_transform_row
        add     t0, r1, #6 * 256                @ past the last tile
        push    {t0, lr}                        @ lr only keeps the stack 8-aligned
.macro BN_STORE_ROW result, point, free
        str     \result, [r1, #32 * \point]
.endm
1:
        ldrb    i1, [r0, #1]
        ldrb    i2, [r0, #2]
        ldrb    i3, [r0, #3]
        ldrb    i4, [r0, #4]
        ldrb    i5, [r0, #5]
        ldrb    i6, [r0, #6]
        ldrb    i7, [r0, #7]
        ldrb    i0, [r0], #4
        BN_TRANSFORM BN_STORE_ROW
        add     r1, r1, #256
        ldr     t0, [sp]
        cmp     r1, t0
        bne     1b
        pop     {t0, lr}
        pop     {r4-r11, pc}
        .size   bn_lenet_transform_row, . - bn_lenet_transform_row

@ void bn_lenet_transform_channels(const uint32_t *map, int32_t *window): 8 rows, 12 words apart, of 8 words of two channels, into
@ the slots of these two channels' columns; a point is 6 columns of eight words.
        BN_FUNCTION bn_lenet_transform_channels
        add     t0, r1, #32                     @ past the last row
        push    {t0, lr}
@ The inputs are 508 too large, and of all rows of the matrix only that of point 1 does not sum to zero but to -18.
.macro BN_STORE_CHANNELS result, point, free
.if \point == 4
        add     \result, \result, #0x23002300   @ 18 * 508 = 0x23b8, in both halves
        add     \result, \result, #0x00b800b8
.endif
        sxth    \free, \result
        sub     \result, \result, \free
        asr     \result, \result, #16
        str     \free, [r1, #192 * \point]
        str     \result, [r1, #192 * \point + 32]
.endm
1:
        ldm     r0, {i0-i7}
        BN_TRANSFORM BN_STORE_CHANNELS
        add     r0, r0, #48
        add     r1, r1, #4
        ldr     t0, [sp]
        cmp     r1, t0
        bne     1b
        pop     {t0, lr}
        pop     {r4-r11, pc}
        .size   bn_lenet_transform_channels, . - bn_lenet_transform_channels
