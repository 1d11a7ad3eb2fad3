@ Four channels of a depthwise layer of 3x3 windows, for cores with the DSP extension.
@
@ Each code of the map is unpacked once, into a halfword beside that of the row below it: a pair P for each two rows, column and
@ channel. Of pairs P0 (rows 0 and 1) and P1 (rows 2 and 3) and a column's weights  A = w0 | w1,  B = w1 | w2  come two results:
@
@       row 0:  smlad P0 . A,  smlabt P1 . B            w0 u0 + w1 u1 + w2 u2
@       row 1:  smlatb P0 . A, smlad  P1 . B            w0 u1 + w1 u2 + w2 u3
@
@ Pairs lie  [column][channel][even, odd]: one LDRD loads both, and the next two rows take the place of those before. Two columns
@ at a time: 24 multiplications for 36 products, of 40 instructions. An odd column comes first; then four columns are a loop, which
@ is entered in its middle where two are left over. Where windows are two steps apart row 1 is left out.
@
@ Results go to memory behind all that they are made of, so they may take the place of the map. The stream's `check` has proved
@ that no sum leaves 32 bits.

@ void bn_lenet_depthwise3(const struct { const uint32_t *input; uint32_t height, pitch; const uint32_t *beyond; int32_t row;
@     uint32_t *pairs; uint32_t columns, width; const uint32_t *stream; uint32_t *output; uint32_t rows; const uint32_t *first; } *)
@ `row` is the first row that windows reach, `beyond` what stands for rows that the map has not, `pairs` where the pairs of the
@ map's first column go, `columns` how many the map has of those that windows reach, `first` the first of these. Results are codes
@ from 0 to 255; there are two columns of them at least. `_stride2`: windows two steps apart. `_shift`: every multiplier is a
@ shift by 12 bits.
.set    BND_INPUT, 0
.set    BND_HEIGHT, 4
.set    BND_PITCH, 8
.set    BND_BEYOND, 12
.set    BND_ROW, 16
.set    BND_PAIRS, 20
.set    BND_COLUMNS, 24
.set    BND_WIDTH, 28
.set    BND_STREAM, 32
.set    BND_OUTPUT, 36
.set    BND_ROWS, 40
.set    BND_FIRST, 44
.set    BND_FIRST_END, 48                       @ where the pairs of all results end,
.set    BND_BELOW, 52                           @ bytes from a result to the one below it
.set    BND_MULTIPLIER, 56
.set    BND_NEXT_STREAM, 60                     @ of the next channel
.set    BND_STREAM_END, 64
.set    BND_END, 68                             @ and of the channel's
.set    BND_START, 72
.set    BND_BACK, 76                            @ bytes from the end of a channel's pairs back to the next channel's,
.set    BND_BACK_OUTPUT, 80                     @ and of its results
.set    BND_ENTRY, 84                           @ where columns begin, and where they go on behind an odd one
.set    BND_ENTRY2, 92                          @ likewise, with the pairs changed over
.set    BND_FRAME, 100

