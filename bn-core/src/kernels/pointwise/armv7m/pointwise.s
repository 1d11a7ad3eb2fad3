@ Convolutions of single positions with int16 weights, for cores that multiply one number at a time: three positions by two channels.
@
@ The codes of three positions are unpacked to words once for all channels, in the order of the weights: code 0 of all three, code 2,
@ 1, 3. So one LDM loads what a weight meets: 6 MLA of 9 instructions for 6 products.
@
@       r4-r6  sums of the first channel        r10-r12  a code of three positions
@       r7-r9  sums of the second               r2, r3   a weight of either channel
@
@ Blocks of four codes stand in a chain of BNQ_CHAIN behind a first one; two channels enter it so far before its end that whole chains
@ are left.

@ void bn_lenet_pointwise(const struct { const uint32_t *from; uint32_t step, plane, quads; uint32_t *codes; const uint32_t *stream,
@     *stream_end; uint32_t threes; uint8_t *output; uint32_t lane, next; } *)
@ `step` is the bytes from a position to the next, `plane` those from four channels to the next, `quads` how many words of four
@ channels there are, `threes` how often three positions; `lane` and `next` are of the results what `step` and `plane` are of the map.
@ Results are codes from 0 to 255. `_shift`: every multiplier is a shift by 12 bits.
.set    BNQ_CHAIN, 4
.set    BNQ_BLOCK_SIZE, 144
.set    BNQ_SHIFT, 12

.set    BNQ_FROM, 0
.set    BNQ_STEP, 4
.set    BNQ_PLANE, 8
.set    BNQ_QUADS, 12
.set    BNQ_CODES, 16
.set    BNQ_STREAM, 20
.set    BNQ_STREAM_END, 24
.set    BNQ_THREES, 28
.set    BNQ_OUTPUT, 32                          @ of the four channels,
.set    BNQ_LANE, 36
.set    BNQ_NEXT, 40
.set    BNQ_TILE, 44                            @ of the first
.set    BNQ_ENTRY, 48
.set    BNQ_ENTRY2, 52
.set    BNQ_MULTIPLIERS, 56
.set    BNQ_FRAME, 68

