@ Convolutions of single positions with int16 weights, for cores with the DSP extension: two positions by two channels at a time.
@
@ The codes of two positions are unpacked once for all channels. Blocks of products (see products.s) stand in a chain behind a
@ first one: two channels enter it so far before its end as they have words of four codes. `_wide` has a longer chain, and room for
@ more than that: before whole chains comes what lacks to one, and at the chain's end a channel goes on to a check of whether it is
@ done. Two times two channels make a word of results.
@
@ void bn_lenet_pointwise(const struct { const uint32_t *from; uint32_t step, plane, quads; uint32_t *codes; const uint32_t *stream,
@     *stream_end; uint32_t twos; uint8_t *output; uint32_t lane, next; int32_t added; } *)
@ `step` is the bytes from a position to the next, `plane` those from four channels to the next, `quads` how many words of four
@ channels there are, without `_wide` at most BNQ_CHAIN + 1; `twos` how often two positions; `lane` and `next` are of the results what
@ `step` and `plane` are of the map. Results are codes from 0 to 255. `_shift`: every multiplier is a shift by 12 bits. `_add` adds a
@ code that lies `added` bytes behind each result's place, times the channel's factor.
.set    BNQ_CHAIN, 16                           @ blocks,
.set    BNQ_WIDE_CHAIN, 32                      @ with _wide
.set    BNQ_SHIFT, 12

@ What stands behind four channels, for one LDM:
.set    BNQ_CODES, 0
.set    BNQ_OUTPUT, 4                           @ of the four channels
.set    BNQ_LANE, 8
.set    BNQ_NEXT, 12
.set    BNQ_STREAM_END, 16
.set    BNQ_HELD, 20                            @ results of the first two channels at both positions
@ What stands before two positions:
.set    BNQ_FROM, 28
.set    BNQ_STEP, 32
.set    BNQ_PLANE, 36
.set    BNQ_QUADS, 40
.set    BNQ_CODES_AGAIN, 44
.set    BNQ_STREAM, 48
.set    BNQ_TWOS, 52
.set    BNQ_TILE, 56                            @ where the results of the first four channels go
.set    BNQ_ADDED, 60
.set    BNQ_CODES_END, 64
.set    BNQ_ENTRY, 68                           @ and behind it where to go on from the chain's end
.set    BNQ_ENTRY2, 76                          @ likewise of the second two channels
.set    BNQ_MULTIPLIERS, 84
.set    BNQ_FRAME, 92

@ A sum's code, with its channel's multiplier.
.macro BNQ_CODE sum, multiplier, shift
.if \shift
        usat    \sum, #8, \sum, asr #BNQ_SHIFT
.else
        smmulr  \sum, \sum, \multiplier
        usat    \sum, #8, \sum
.endif
.endm

