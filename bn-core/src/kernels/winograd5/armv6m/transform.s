@ Input transform of F(4, 5): what `ops::winograd::transform_data` says, one row of eight inputs at a time, in Thumb-1.
@
@ Everything is linear, so two rows may travel as one integer 65536 * high + low and every sum below is right for both. What
@ comes out is at most 25,400 in magnitude (two rows of 0..=1016), so that low is the signed lower half, and high what
@ remains without it.
@ The even and the odd inputs go through the same half: of a, b, c and the outer input d it makes
@
@       4 a + c - 5 b       a + 4 c - 5 b       4 (a + c) - 17 b       4 (d - c) + 21 (b - a)
@
@ which are, for d2 d4 d6 d0, the evens of 2 (a + 4 c ...), 1/2 and 1, and point 0; for d5 d3 d1 d7, the odds of 1/2, 2 and 1,
@ and infinity. The results leave as points 7 to 0, each through \store as (register, point, a register that is free).

@ In: a, b, c, d in r2, r3, r4, r6. Out: a + 4 c - 5 b in \outer, 4 a + c - 5 b in \inner, 4 (a + c) - 17 b in \one, the fourth in
@ r3. r2, r4, r5, r6, r7 are free afterwards.
.macro BN_HALF outer, inner, one
        subs    r6, r6, r4
        lsls    r6, r6, #2                      @ 4 (d - c)
        mov     lr, r6
        lsls    r5, r4, #2
        adds    r5, r5, r2
        lsls    r6, r3, #2
        adds    r6, r6, r3                      @ 5 b
        subs    r5, r5, r6
        mov     \outer, r5
        lsls    r7, r2, #2
        adds    r7, r7, r4
        subs    r7, r7, r6
        mov     \inner, r7
        adds    r5, r2, r4
        lsls    r5, r5, #2
        lsls    r6, r3, #4
        adds    r6, r6, r3                      @ 17 b
        subs    r5, r5, r6
        mov     \one, r5
        subs    r3, r3, r2
        movs    r6, #21
        muls    r3, r6, r3
        add     r3, lr
.endm
@ Points +p and -p: even + odd and even - odd, of which one is doubled.
.macro BN_BOTH store, point, even, odd, doubled
        mov     r2, \even
        mov     r3, \odd
.ifnb \doubled
        lsls    \doubled, \doubled, #1
.endif
        subs    r4, r2, r3
        \store  r4, \point + 1, r5
        adds    r4, r2, r3
        \store  r4, \point, r5
.endm
.macro BN_TRANSFORM load, store
        \load   r2, 5
        \load   r3, 3
        \load   r4, 1
        \load   r6, 7
        BN_HALF r9, r8, r10                     @ odds of 1/2, 2, 1
        \store  r3, 7, r5
        \load   r2, 2
        \load   r3, 4
        \load   r4, 6
        \load   r6, 0
        BN_HALF r11, r12, r6                    @ evens of 2, 1/2; that of 1 stays in r5
        \store  r3, 6, r6
        BN_BOTH \store, 4, r5, r10
        BN_BOTH \store, 2, r12, r9, r2
        BN_BOTH \store, 0, r11, r8, r3
.endm

@ void bn_lenet_transform_row(const uint8_t *row, int32_t *window): a row of 28 pixels, 6 tiles four columns apart, into one slot of
@ each tile's eight columns of eight words.
        BN_FUNCTION bn_lenet_transform_row
        movs    r2, r0
        adds    r2, #24
        push    {r2, r3}                        @ past the last tile; r3 only keeps the stack 8-aligned
        adds    r1, #7 * 32                     @ the last point
.macro BN_LOAD_ROW register, column
        ldrb    \register, [r0, #\column]
.endm
.macro BN_STORE_ROW result, point, free
        str     \result, [r1]
        subs    r1, #32
.endm
1:
        BN_TRANSFORM BN_LOAD_ROW, BN_STORE_ROW
        adds    r0, #4
        movs    r2, #2
        lsls    r2, r2, #8
        adds    r1, r1, r2                      @ from before this tile to the last point of the next
        ldr     r2, [sp]
        cmp     r0, r2
        bne     1b
        BN_RETURN bn_lenet_transform_row, 8

@ void bn_lenet_transform_channels(const uint32_t *map, int32_t *window): 8 rows, 12 words apart, of 8 words of two channels, into
@ the slots of these two channels' columns; a point is 6 columns of eight words.
        BN_FUNCTION bn_lenet_transform_channels
        movs    r2, #192
        lsls    r2, r2, #1
        adds    r2, r2, r0                      @ past the last row
        push    {r2, r3}                        @ r3 only keeps the stack 8-aligned
        movs    r2, #7
        movs    r3, #192
        muls    r2, r3, r2
        adds    r1, r1, r2                      @ the last point
.macro BN_LOAD_CHANNELS register, column
        ldr     \register, [r0, #4 * \column]
.endm
@ The inputs are 508 too large, and of all rows of the matrix only that of point 1 does not sum to zero but to -18.
.macro BN_STORE_CHANNELS result, point, free
.if \point == 4
        ldr     \free, 9f                       @ 18 * 508 in both halves
        adds    \result, \result, \free
.endif
        sxth    \free, \result
        subs    \result, \result, \free
        asrs    \result, \result, #16
        str     \free, [r1]
        str     \result, [r1, #32]
        subs    r1, #192
.endm
1:
        BN_TRANSFORM BN_LOAD_CHANNELS, BN_STORE_CHANNELS
        adds    r0, #48
        ldr     r2, 8f
        adds    r1, r1, r2                      @ from before this row to the last point of the next
        ldr     r2, [sp]
        cmp     r0, r2
        bne     1b
        BN_LEAVE 8
        .align  2
8:      .word   8 * 192 + 4
9:      .word   9144 * 65537
        BN_PART_END bn_lenet_transform_channels
