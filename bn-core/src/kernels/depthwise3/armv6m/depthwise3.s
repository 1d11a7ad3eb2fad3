@ Four channels of some rows of a depthwise layer of 3x3 windows, for Armv6-M.
@
@ The codes lie  [row][column][channel], the weights of a channel as words on the stack. MULS destroys a factor, but of two results
@ beside each other each code and each weight is used up by its last product: along  c0 w0 c1 w1 c2 w2 c3  each neighbours' product
@ goes to one of both sums by turns. So no factor is copied: 19 instructions for the 6 products of a row.
@
@       r0  codes      r5, r6  sums      r7  results     r1-r4  factors
@       r8  bytes of a row of codes      r9  from the third row's codes to the next windows'     r10  start value
@       r11 the last place where two columns begin      r12, lr halves of the multiplier, where it is none of a shift
@
@ The stream's `check` has proved that no sum leaves 32 bits.

@ void bn_lenet_depthwise3(const struct { const uint32_t *codes; uint32_t *output; const uint32_t *stream; uint32_t rows, span,
@     pitch, line; } *)
@ `rows` is the number of rows of results, `pitch` the bytes from one to the next, `span` those from the codes of a row's first window
@ to those of its last but one, `line` those of a row of codes. Results are codes from 0 to 255. `_shift`: every multiplier is a shift by
@ 12 bits. `_stride2`: windows two steps apart.
.set    BND_SHIFT, 12
.set    BND_HALF, 1 << (BND_SHIFT - 1)

.set    BND_WEIGHTS, 0                          @ nine words
.set    BND_CODES, 36                           @ of the channel, and likewise results
.set    BND_OUTPUT, 40
.set    BND_STREAM, 44
.set    BND_ROWS, 48
.set    BND_SPAN, 52
.set    BND_PITCH, 56
.set    BND_LINE, 60
.set    BND_ROW, 64                             @ codes of the row,
.set    BND_ROW_OUTPUT, 68                      @ and its results
.set    BND_LEFT, 72
.set    BND_STREAM_END, 76
.set    BND_FRAME, 80

@ A product that uses up \factor.
.macro BND_PRODUCT sum, factor, by
        muls    \factor, \by, \factor
        adds    \sum, \sum, \factor
