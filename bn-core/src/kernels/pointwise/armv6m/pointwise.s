@ Convolutions of single positions with int16 weights, for Armv6-M: three positions by two channels.
@
@ The codes of three positions are unpacked to words once for all channels, in the order of the weights: code 0 of all three, code 2,
@ 1, 3. MULS destroys a factor: each weight and each code is used up by its last product, so of six products two alone need a copy.
@ 19 instructions for 6 products.
@
@       r8-r10        sums of the first channel         r2-r4   a code of three positions
@       r11, r12, lr  sums of the second                r5, r6  a weight of either channel
@
@ void bn_lenet_pointwise(const struct { const uint32_t *from; uint32_t step, plane, quads; uint32_t *codes; const uint32_t
@     *stream, *stream_end; uint32_t threes; uint8_t *output; uint32_t lane, next; } *)
@ `step` is the bytes from a position to the next, `plane` those from four channels to the next, `quads` how many words of four
@ channels there are, `threes` how often three positions; `lane` and `next` are of the results what `step` and `plane` are of the map.
@ Results are codes from 0 to 255. `_shift`: every multiplier is a shift by 12 bits.
.set    BNQ_SHIFT, 12

.set    BNQ_FROM, 0
.set    BNQ_STEP, 4
.set    BNQ_PLANE, 8
.set    BNQ_QUADS, 12
.set    BNQ_CODES, 16
.set    BNQ_STREAM, 20
.set    BNQ_STREAM_END, 24
.set    BNQ_THREES, 28
.set    BNQ_OUTPUT, 32                          @ of the two channels,
.set    BNQ_LANE, 36
.set    BNQ_NEXT, 40                            @ less 4
.set    BNQ_TILE, 44                            @ of the first
.set    BNQ_CODES_END, 48
.set    BNQ_MULTIPLIERS, 52                     @ of the two channels, where they are none of a shift,
.set    BNQ_PAIR, 60                            @ and where the next two begin
.set    BNQ_FRAME, 68                           @ with the nine registers saved, 8-aligned

@ One code of three positions and two channels.
.macro BNQ_PRODUCTS
        mov     r7, r5
        muls    r7, r2, r7
        add     r8, r8, r7
        muls    r2, r6, r2
        add     r11, r11, r2
        mov     r7, r5
        muls    r7, r3, r7
        add     r9, r9, r7
        muls    r3, r6, r3
        add     r12, r12, r3
        muls    r5, r4, r5
        add     r10, r10, r5
        muls    r4, r6, r4
        add     lr, lr, r4
