@ Products of patches for cores that multiply one number at a time: see conv.s and dsp.s, whose four halves of a word each are
@ loaded one by one.
@
@       three positions, two channels:  24 MLA of 46 instructions for 24 products
@       one position, two channels:      8 MLA of 22 for 8
@       one position, four channels:    32 MLA of 74 for 32
@       one position, eight channels:   64 MLA of 139 for 64
.set    BNC_CHAIN, 4
@ Bytes of the blocks.
.set    BNC_THREE_SIZE, 180
.set    BNC_ONE_SIZE, 84
.set    BNC_FOUR_SIZE, 292

.macro BNC_SCALE sum, multiplier
        smull   r0, \sum, \sum, \multiplier
        lsls    r0, r0, #1                      @ the bit that rounds
        adc     \sum, \sum, #0
.endm

@ One of four codes of three positions: \weight and \code load it, from \at and \from on. The sums go on from other registers: those
@ of the first position last, since the first block begins with them.
.macro BNC_THREE_CODES weight, at, code, from, a1, a2, a0, b1, b2, b0
        \weight r2, [r1, #\at]
        \weight r3, [r1, #\at + 4]
        \code   r10, [r0, #\from]
        \code   r11, [r0, #\from + 4]
        \code   r12, [r0, #\from + 8]
        mla     r5, r11, r2, \a1
        mla     r6, r12, r2, \a2
        mla     r4, r10, r2, \a0
        mla     r8, r11, r3, \b1
        mla     r9, r12, r3, \b2
        mla     r7, r10, r3, \b0
.endm
.macro BNC_THREE_BLOCK a1, a2, a0, b1, b2, b0
        BNC_THREE_CODES ldrsh, 0, ldrh, 0, \a1, \a2, \a0, \b1, \b2, \b0
        BNC_THREE_CODES ldrsh, 2, ldrh, 2, r5, r6, r4, r8, r9, r7
        BNC_THREE_CODES ldrsb, 0, ldrsh, 12, r5, r6, r4, r8, r9, r7
        BNC_THREE_CODES ldrsb, 2, ldrsh, 14, r5, r6, r4, r8, r9, r7
        adds    r0, #24
        adds    r1, #8
.endm

.macro BNC_ONE_CODES weight, at, code, from
        \weight r2, [r1, #\at]
        \weight r3, [r1, #\at + 4]
        \code   r10, [r0, #\from]
        mla     r4, r10, r2, r4
        mla     r5, r10, r3, r5
.endm
.macro BNC_ONE_BLOCK
        BNC_ONE_CODES ldrsh, 0, ldrh, 0
        BNC_ONE_CODES ldrsh, 2, ldrh, 2
        BNC_ONE_CODES ldrsb, 0, ldrsh, 4
        BNC_ONE_CODES ldrsb, 2, ldrsh, 6
        adds    r0, #8
        adds    r1, #8
.endm

.macro BNC_FOUR_CODES weight, at, code, from
        \weight r8, [r1, #\at]
        \weight r9, [r1, #\at + 4]
        \weight r10, [r1, #\at + 8]
        \weight r11, [r1, #\at + 12]
        \code   r12, [r0, #\from]
        mla     r4, r12, r8, r4
        mla     r5, r12, r9, r5
        mla     r6, r12, r10, r6
        mla     r7, r12, r11, r7
.endm
.macro BNC_FOUR_BLOCK
        BNC_FOUR_CODES ldrsh, 0, ldrh, 0
        BNC_FOUR_CODES ldrsh, 2, ldrh, 2
        BNC_FOUR_CODES ldrsb, 0, ldrsh, 4
        BNC_FOUR_CODES ldrsb, 2, ldrsh, 6
        BNC_FOUR_CODES ldrsh, 16, ldrh, 8
        BNC_FOUR_CODES ldrsh, 18, ldrh, 10
        BNC_FOUR_CODES ldrsb, 16, ldrsh, 12
        BNC_FOUR_CODES ldrsb, 18, ldrsh, 14
        adds    r0, #16
        adds    r1, #32
.endm
