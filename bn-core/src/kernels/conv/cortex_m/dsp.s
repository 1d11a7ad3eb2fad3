@ Products of patches for cores with the DSP extension: see conv.s.
@
@       one word of weights v:   256 w0 - w1 | 256 w2 - w3         acc += v . u          u = u0 | u2
@       sxtb16 v:                        -w1 | -w3                 acc += sxtb16 v . y   y = the four codes, turned over
@
@ which adds 256 (w0 u0 + w1 u1 + w2 u2 + w3 u3) - 32,767 (w1 + w3); the start value takes the last term back.
@
@       three positions, two channels:  12 SMLAD of 17 instructions for 24 products
@       one position, two channels:      4 SMLAD of 8 for 8
@       one position, four channels:    16 SMLAD of 27 for 32
.set    BNC_CHAIN, 8
@ Bytes of the blocks.
.set    BNC_THREE_SIZE, 66
.set    BNC_ONE_SIZE, 30
.set    BNC_FOUR_SIZE, 108

.macro BNC_SCALE sum, multiplier
        smmulr  \sum, \sum, \multiplier
.endm

@ The sums go on from other registers: those of the first position last, since the first block begins with them.
.macro BNC_THREE_BLOCK a1, a2, a0, b1, b2, b0
        ldm     r1!, {r2, r3}
        ldm     r0!, {r10-r12}
        smlad   r5, r11, r2, \a1
        smlad   r6, r12, r2, \a2
        smlad   r4, r10, r2, \a0
        smlad   r8, r11, r3, \b1
        smlad   r9, r12, r3, \b2
        smlad   r7, r10, r3, \b0
        ldm     r0!, {r10-r12}
        sxtb16  r2, r2
        sxtb16  r3, r3
        smlad   r4, r10, r2, r4
        smlad   r5, r11, r2, r5
        smlad   r6, r12, r2, r6
        smlad   r7, r10, r3, r7
        smlad   r8, r11, r3, r8
        smlad   r9, r12, r3, r9
.endm

.macro BNC_ONE_BLOCK
        ldm     r1!, {r2, r3}
        ldm     r0!, {r8, r9}
        smlad   r4, r8, r2, r4
        smlad   r5, r8, r3, r5
        sxtb16  r2, r2
        sxtb16  r3, r3
        smlad   r4, r9, r2, r4
        smlad   r5, r9, r3, r5
.endm

.macro BNC_FOUR_PRODUCTS u, y
        ldm     r1!, {r8-r11}
        smlad   r4, r8, \u, r4
        smlad   r5, r9, \u, r5
        smlad   r6, r10, \u, r6
        smlad   r7, r11, \u, r7
        sxtb16  r8, r8
        sxtb16  r9, r9
        sxtb16  r10, r10
        sxtb16  r11, r11
        smlad   r4, r8, \y, r4
        smlad   r5, r9, \y, r5
        smlad   r6, r10, \y, r6
        smlad   r7, r11, \y, r7
.endm
.macro BNC_FOUR_BLOCK
        ldm     r0!, {r2, r3, r12, lr}
        BNC_FOUR_PRODUCTS r2, r3
        BNC_FOUR_PRODUCTS r12, lr
.endm