.endm
@ The code that meets the lower halves of the weights at \at, and the one that meets the upper.
.macro BNQ_TWO at
        ldm     r0!, {r2-r4}
        ldr     r5, [r1, #\at]
        ldr     r6, [r1, #\at + 8]
        sxth    r5, r5
        sxth    r6, r6
        BNQ_PRODUCTS
        ldm     r0!, {r2-r4}
        ldr     r5, [r1, #\at]
        ldr     r6, [r1, #\at + 8]
        asrs    r5, r5, #16
        asrs    r6, r6, #16
        BNQ_PRODUCTS
.endm

@ Stores a sum's code at r4 and \at.
.macro BNQ_RESULT sum, at
        mov     r2, \sum
        asrs    r2, r2, #BNQ_SHIFT
        BN_CLAMP r2, r3
        strb    r2, [r4, #\at]
.endm
@ Stores the codes of three sums of channel \o by its multiplier.
.macro BNQ_RESULTS o, sum0, sum1, sum2
        ldr     r4, [sp, #BNQ_OUTPUT]
        ldr     r5, [sp, #BNQ_MULTIPLIERS + 4 * \o]
        lsrs    r6, r5, #16
        uxth    r5, r5
.irp    sum, \sum0, \sum1, \sum2
        mov     r2, \sum
        BN_SCALE r2, r5, r6, r0, r1, r3, r7
        BN_CLAMP r2, r3
        strb    r2, [r4, #\o]
        ldr     r3, [sp, #BNQ_LANE]
        adds    r4, r4, r3
.endr
.endm

.macro BNQ_POINTWISE name, shift
        BN_FUNCTION \name
        sub     sp, #BNQ_FRAME
        mov     r7, sp
        ldm     r0!, {r1-r6}
        stm     r7!, {r1-r6}
        ldm     r0!, {r2-r6}
        subs    r6, #4
        stm     r7!, {r2-r6}
        str     r4, [r7]                        @ the tile
1:      @ three positions
        ldr     r0, [sp, #BNQ_FROM]
        ldr     r1, [sp, #BNQ_STEP]
        lsls    r2, r1, #1
        adds    r3, r2, r1
        adds    r3, r3, r0
        str     r3, [sp, #BNQ_FROM]
        mov     r8, r1
        mov     r9, r2
        ldr     r1, [sp, #BNQ_PLANE]
        mov     r10, r1
        ldr     r1, [sp, #BNQ_QUADS]
        mov     r11, r1
        ldr     r7, [sp, #BNQ_CODES]
2:
        mov     r1, r8
        mov     r2, r9
        ldr     r4, [r0]
        ldr     r5, [r0, r1]
        ldr     r6, [r0, r2]
        add     r0, r0, r10
        uxtb    r1, r4
        uxtb    r2, r5
        uxtb    r3, r6
        stm     r7!, {r1-r3}
        lsls    r1, r4, #8
        lsls    r2, r5, #8
        lsls    r3, r6, #8
        lsrs    r1, r1, #24
        lsrs    r2, r2, #24
        lsrs    r3, r3, #24
        stm     r7!, {r1-r3}
        lsls    r1, r4, #16
        lsls    r2, r5, #16
        lsls    r3, r6, #16
        lsrs    r1, r1, #24
        lsrs    r2, r2, #24
        lsrs    r3, r3, #24
        stm     r7!, {r1-r3}
        lsrs    r4, r4, #24
        lsrs    r5, r5, #24
        lsrs    r6, r6, #24
        stm     r7!, {r4-r6}
        mov     r1, r11
        subs    r1, #1
        mov     r11, r1
        bne     2b
        ldr     r1, [sp, #BNQ_STREAM]
        str     r7, [sp, #BNQ_CODES_END]
3:      @ two channels
        ldr     r0, [sp, #BNQ_CODES]
        ldr     r2, [r1]
        mov     r8, r2
        mov     r9, r2
        mov     r10, r2
        ldr     r2, [r1, #4]
        mov     r11, r2
        mov     r12, r2
        mov     lr, r2
.if \shift == 0
        ldr     r2, [r1, #8]
        ldr     r3, [r1, #12]
        str     r2, [sp, #BNQ_MULTIPLIERS]
        str     r3, [sp, #BNQ_MULTIPLIERS + 4]
.endif
        adds    r1, #16
4:
        BNQ_TWO 0
        BNQ_TWO 4
        adds    r1, #16
        ldr     r7, [sp, #BNQ_CODES_END]
        cmp     r0, r7
        bne     4b
.if \shift
        ldr     r4, [sp, #BNQ_OUTPUT]
        ldr     r5, [sp, #BNQ_LANE]
        movs    r6, r4
        BNQ_RESULT r8, 0
        BNQ_RESULT r11, 1
        adds    r4, r4, r5
        BNQ_RESULT r9, 0
        BNQ_RESULT r12, 1
        adds    r4, r4, r5
        BNQ_RESULT r10, 0
        BNQ_RESULT lr, 1
.else
        str     r1, [sp, #BNQ_PAIR]
        BNQ_RESULTS 0, r8, r9, r10
        BNQ_RESULTS 1, r11, r12, lr
        ldr     r1, [sp, #BNQ_PAIR]
        ldr     r6, [sp, #BNQ_OUTPUT]
.endif
        @ The other half of the word, or the next word.
        adds    r6, #2
        lsls    r2, r6, #30
        bne     5f
        ldr     r2, [sp, #BNQ_NEXT]
        adds    r6, r6, r2
5:
        str     r6, [sp, #BNQ_OUTPUT]
        ldr     r2, [sp, #BNQ_STREAM_END]
        cmp     r1, r2
        beq     7f
        b       3b
7:
        ldr     r0, [sp, #BNQ_TILE]
        ldr     r3, [sp, #BNQ_LANE]
        lsls    r2, r3, #1
        adds    r0, r0, r2
        adds    r0, r0, r3
        str     r0, [sp, #BNQ_TILE]
        str     r0, [sp, #BNQ_OUTPUT]
        ldr     r2, [sp, #BNQ_THREES]
        subs    r2, #1
        str     r2, [sp, #BNQ_THREES]
        beq     6f
        b       1b
6:
        BN_RETURN \name, BNQ_FRAME
.endm
        BNQ_POINTWISE bn_lenet_pointwise, 0
        BNQ_POINTWISE bn_lenet_pointwise_shift, 1