.endm
@ A row of two windows, whose weights lie at \at.
.macro BND_TWO stride, at
        ldrb    r1, [r0]
        ldr     r2, [sp, #\at]
        BND_PRODUCT r5, r1, r2
.if \stride == 1
        ldrb    r3, [r0, #4]
        BND_PRODUCT r6, r2, r3
        ldr     r4, [sp, #\at + 4]
        BND_PRODUCT r5, r3, r4
        ldrb    r1, [r0, #8]
        BND_PRODUCT r6, r4, r1
        ldr     r2, [sp, #\at + 8]
        BND_PRODUCT r5, r1, r2
        ldrb    r3, [r0, #12]
        BND_PRODUCT r6, r2, r3
.else
        ldrb    r3, [r0, #8]
        BND_PRODUCT r6, r2, r3
        ldr     r4, [sp, #\at + 8]
        BND_PRODUCT r5, r3, r4
        ldrb    r1, [r0, #16]
        BND_PRODUCT r6, r4, r1
        ldrb    r1, [r0, #4]
        ldr     r2, [sp, #\at + 4]
        BND_PRODUCT r5, r1, r2
        ldrb    r3, [r0, #12]
        BND_PRODUCT r6, r2, r3
.endif
.endm
@ A row of one window.
.macro BND_ONE at
.irp    column, 0, 4, 8
        ldrb    r1, [r0, #\column]
        ldr     r2, [sp, #\at + \column]
        BND_PRODUCT r5, r1, r2
.endr
.endm
@ Stores a sum's code.
.macro BND_RESULT sum, at, shift
.if \shift
        asrs    \sum, \sum, #BND_SHIFT
.else
        BN_SCALE \sum, r12, lr, r1, r2, r3, r4
.endif
        BN_CLAMP \sum, r1
        strb    \sum, [r7, #\at]
.endm

.macro BND_STRIP name, stride, shift
        BN_FUNCTION \name
        sub     sp, #BND_FRAME
        add     r7, sp, #BND_CODES
        ldm     r0!, {r1-r6}
        stm     r7!, {r1-r6}
        ldr     r0, [r0]
        str     r0, [r7]
        mov     r8, r0
        lsls    r0, r0, #1
        movs    r1, #(8 * \stride)
        subs    r1, r1, r0
        mov     r9, r1
        adds    r3, #128
        str     r3, [sp, #BND_STREAM_END]
1:      @ a channel
        ldr     r0, [sp, #BND_STREAM]
.irp    column, 0, 4, 8
        ldr     r1, [r0, #\column]
        sxth    r2, r1
        str     r2, [sp, #BND_WEIGHTS + \column]
        asrs    r1, r1, #16
        str     r1, [sp, #BND_WEIGHTS + 12 + \column]
        ldr     r1, [r0, #12 + \column]
        asrs    r1, r1, #16
        str     r1, [sp, #BND_WEIGHTS + 24 + \column]
.endr
        ldr     r1, [r0, #24]
.if \shift
        movs    r2, #(BND_HALF >> 8)
        lsls    r2, r2, #8
        adds    r1, r1, r2                      @ rounds
.else
        ldr     r2, [r0, #28]
        uxth    r3, r2
        lsrs    r2, r2, #16
        mov     r12, r3
        mov     lr, r2
.endif
        mov     r10, r1
        adds    r0, #32
        str     r0, [sp, #BND_STREAM]
        ldr     r0, [sp, #BND_CODES]
        ldr     r7, [sp, #BND_OUTPUT]
        adds    r1, r0, #1
        adds    r2, r7, #1
        str     r1, [sp, #BND_CODES]
        str     r2, [sp, #BND_OUTPUT]
        ldr     r1, [sp, #BND_ROWS]
        str     r1, [sp, #BND_LEFT]
2:      @ a row
        str     r0, [sp, #BND_ROW]
        str     r7, [sp, #BND_ROW_OUTPUT]
        ldr     r1, [sp, #BND_SPAN]
        adds    r1, r1, r0
        mov     r11, r1
3:
        mov     r5, r10
        mov     r6, r10
        BND_TWO \stride, BND_WEIGHTS
        add     r0, r0, r8
        BND_TWO \stride, BND_WEIGHTS + 12
        add     r0, r0, r8
        BND_TWO \stride, BND_WEIGHTS + 24
        add     r0, r0, r9
        BND_RESULT r5, 0, \shift
        BND_RESULT r6, 4, \shift
        adds    r7, #8
        cmp     r0, r11
        bls     3b
        mov     r1, r11
        subs    r1, r0, r1
        cmp     r1, #(8 * \stride)
        beq     4f
        mov     r5, r10                         @ one is left
        BND_ONE BND_WEIGHTS
        add     r0, r0, r8
        BND_ONE BND_WEIGHTS + 12
        add     r0, r0, r8
        BND_ONE BND_WEIGHTS + 24
        BND_RESULT r5, 0, \shift
4:
        ldr     r0, [sp, #BND_ROW]
        ldr     r7, [sp, #BND_ROW_OUTPUT]
        ldr     r1, [sp, #BND_PITCH]
        adds    r7, r7, r1
.rept   \stride
        add     r0, r0, r8
.endr
        ldr     r1, [sp, #BND_LEFT]
        subs    r1, #1
        str     r1, [sp, #BND_LEFT]
        beq     5f
        b       2b
5:
        ldr     r0, [sp, #BND_STREAM]
        ldr     r1, [sp, #BND_STREAM_END]
        cmp     r0, r1
        beq     6f
        b       1b
6:
        BN_RETURN \name, BND_FRAME
.endm
        BND_STRIP bn_lenet_depthwise3, 1, 0
        BND_STRIP bn_lenet_depthwise3_shift, 1, 1
        BND_STRIP bn_lenet_depthwise3_stride2, 2, 0
        BND_STRIP bn_lenet_depthwise3_stride2_shift, 2, 1
