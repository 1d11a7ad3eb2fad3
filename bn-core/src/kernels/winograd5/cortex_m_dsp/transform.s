@ Input transform of F(4, 5): what `ops::winograd::transform_data` says, on two packed lanes at once.
@
@ In: i0..i7 hold inputs 0..7, each lane in 0..=1016 (pixels stay below 256), so that plain additions and shifts of whole
@ words cannot carry from the low lane into the high one: the largest sum is 25 * 1016 = 25,400. Differences are made last,
@ by lane. Out: each result is passed to the macro \store as (register, point), the points in the order of the file.
@ \centred: the inputs of convolution 2 are 508 too large, and of all rows of the matrix only that of point 1 does not sum
@ to zero, so only its result has to be mended.

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

.macro BN_TRANSFORM store, centred
        @ Points 0 and infinity: 4 i0 + 21 i4 - (4 i6 + 21 i2) and 4 i7 + 21 i3 - (4 i1 + 21 i5).
        add     t1, i4, i4, lsl #2              @ 5 i4
        add     t2, i3, i3, lsl #2              @ 5 i3
        add     t0, i4, t1, lsl #2              @ 21 i4
        add     t0, t0, i0, lsl #2
        add     t3, i2, i2, lsl #2
        add     t3, i2, t3, lsl #2              @ 21 i2
        add     t3, t3, i6, lsl #2
        ssub16  i0, t0, t3
        add     t0, i3, t2, lsl #2              @ 21 i3
        add     t0, t0, i7, lsl #2
        add     t3, i5, i5, lsl #2
        add     t3, i5, t3, lsl #2              @ 21 i5
        add     t3, t3, i1, lsl #2
        ssub16  i7, t0, t3
        \store  i0, 6, t0, t3
        \store  i7, 7, t0, t3
        @ Points 2 and -2: even = i2 + 4 i6 - 5 i4, odd = 2 (i1 + 4 i5 - 5 i3).
        add     t0, i2, i6, lsl #2
        ssub16  t0, t0, t1
        add     t3, i1, i5, lsl #2
        ssub16  t3, t3, t2
        sadd16  t3, t3, t3
        sadd16  i0, t0, t3
        ssub16  t0, t0, t3
        \store  i0, 0, t3, i7
        \store  t0, 1, t3, i7
        @ Points 1/2 and -1/2: even = 2 (i6 + 4 i2 - 5 i4), odd = i5 + 4 i1 - 5 i3.
        add     t0, i6, i2, lsl #2
        ssub16  t0, t0, t1
        sadd16  t0, t0, t0
        add     t3, i5, i1, lsl #2
        ssub16  t3, t3, t2
        sadd16  i0, t0, t3
        ssub16  t0, t0, t3
        \store  i0, 2, t3, i7
        \store  t0, 3, t3, i7
        @ Points 1 and -1: even = 4 (i2 + i6) - 17 i4, odd = 4 (i1 + i5) - 17 i3.
        add     i2, i2, i6
        lsl     i2, i2, #2
        add     i4, i4, i4, lsl #4
        ssub16  i2, i2, i4
        add     i1, i1, i5
        lsl     i1, i1, #2
        add     i3, i3, i3, lsl #4
        ssub16  i1, i1, i3
        ssub16  t0, i2, i1
.if \centred
        @ Each of even and odd is 9 * 508 too small; one at a time, so that no sum leaves 16 bits.
        movw    t3, #4572
        movt    t3, #4572
        sadd16  i2, i2, t3
        sadd16  i2, i2, i1
        sadd16  i2, i2, t3
.else
        sadd16  i2, i2, i1
.endif
        \store  i2, 4, t3, i7
        \store  t0, 5, t3, i7
.endm

@ An activation from the upper half of a table whose lower half is its mirror image: table[511 - k] = -table[512 + k].
@ \index is 0..=1023, then the activation. Changes the flags.
.macro BN_HALF_TABLE index, table
        subs    \index, \index, #512
        it      mi
        mvnmi   \index, \index
        ldrb    \index, [\table, \index]
        it      mi
        rsbmi   \index, \index, #0
.endm