@ Unpacks a column: \a and \b are words of four codes, one below the other; \to is where its pairs go.
.macro BND_COLUMN a, b, at
        uxtb16  r8, \a
        uxtb16  r9, \b
        pkhbt   r10, r8, r9, lsl #16
        pkhtb   r11, r9, r8, asr #16
        uxtb16  r8, \a, ror #8
        uxtb16  r9, \b, ror #8
        str     r10, [r3, #\at]
        str     r11, [r3, #\at + 16]
        pkhbt   r10, r8, r9, lsl #16
        pkhtb   r11, r9, r8, asr #16
        str     r10, [r3, #\at + 8]
        str     r11, [r3, #\at + 24]
.endm

@ Unpacks the next two rows into the \odd ones of the pairs.
.macro BND_PAIRS_OF odd
        ldm     sp, {r0-r5}                     @ input, height, pitch, beyond, row, pairs
        mov     r8, r3
        mla     r6, r4, r2, r0
        cmp     r4, r1
        it      hs
        movhs   r6, r8
        add     r4, #1
        mla     r7, r4, r2, r0
        cmp     r4, r1
        it      hs
        movhs   r7, r8
        add     r4, #1
        str     r4, [sp, #BND_ROW]
        mov     r3, r5
        ldr     r12, [sp, #BND_COLUMNS]
        tst     r12, #1
        beq     2f
        ldr     r0, [r6], #4
        ldr     r1, [r7], #4
        BND_COLUMN r0, r1, 4 * \odd
        add     r3, #32
        subs    r12, #1
        beq     3f
2:      @ two columns
        ldrd    r0, r4, [r6], #8
        ldrd    r1, r5, [r7], #8
        BND_COLUMN r0, r1, 4 * \odd
        BND_COLUMN r4, r5, 4 * \odd + 32
        add     r3, #64
        subs    r12, #2
        bne     2b
3:
.endm

@ A column of windows: \p0 and \p1 are the pairs, \a and \b the weights; the sums begin with \s0 and \s1.
.macro BND_TAPS2 row0, row1, p0, p1, a, b, s0, s1
        smlad   \row0, \p0, \a, \s0
        smlatb  \row1, \p0, \a, \s1
        smlabt  \row0, \p1, \b, \row0
        smlad   \row1, \p1, \b, \row1
.endm
.macro BND_TAPS1 row0, p0, p1, a, b, s0
        smlad   \row0, \p0, \a, \s0
        smlabt  \row0, \p1, \b, \row0
.endm

@ A sum to a code: by the multiplier in r3, or by \shift bits, which what rounds was added to before.
.macro BND_SCALE sum, shift
.if \shift
        usat    \sum, #8, \sum, asr #\shift
.else
        smmulr  \sum, \sum, r3
        usat    \sum, #8, \sum
.endif
.endm
.macro BND_BELOW_AND_MULTIPLIER shift
.if \shift
        ldr     r2, [sp, #BND_BELOW]
.else
        ldrd    r2, r3, [sp, #BND_BELOW]
.endif
.endm

@ One channel of two rows of results: weights in r4 to r9, pairs from r0 on, results from r1 on. Two columns, r10 and r11 the first,
@ r12 and lr the second; or one.
.macro BND_TWO_OF2 p0, p1, shift
        ldr     lr, [sp, #BND_START]
        ldrd    r2, r3, [r0]
        BND_TAPS2 r10, r11, \p0, \p1, r4, r7, lr, lr
        ldrd    r2, r3, [r0, #32]
        BND_TAPS2 r10, r11, \p0, \p1, r5, r8, r10, r11
        BND_TAPS2 r12, lr, \p0, \p1, r4, r7, lr, lr
        ldrd    r2, r3, [r0, #64]!
        BND_TAPS2 r10, r11, \p0, \p1, r6, r9, r10, r11
        BND_TAPS2 r12, lr, \p0, \p1, r5, r8, r12, lr
        ldrd    r2, r3, [r0, #32]
        BND_TAPS2 r12, lr, \p0, \p1, r6, r9, r12, lr
        BND_BELOW_AND_MULTIPLIER \shift
.irp    sum, r10, r11, r12, lr
        BND_SCALE \sum, \shift
.endr
        @ Where there is no row below, the row itself is written last.
        strb    r11, [r1, r2]
        strb    r10, [r1], #4
        strb    lr, [r1, r2]
        strb    r12, [r1], #4
.endm
.macro BND_ONE_OF2 p0, p1, shift
        ldr     lr, [sp, #BND_START]
        ldrd    r2, r3, [r0], #32
        BND_TAPS2 r10, r11, \p0, \p1, r4, r7, lr, lr
        ldrd    r2, r3, [r0]
        BND_TAPS2 r10, r11, \p0, \p1, r5, r8, r10, r11
        ldrd    r2, r3, [r0, #32]
        BND_TAPS2 r10, r11, \p0, \p1, r6, r9, r10, r11
        BND_BELOW_AND_MULTIPLIER \shift
        BND_SCALE r10, \shift
        BND_SCALE r11, \shift
        strb    r11, [r1, r2]
        strb    r10, [r1], #4
.endm
@ One row of results, windows two steps apart.
.macro BND_TWO_OF1 p0, p1, shift
        ldr     r11, [sp, #BND_START]
        ldrd    r2, r3, [r0]
        BND_TAPS1 r10, \p0, \p1, r4, r7, r11
        ldrd    r2, r3, [r0, #32]
        BND_TAPS1 r10, \p0, \p1, r5, r8, r10
        ldrd    r2, r3, [r0, #64]
        BND_TAPS1 r10, \p0, \p1, r6, r9, r10
        BND_TAPS1 r11, \p0, \p1, r4, r7, r11
        ldrd    r2, r3, [r0, #96]
        BND_TAPS1 r11, \p0, \p1, r5, r8, r11
        ldrd    r2, r3, [r0, #128]!
        BND_TAPS1 r11, \p0, \p1, r6, r9, r11
.if \shift == 0
        ldr     r3, [sp, #BND_MULTIPLIER]
.endif
        BND_SCALE r10, \shift
        BND_SCALE r11, \shift
        strb    r10, [r1], #4
        strb    r11, [r1], #4
.endm
.macro BND_ONE_OF1 p0, p1, shift
        ldr     r11, [sp, #BND_START]
        ldrd    r2, r3, [r0]
        BND_TAPS1 r10, \p0, \p1, r4, r7, r11
        ldrd    r2, r3, [r0, #32]
        BND_TAPS1 r10, \p0, \p1, r5, r8, r10
        ldrd    r2, r3, [r0, #64]!
        BND_TAPS1 r10, \p0, \p1, r6, r9, r10
.if \shift == 0
        ldr     r3, [sp, #BND_MULTIPLIER]
.endif
        BND_SCALE r10, \shift
        strb    r10, [r1], #4
.endm
@ All columns; r2 is the end of the channel's pairs.
.macro BND_COLUMNS rows, p0, p1, shift, four, two, one, entry
        ldr     pc, [sp, #\entry]
\one:
        BND_ONE_OF\rows \p0, \p1, \shift
        ldr     pc, [sp, #(\entry + 4)]
\four:
        BND_TWO_OF\rows \p0, \p1, \shift
\two:
        BND_TWO_OF\rows \p0, \p1, \shift
        ldr     r2, [sp, #BND_END]
        cmp     r0, r2
        bne.w   \four\()b
.endm
@ Where columns begin and go on. r8: how many there are.
.macro BND_ENTRY_OF at, four, two, one
        adr.w   r1, \four
        adr.w   r2, \two
        adr.w   r3, \one
        tst     r8, #2
        it      ne
        movne   r1, r2
        tst     r8, #1
        it      eq
        moveq   r3, r1
        add     r1, #1                          @ Thumb
        add     r3, #1
        strd    r3, r1, [sp, #\at]
.endm

@ All four channels of \rows rows of results.
.macro BND_CHANNELS rows, p0, p1, shift, four, two, one, entry
        ldrd    r12, r1, [sp, #BND_STREAM]      @ and output
        ldrd    r0, r2, [sp, #BND_FIRST]        @ and end
        add     r3, r12, #128
        strd    r3, r2, [sp, #BND_STREAM_END]   @ and end
1:
        ldm     r12!, {r4-r9}
        ldrd    r2, r3, [r12], #8
.if \shift
        add     r2, #(1 << (\shift - 1))        @ rounds
.endif
        str     r2, [sp, #BND_START]
        strd    r3, r12, [sp, #BND_MULTIPLIER]  @ and next stream
        BND_COLUMNS \rows, \p0, \p1, \shift, \four, \two, \one, \entry
        ldrd    r12, r3, [sp, #BND_NEXT_STREAM] @ and end
        ldrd    r4, r5, [sp, #BND_BACK]         @ and of results
        add     r2, #8
        str     r2, [sp, #BND_END]
        sub     r0, r4
        sub     r1, r5
        cmp     r12, r3
        bne.w   1b
.endm

@ Behind \rows rows of results: whether more are left, and their place.
.macro BND_NEXT rows
        ldrd    r1, r2, [sp, #BND_OUTPUT]       @ and rows
        ldr     r3, [sp, #BND_WIDTH]
        add     r1, r1, r3, lsl #(1 + \rows)
        subs    r2, #\rows
        strd    r1, r2, [sp, #BND_OUTPUT]
        ble.w   9f
.endm
.macro BND_BELOW_OF rows
.if \rows == 2
        ldr     r2, [sp, #BND_ROWS]
        ldr     r3, [sp, #BND_WIDTH]
        lsl     r3, r3, #2
        cmp     r2, #1
        it      eq
        moveq   r3, #0
        str     r3, [sp, #BND_BELOW]
.endif
.endm

.macro BND_LAYER name, rows, shift
        BN_FUNCTION \name, 2                    @ ADR counts from whole words
        sub     sp, #BND_FRAME
        ldm     r0, {r1-r12}
        stm     sp, {r1-r12}
        lsl     r1, r8, #(7 - \rows)
        lsl     r2, r8, #2
        add     r3, r12, r1
        sub     r1, #8
        sub     r2, #1
        str     r3, [sp, #BND_FIRST_END]
        strd    r1, r2, [sp, #BND_BACK]
        BND_ENTRY_OF BND_ENTRY, 41f, 51f, 61f
        BND_ENTRY_OF BND_ENTRY2, 42f, 52f, 62f
        BND_PAIRS_OF 0
7:
        BND_PAIRS_OF 1
        BND_BELOW_OF \rows
        BND_CHANNELS \rows, r2, r3, \shift, 41, 51, 61, BND_ENTRY
        BND_NEXT \rows
        BND_PAIRS_OF 0
        BND_BELOW_OF \rows
        BND_CHANNELS \rows, r3, r2, \shift, 42, 52, 62, BND_ENTRY2
        BND_NEXT \rows
        b.w     7b
9:
        BN_RETURN \name, BND_FRAME, 2
.endm
        BND_LAYER bn_lenet_depthwise3, 2, 0
        BND_LAYER bn_lenet_depthwise3_stride2, 1, 0
        BND_LAYER bn_lenet_depthwise3_shift, 2, 12
        BND_LAYER bn_lenet_depthwise3_stride2_shift, 1, 12
