@ Convolutions of single positions with int16 weights, for cores with the DSP extension: two positions by two channels at a time.
@
@ The codes of two positions are unpacked once for all channels. Blocks of products (see products.s) stand in a chain of BNQ_CHAIN
@ behind a first one: two channels enter it so far before its end that whole chains are left, and go on from there, or to a check of
@ whether these are done. Two times two channels make a word of results.
@
@ void bn_lenet_pointwise(const struct { const uint32_t *from; uint32_t step, plane, quads; uint32_t *codes; const uint32_t *stream,
@     *stream_end; uint32_t twos; uint8_t *output; uint32_t lane, next; int32_t added; } *)
@ `step` is the bytes from a position to the next, `plane` those from four channels to the next, `quads` how many words of four
@ channels there are, `twos` how often two positions; `lane` and `next` are of the results what `step` and `plane` are of the map.
@ Results are codes from 0 to 255. `_shift`: every multiplier is a shift by 12 bits. `_add` adds a code that lies `added` bytes behind
@ each result's place, times the channel's factor.
.set    BNQ_CHAIN, 16
.set    BNQ_SHIFT, 12

.set    BNQ_FROM, 0
.set    BNQ_STEP, 4
.set    BNQ_PLANE, 8
.set    BNQ_QUADS, 12
.set    BNQ_CODES, 16
.set    BNQ_STREAM, 20
.set    BNQ_STREAM_END, 24
.set    BNQ_TWOS, 28
.set    BNQ_OUTPUT, 32                          @ of the four channels,
.set    BNQ_LANE, 36
.set    BNQ_NEXT, 40
.set    BNQ_ADDED, 44
.set    BNQ_TILE, 48                            @ of the first
.set    BNQ_CODES_END, 52
.set    BNQ_ENTRY, 56                           @ and behind it where to go on from the chain's end
.set    BNQ_ENTRY2, 64                          @ likewise of the second two channels
.set    BNQ_HELD, 72                            @ results of the first two channels at both positions
.set    BNQ_MULTIPLIERS, 80
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
.macro BNQ_PAIR shift, add, half, first, last, check, done, entry
        ldr     r0, [sp, #BNQ_CODES]
.if \shift == 0
        ldrd    r2, r3, [r1, #8]
        strd    r2, r3, [sp, #BNQ_MULTIPLIERS]
.endif
        ldrd    r5, r7, [r1], #16
        BN_PRODUCTS 1
        ldr     pc, [sp, #\entry]
\first:
.rept BNQ_CHAIN
        BN_PRODUCTS 0
.endr
\last:
        ldr     pc, [sp, #(\entry + 4)]
\check:
        ldr     r2, [sp, #BNQ_CODES_END]
        cmp     r0, r2
        bne.w   \first\()b
\done:
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
.else
        ldrd    r2, r3, [sp, #BNQ_HELD]
        ldrd    r0, r8, [sp, #BNQ_OUTPUT]       @ and lane
        ldr     r9, [sp, #BNQ_NEXT]
        orr     r4, r2, r4, lsl #16
        orr     r5, r3, r5, lsl #16
        str     r5, [r0, r8]
        str     r4, [r0]
        add     r0, r9
        str     r0, [sp, #BNQ_OUTPUT]
.endif
.endm

@ Where a chain is entered, r4 blocks before its end, and where it goes on: r7 is all blocks of the chain.
.macro BNQ_ENTRY_OF at, last, check, done
        adr.w   r2, \last
        mls     r2, r4, r6, r2
        adr.w   r3, \done
        adr.w   r5, \check
        cmp     r7, #BNQ_CHAIN
        it      hs
        movhs   r3, r5                          @ whole chains are left, or none at all
        add     r2, #1                          @ Thumb
        add     r3, #1
        strd    r2, r3, [sp, #\at]
.endm

.macro BNQ_POINTWISE name, shift, add
        BN_FUNCTION \name, 2                    @ ADR counts from whole words
        sub     sp, #BNQ_FRAME
        ldm     r0!, {r1-r8}
        stm     sp, {r1-r8}
        ldm     r0, {r0-r3}
        add     r5, sp, #BNQ_OUTPUT
        stm     r5!, {r0-r3}
        str     r0, [sp, #BNQ_TILE]
        @ The first block is none of the chain; before whole chains comes what lacks to one.
        ldrd    r4, r5, [sp, #BNQ_QUADS]        @ and codes
        add     r5, r5, r4, lsl #4
        str     r5, [sp, #BNQ_CODES_END]
        sub     r7, r4, #1
        and     r4, r7, #(BNQ_CHAIN - 1)
        mov     r6, #BN_PRODUCTS_SIZE
        BNQ_ENTRY_OF BNQ_ENTRY, 61f, 71f, 81f
        BNQ_ENTRY_OF BNQ_ENTRY2, 62f, 72f, 82f
1:      @ two positions
        ldm     sp, {r0, r2, r3, r4, r12}       @ from, step, plane, quads, codes
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
        ldr     r1, [sp, #BNQ_STREAM]
3:      @ four channels
        BNQ_PAIR \shift, \add, 0, 51, 61, 71, 81, BNQ_ENTRY
        BNQ_PAIR \shift, \add, 1, 52, 62, 72, 82, BNQ_ENTRY2
        ldr     r2, [sp, #BNQ_STREAM_END]
        cmp     r1, r2
        bne.w   3b
        ldr     r0, [sp, #BNQ_TILE]
        ldr     r2, [sp, #BNQ_TWOS]
        ldr     r3, [sp, #BNQ_LANE]
        add     r0, r0, r3, lsl #1
        subs    r2, #1
        str     r0, [sp, #BNQ_TILE]
        str     r0, [sp, #BNQ_OUTPUT]
        str     r2, [sp, #BNQ_TWOS]
        bne.w   1b
        BN_RETURN \name, BNQ_FRAME, 2
.endm
        BNQ_POINTWISE bn_lenet_pointwise, 0, 0
        BNQ_POINTWISE bn_lenet_pointwise_shift, 1, 0
        BNQ_POINTWISE bn_lenet_pointwise_add, 0, 1
        BNQ_POINTWISE bn_lenet_pointwise_shift_add, 1, 1
