@ Four channels of some rows of a depthwise layer of 3x3 windows, for cores that multiply one number at a time.
@
@ The codes lie  [column][row 8][channel]: all of a window are within the reach of one pointer, and the windows of the next row begin
@ four bytes on. So the nine weights of a channel stay in registers for all rows, and two results beside each other share codes:
@
@       r2 r3 r4   weights, row by row          r0   the first column's codes     r11, r12   sums
@       r5 r6 r7                                r1   the first result             lr         a code
@       r8 r9 r10
@
@ 18 MLA of 38 instructions for two results. The stream's `check` has proved that no sum leaves 32 bits.

@ void bn_lenet_depthwise3(const struct { const uint32_t *codes; uint32_t *output; const uint32_t *stream; uint32_t rows, span, pitch; }
@     *)
@ `rows` is the number of rows of results, `pitch` the bytes from one to the next, `span` those from the codes of a row's first window
@ to those of its last but one. Results are codes from 0 to 255. `_stride2`: windows two steps apart. `_shift`: every multiplier is a
@ shift by 12 bits.
.set    BND_CODES, 0                            @ of the channel, and likewise results
.set    BND_OUTPUT, 4
.set    BND_STREAM, 8
.set    BND_ROWS, 12
.set    BND_SPAN, 16
.set    BND_PITCH, 20
.set    BND_ROW, 24                             @ codes of the row, and behind them results
.set    BND_START, 32
.set    BND_MULTIPLIER, 36
.set    BND_LAST, 40                            @ the last place where two columns begin
.set    BND_LEFT, 44
.set    BND_STREAM_END, 48
.set    BND_FRAME, 52

@ A code and its products of the first result's sum, the second's, or both.
.macro BND_FIRST at, w
        ldrb    lr, [r0, #\at]
        mla     r11, lr, \w, r11
.endm
.macro BND_SECOND at, w
        ldrb    lr, [r0, #\at]
        mla     r12, lr, \w, r12
.endm
.macro BND_BOTH at, w, v, start=r12
        ldrb    lr, [r0, #\at]
        mla     r12, lr, \v, \start
        mla     r11, lr, \w, r11
.endm
.macro BND_TWO stride
.if \stride == 1
        BND_BOTH 32, r3, r2, r11
        BND_BOTH 36, r6, r5
        BND_BOTH 40, r9, r8
        BND_BOTH 64, r4, r3
        BND_BOTH 68, r7, r6
        BND_BOTH 72, r10, r9
        BND_SECOND 96, r4
        BND_SECOND 100, r7
        BND_SECOND 104, r10
.else
        BND_BOTH 64, r4, r2, r11
        BND_BOTH 68, r7, r5
        BND_BOTH 72, r10, r8
        BND_FIRST 32, r3
        BND_FIRST 36, r6
        BND_FIRST 40, r9
        BND_SECOND 96, r3
        BND_SECOND 100, r6
        BND_SECOND 104, r9
        BND_SECOND 128, r4
        BND_SECOND 132, r7
        BND_SECOND 136, r10
.endif
        BND_FIRST 4, r5
        BND_FIRST 8, r8
        ldrb    lr, [r0], #(64 * \stride)
        mla     r11, lr, r2, r11
.endm
.macro BND_ONE
.irp    of, "0,r2", "4,r5", "8,r8", "32,r3", "36,r6", "40,r9", "64,r4", "68,r7", "72,r10"
        BND_FIRST \of
.endr
.endm
@ A sum to a code.
.macro BND_RESULT sum, shift
.if \shift
        usat    \sum, #8, \sum, asr #\shift
.else
        ldr     lr, [sp, #BND_MULTIPLIER]
        smull   lr, \sum, \sum, lr
        lsls    lr, lr, #1                      @ the bit that rounds
        adc     \sum, \sum, #0
        usat    \sum, #8, \sum
.endif
.endm

.macro BND_STRIP name, stride, shift
        BN_FUNCTION \name
        sub     sp, #BND_FRAME
        ldm     r0, {r1-r6}
        stm     sp, {r1-r6}
        add     r3, #128
        str     r3, [sp, #BND_STREAM_END]
1:      @ a channel
        ldr     r0, [sp, #BND_STREAM]
        ldrsh   r2, [r0]
        ldrsh   r3, [r0, #4]
        ldrsh   r4, [r0, #8]
        ldrsh   r5, [r0, #2]
        ldrsh   r6, [r0, #6]
        ldrsh   r7, [r0, #10]
        ldrsh   r8, [r0, #14]
        ldrsh   r9, [r0, #18]
        ldrsh   r10, [r0, #22]
        ldrd    r11, r12, [r0, #24]
.if \shift
        add     r11, #(1 << (\shift - 1))       @ rounds
.endif
        strd    r11, r12, [sp, #BND_START]
        adds    r0, #32
        str     r0, [sp, #BND_STREAM]
        ldrd    r0, r1, [sp, #BND_CODES]        @ and output
        strd    r0, r1, [sp, #BND_ROW]
        adds    r0, #1
        adds    r1, #1
        strd    r0, r1, [sp, #BND_CODES]
        ldr     r11, [sp, #BND_ROWS]
        str     r11, [sp, #BND_LEFT]
2:      @ a row
        ldrd    r0, r1, [sp, #BND_ROW]
        ldr     lr, [sp, #BND_SPAN]
        add     lr, r0
        str     lr, [sp, #BND_LAST]
3:
        ldr     r11, [sp, #BND_START]
        BND_TWO \stride
        BND_RESULT r11, \shift
        BND_RESULT r12, \shift
        strb    r11, [r1], #4
        strb    r12, [r1], #4
        ldr     lr, [sp, #BND_LAST]
        cmp     r0, lr
        bls     3b
        sub     lr, r0, lr
        cmp     lr, #(64 * \stride)
        beq     4f
        ldr     r11, [sp, #BND_START]           @ one is left
        BND_ONE
        BND_RESULT r11, \shift
        strb    r11, [r1]
4:
        ldrd    r0, r1, [sp, #BND_ROW]
        ldr     lr, [sp, #BND_PITCH]
        ldr     r11, [sp, #BND_LEFT]
        adds    r0, #(4 * \stride)
        add     r1, lr
        strd    r0, r1, [sp, #BND_ROW]
        subs    r11, #1
        str     r11, [sp, #BND_LEFT]
        bne     2b
        ldr     r0, [sp, #BND_STREAM]
        ldr     r1, [sp, #BND_STREAM_END]
        cmp     r0, r1
        bne.w   1b
        BN_RETURN \name, BND_FRAME
.endm
        BND_STRIP bn_lenet_depthwise3, 1, 0
        BND_STRIP bn_lenet_depthwise3_stride2, 2, 0
        BND_STRIP bn_lenet_depthwise3_shift, 1, 12
        BND_STRIP bn_lenet_depthwise3_stride2_shift, 2, 12
