@ Products at two places and of two channels for cores that multiply one number at a time; the layout is that of products.s. Of each
@ four codes 16 MLA of 32 instructions.

@ void bn_lenet_chain(const uint32_t *codes, const uint32_t *weights, const struct { uint32_t blocks, points; int32_t (*first)[2],
@     (*second)[2], start[4]; } *)
@ Sums begin with `start` and go on from point to point; behind each point, of so many `blocks` of four codes, they are stored, those
@ of the first channel and those of the second.
.macro BNP_CODES code, weight, update
        ldrsh   r8, [r0, #\code]\update
        ldrsh   r9, [r0, #(\code & 15) + 4]
        ldrsh   r2, [r1, #\weight]\update
        ldrsh   r3, [r1, #(\weight & 15) + 8]
        mla     r4, r8, r2, r4
        mla     r5, r9, r2, r5
        mla     r6, r8, r3, r6
        mla     r7, r9, r3, r7
.endm
        BN_FUNCTION bn_lenet_chain
        ldm     r2!, {r3, r10, r11, r12}
        ldm     r2, {r4-r7}
        push    {r3}
        mov     lr, r10
        subs    r0, #16
        subs    r1, #16
1:      @ a point
        ldr     r10, [sp]
2:
        BNP_CODES 16, 16, !                     @ the next block; counted from there:
        BNP_CODES 2, 2
        BNP_CODES 8, 4
        BNP_CODES 10, 6
        subs    r10, #1
        bne     2b
        strd    r4, r5, [r11], #8
        strd    r6, r7, [r12], #8
        subs    lr, #1
        bne     1b
        BN_RETURN bn_lenet_chain, 4