@ Two channels. \half: whether they are the second two of four.
.macro BNQ_PAIR shift, add, wide, half, first, last, check, done, entry
.if \half
        ldr     r0, [sp, #BNQ_CODES]
.endif
.if \shift == 0
        ldrd    r2, r3, [r1, #8]
        strd    r2, r3, [sp, #BNQ_MULTIPLIERS]
.endif
        ldrd    r5, r7, [r1], #16
        BN_PRODUCTS 1
        ldr     pc, [sp, #\entry]
\first:
.if \wide
.rept BNQ_WIDE_CHAIN
        BN_PRODUCTS 0
.endr
\last:
        ldr     pc, [sp, #(\entry + 4)]
\check:
        ldr     r2, [sp, #BNQ_CODES_END]
        cmp     r0, r2
        bne.w   \first\()b
\done:
.else
.rept BNQ_CHAIN
        BN_PRODUCTS 0
.endr
\last:
.endif
.if \add
        ldrd    r0, r2, [sp, #BNQ_OUTPUT]       @ and lane
        ldr     r3, [sp, #BNQ_ADDED]
        ldrd    r8, r9, [r1], #8
        add     r0, r3
        ldrb    r10, [r0, #(2 * \half)]
        ldrb    r11, [r0, #(2 * \half + 1)]
        add     r0, r2
        mla     r4, r10, r8, r4
        mla     r6, r11, r9, r6
        ldrb    r10, [r0, #(2 * \half)]
        ldrb    r11, [r0, #(2 * \half + 1)]
        mla     r5, r10, r8, r5
        mla     r7, r11, r9, r7
.endif
.if \shift == 0
        ldrd    r8, r9, [sp, #BNQ_MULTIPLIERS]
.endif
        BNQ_CODE r4, r8, \shift
        BNQ_CODE r5, r8, \shift
        BNQ_CODE r6, r9, \shift
        BNQ_CODE r7, r9, \shift
        orr     r4, r4, r6, lsl #8
        orr     r5, r5, r7, lsl #8
.if \half == 0
        strd    r4, r5, [sp, #BNQ_HELD]
.endif
.endm

@ Where a chain is entered, r4 blocks before its end, and where it goes on: r7 is all blocks of the chain.
.macro BNQ_ENTRY_OF wide, at, last, check, done
        adr.w   r2, \last
        mls     r2, r4, r6, r2
        add     r2, #1                          @ Thumb
.if \wide
        adr.w   r3, \done
        adr.w   r5, \check
        cmp     r7, #BNQ_WIDE_CHAIN
        it      hs
        movhs   r3, r5                          @ whole chains are left, or none at all
        add     r3, #1
        strd    r2, r3, [sp, #\at]
.else
        str     r2, [sp, #\at]
.endif
.endm

.macro BNQ_POINTWISE name, shift, add, wide
        BN_FUNCTION \name, 2                    @ ADR counts from whole words
        sub     sp, #BNQ_FRAME
        ldm     r0!, {r1-r8}                    @ from, step, plane, quads, codes, stream, its end, twos
        add     r9, sp, #BNQ_FROM
        stm     r9, {r1-r6, r8}
        ldm     r0, {r8-r11}                    @ output, lane, next, added
        str     r5, [sp, #BNQ_CODES]
        strd    r8, r9, [sp, #BNQ_OUTPUT]
        strd    r10, r7, [sp, #BNQ_NEXT]
        strd    r8, r11, [sp, #BNQ_TILE]
.if \wide
        add     r5, r5, r4, lsl #4
        str     r5, [sp, #BNQ_CODES_END]
.endif
        @ The first block is none of the chain.
        sub     r4, #1
.if \wide
        mov     r7, r4
        and     r4, #(BNQ_WIDE_CHAIN - 1)
.endif
        mov     r6, #BN_PRODUCTS_SIZE
        BNQ_ENTRY_OF \wide, BNQ_ENTRY, 61f, 71f, 81f
        BNQ_ENTRY_OF \wide, BNQ_ENTRY2, 62f, 72f, 82f
1:      @ two positions
        add     r0, sp, #BNQ_FROM
        ldm     r0, {r0, r2, r3, r4, r12}       @ from, step, plane, quads, codes
        add     r5, r0, r2, lsl #1
        str     r5, [sp, #BNQ_FROM]
2:
        ldr     r6, [r0, r2]
        ldr     r5, [r0]
        add     r0, r3
        uxtb16  r8, r6
        uxtb16  r7, r5
        uxtb16  r9, r5, ror #8
        uxtb16  r10, r6, ror #8
        stm     r12!, {r7-r10}
        subs    r4, #1
        bne     2b
        ldrd    r0, r1, [sp, #BNQ_CODES_AGAIN]  @ and stream
3:      @ four channels
        BNQ_PAIR \shift, \add, \wide, 0, 51, 61, 71, 81, BNQ_ENTRY
        BNQ_PAIR \shift, \add, \wide, 1, 52, 62, 72, 82, BNQ_ENTRY2
        ldm     sp, {r0, r2, r3, r8-r11}        @ codes, output, lane, next, the stream's end, held
        orr     r4, r10, r4, lsl #16
        orr     r5, r11, r5, lsl #16
        str     r5, [r2, r3]
        str     r4, [r2]
        add     r2, r8
        str     r2, [sp, #BNQ_OUTPUT]
        cmp     r1, r9
        bne.w   3b
        ldrd    r2, r0, [sp, #BNQ_TWOS]         @ and tile
        add     r0, r0, r3, lsl #1
        subs    r2, #1
        strd    r2, r0, [sp, #BNQ_TWOS]
        str     r0, [sp, #BNQ_OUTPUT]
        bne.w   1b
        BN_RETURN \name, BNQ_FRAME, 2
.endm
        BNQ_POINTWISE bn_lenet_pointwise, 0, 0, 0
        BNQ_POINTWISE bn_lenet_pointwise_shift, 1, 0, 0
        BNQ_POINTWISE bn_lenet_pointwise_add, 0, 1, 0
        BNQ_POINTWISE bn_lenet_pointwise_shift_add, 1, 1, 0
        BNQ_POINTWISE bn_lenet_pointwise_wide, 0, 0, 1
        BNQ_POINTWISE bn_lenet_pointwise_wide_shift, 1, 0, 1
        BNQ_POINTWISE bn_lenet_pointwise_wide_add, 0, 1, 1
        BNQ_POINTWISE bn_lenet_pointwise_wide_shift_add, 1, 1, 1