@ One of four codes; \update moves on to the block. The sums go on from \a and \b: those that hold these come last.
.macro BNQ_CODE_OF at, update, a1, a2, a0, b1, b2, b0
        ldrsh   r2, [r1, #\at]\update
        ldrsh   r3, [r1, #(\at & 15) + 8]
        ldm     r0!, {r10-r12}
        mla     r5, r11, r2, \a1
        mla     r6, r12, r2, \a2
        mla     r4, r10, r2, \a0
        mla     r8, r11, r3, \b1
        mla     r9, r12, r3, \b2
        mla     r7, r10, r3, \b0
.endm
@ Four codes. The first follow what r1 was at: 16 bytes of a block, or of start values and multipliers.
.macro BNQ_BLOCK a1=r5, a2=r6, a0=r4, b1=r8, b2=r9, b0=r7
        BNQ_CODE_OF 16, !, \a1, \a2, \a0, \b1, \b2, \b0
        BNQ_CODE_OF 2, , r5, r6, r4, r8, r9, r7
        BNQ_CODE_OF 4, , r5, r6, r4, r8, r9, r7
        BNQ_CODE_OF 6, , r5, r6, r4, r8, r9, r7
.endm

@ A sum's code, with its channel's multiplier; r0 is free.
.macro BNQ_RESULT sum, multiplier, shift
.if \shift
        usat    \sum, #8, \sum, asr #BNQ_SHIFT
.else
        smull   r0, \sum, \sum, \multiplier
        lsls    r0, r0, #1                      @ the bit that rounds
        adc     \sum, \sum, #0
        usat    \sum, #8, \sum
.endif
.endm

@ Two channels. \half: whether they are the second two of four.
.macro BNQ_PAIR shift, half, first, last, entry
        ldr     r0, [sp, #BNQ_CODES]
.if \shift == 0
        ldrd    r2, r3, [r1, #8]
        strd    r2, r3, [sp, #BNQ_MULTIPLIERS]
.endif
        ldrd    r4, r7, [r1]
        BNQ_BLOCK r4, r4, r4, r7, r7, r7
        ldr     pc, [sp, #\entry]
\first:
.rept BNQ_CHAIN
        BNQ_BLOCK
.endr
\last:
        cmp     r0, lr
        bne.w   \first\()b
        adds    r1, #16
.if \shift == 0
        ldrd    r2, r3, [sp, #BNQ_MULTIPLIERS]
.endif
.irp    sum, r4, r5, r6
        BNQ_RESULT \sum, r2, \shift
.endr
.irp    sum, r7, r8, r9
        BNQ_RESULT \sum, r3, \shift
.endr
        ldrd    r2, r3, [sp, #BNQ_OUTPUT]       @ and lane
        orr     r4, r4, r7, lsl #8
        orr     r5, r5, r8, lsl #8
        orr     r6, r6, r9, lsl #8
.if \half
        adds    r2, #2
.endif
        strh    r4, [r2]
        strh    r5, [r2, r3]
        strh    r6, [r2, r3, lsl #1]
.if \half
        ldr     r3, [sp, #BNQ_NEXT]
        add     r2, r3
        subs    r2, #2
        str     r2, [sp, #BNQ_OUTPUT]
.endif
.endm

@ Where a chain is entered, r4 blocks before its end.
.macro BNQ_ENTRY_OF at, last
        adr.w   r2, \last
        mls     r2, r4, r6, r2
        add     r2, #1                          @ Thumb
        str     r2, [sp, #\at]
.endm

.macro BNQ_POINTWISE name, shift
        BN_FUNCTION \name, 2                    @ ADR counts from whole words
        sub     sp, #BNQ_FRAME
        ldm     r0, {r1-r11}
        stm     sp, {r1-r11}
        str     r9, [sp, #BNQ_TILE]
        @ The first block is none of the chain; before whole chains comes what lacks to one.
        add     lr, r4, r4, lsl #1
        add     lr, r5, lr, lsl #4              @ behind 48 bytes of codes for each block
        subs    r4, #1
        and     r4, r4, #(BNQ_CHAIN - 1)
        mov     r6, #BNQ_BLOCK_SIZE
        BNQ_ENTRY_OF BNQ_ENTRY, 61f
        BNQ_ENTRY_OF BNQ_ENTRY2, 62f
1:      @ three positions
        ldm     sp, {r0-r3, r12}                @ from, step, plane, quads, codes
        add     r5, r1, r1, lsl #1
        add     r5, r0
        str     r5, [sp, #BNQ_FROM]
2:
        ldr     r4, [r0]
        ldr     r5, [r0, r1]
        ldr     r6, [r0, r1, lsl #1]
        add     r0, r2
        uxtb    r7, r4
        uxtb    r8, r5
        uxtb    r9, r6
        ubfx    r10, r4, #16, #8
        ubfx    r11, r5, #16, #8
        stm     r12!, {r7-r11}
        ubfx    r7, r6, #16, #8
        ubfx    r8, r4, #8, #8
        ubfx    r9, r5, #8, #8
        ubfx    r10, r6, #8, #8
        lsrs    r4, r4, #24
        lsrs    r5, r5, #24
        lsrs    r6, r6, #24
        stm     r12!, {r7-r10}
        stm     r12!, {r4-r6}
        subs    r3, #1
        bne     2b
        ldr     r1, [sp, #BNQ_STREAM]
3:      @ four channels
        BNQ_PAIR \shift, 0, 51, 61, BNQ_ENTRY
        BNQ_PAIR \shift, 1, 52, 62, BNQ_ENTRY2
        ldr     r2, [sp, #BNQ_STREAM_END]
        cmp     r1, r2
        bne.w   3b
        ldr     r0, [sp, #BNQ_TILE]
        ldr     r2, [sp, #BNQ_THREES]
        ldr     r3, [sp, #BNQ_LANE]
        add     r3, r3, r3, lsl #1
        add     r0, r3
        subs    r2, #1
        str     r0, [sp, #BNQ_TILE]
        str     r0, [sp, #BNQ_OUTPUT]
        str     r2, [sp, #BNQ_THREES]
        bne.w   1b
        BN_RETURN \name, BNQ_FRAME, 2
.endm
        BNQ_POINTWISE bn_lenet_pointwise, 0
        BNQ_POINTWISE bn_lenet_pointwise_shift, 1
