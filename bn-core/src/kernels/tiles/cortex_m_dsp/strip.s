@ Rows of a strip: words of four channels copied, or bytes of planes packed, a word a column, with what lies before and behind them.
@
@ void bn_lenet_strip(uint32_t *to, const uint32_t *from, const struct { uint32_t rows, before, width, behind, skip, zero; } *)
@ void bn_lenet_strip1(uint32_t *to, const uint8_t *const planes[1], const struct { .. } *)
@ void bn_lenet_strip3(uint32_t *to, const uint8_t *const planes[3], const struct { .. } *)
@ Of each row `before` words of `zero` lie before and `behind` words behind those of the map. Copied are `width` words, packed `width`
@ times four columns; `skip` is the bytes of a row of the map that are left out. Channels that lack have their code in `zero`. There is
@ at least one row. Planes may lie at any byte.
.set    BNT_ROWS, 0
.set    BNT_BEFORE, 4
.set    BNT_WIDTH, 8
.set    BNT_BEHIND, 12
.set    BNT_SKIP, 16
.set    BNT_FRAME, 20

@ Words of zero, as many as lie at \count.
.macro BNT_ZEROS count
        ldr     r11, [sp, #\count]
        subs    r11, #1
        blo     9f
8:
        str     lr, [r0], #4
        subs    r11, #1
        bhs     8b
9:
.endm
@ Copies r11 words, six at a time.
.macro BNT_COPY
        subs    r11, #6
        blo     4f
3:
        ldm     r1!, {r4-r9}
        stm     r0!, {r4-r9}
        subs    r11, #6
        bhs     3b
4:
        adds    r11, #5                         @ what is left, less one
        bmi     6f
5:
        ldr     r4, [r1], #4
        str     r4, [r0], #4
        subs    r11, #1
        bpl     5b
6:
.endm
@ Packs r11 times four columns of one plane; r12 has the codes of the other channels.
.macro BNT_PACK1
3:
        ldr     r8, [r1], #4
        uxtab   r4, r12, r8
        uxtab   r5, r12, r8, ror #8
        uxtab   r6, r12, r8, ror #16
        uxtab   r7, r12, r8, ror #24
        stm     r0!, {r4-r7}
        subs    r11, #1
        bne     3b
.endm
@ Likewise of three planes; the fourth channel's code is in r12, in the upper byte of each half.
@       a3 a2 a1 a0, b3 b2 b1 b0, c3 c2 c1 c0   ->   b2 a2 b0 a0, b3 a3 b1 a1; likewise d and c   ->   d c0 b0 a0, ...
.macro BNT_PACK3
3:
        ldr     r6, [r1], #4
        ldr     r7, [r2], #4
        ldr     r8, [r3], #4
        uxtb16  r4, r6
        uxtb16  r5, r6, ror #8
        uxtb16  r9, r7
        uxtb16  r10, r7, ror #8
        orr     r4, r4, r9, lsl #8
        orr     r5, r5, r10, lsl #8
        uxtab16 r9, r12, r8
        uxtab16 r10, r12, r8, ror #8
        pkhbt   r6, r4, r9, lsl #16
        pkhbt   r7, r5, r10, lsl #16
        pkhtb   r8, r9, r4, asr #16
        pkhtb   r9, r10, r5, asr #16
        stm     r0!, {r6-r9}
        subs    r11, #1
        bne     3b
.endm

@ \planes: 0 for words.
.macro BNT_STRIP name, planes
        BN_FUNCTION \name
        sub     sp, #BNT_FRAME
        ldm     r2, {r4-r8, lr}
        stm     sp, {r4-r8}
.if \planes == 1
        ldr     r1, [r1]
        bic     r12, lr, #0xff
.endif
.if \planes == 3
        ldm     r1, {r1-r3}
        lsr     r12, lr, #24
        orr     r12, r12, r12, lsl #16
        lsl     r12, r12, #8
.endif
1:      @ a row
        BNT_ZEROS BNT_BEFORE
        ldr     r11, [sp, #BNT_WIDTH]
.if \planes == 0
        BNT_COPY
.endif
.if \planes == 1
        BNT_PACK1
.endif
.if \planes == 3
        BNT_PACK3
.endif
        BNT_ZEROS BNT_BEHIND
        ldr     r5, [sp, #BNT_SKIP]
        ldr     r4, [sp, #BNT_ROWS]
        add     r1, r5
.if \planes == 3
        add     r2, r5
        add     r3, r5
.endif
        subs    r4, #1
        str     r4, [sp, #BNT_ROWS]
        bne     1b
        BN_RETURN \name, BNT_FRAME
.endm
        BNT_STRIP bn_lenet_strip, 0
        BNT_STRIP bn_lenet_strip1, 1
        BNT_STRIP bn_lenet_strip3, 3
