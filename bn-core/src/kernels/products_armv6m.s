@ Products at two places and of two channels for Armv6-M; the layout is that of products.s. MULS destroys a factor, so each is used up
@ by its last product, and of four products of a code one alone needs a copy: 62 instructions for 16 products.

@ void bn_lenet_chain(const uint32_t *codes, const uint32_t *weights, const struct { uint32_t blocks, points; int32_t (*first)[2],
@     (*second)[2], start[4]; } *)
@ Sums begin with `start` and go on from point to point; behind each point, of so many `blocks` of four codes, they are stored, those
@ of the first channel and those of the second.
.set    BNP_POINT, 0                            @ bytes of a point
.set    BNP_FIRST, 4
.set    BNP_SECOND, 8
.set    BNP_FRAME, 12

@ The products of the codes in \at0 and \at1, which they use up, and the halves that \half takes of the weights at \at.
.macro BNP_FOUR at0, at1, at, half:vararg
        ldr     r6, [r1, #\at]
        \half
        mov     r7, r6
        muls    r7, \at0, r7
        add     r8, r8, r7
        muls    r6, \at1, r6
        add     r9, r9, r6
        ldr     r6, [r1, #\at + 8]
        \half
        muls    \at0, r6, \at0
        add     r10, r10, \at0
        muls    \at1, r6, \at1
        add     r11, r11, \at1
.endm
@ Two codes, whose weights lie at \at.
.macro BNP_CODES at
        ldm     r0!, {r2, r3}
        sxth    r4, r2
        sxth    r5, r3
        BNP_FOUR r4, r5, \at, sxth r6, r6
        asrs    r2, r2, #16
        asrs    r3, r3, #16
        BNP_FOUR r2, r3, \at, asrs r6, r6, #16
.endm
        BN_FUNCTION bn_lenet_chain
        ldm     r2!, {r3-r6}
        lsls    r3, r3, #4
        push    {r3, r5, r6}
        muls    r4, r3, r4
        adds    r4, r4, r0
        mov     lr, r4                          @ behind all codes
        adds    r3, r3, r0
        mov     r12, r3                         @ behind those of the point
        ldm     r2!, {r4-r7}
        mov     r8, r4
        mov     r9, r5
        mov     r10, r6
        mov     r11, r7
1:
        BNP_CODES 0
        BNP_CODES 4
        adds    r1, #16
        cmp     r0, r12
        bne     1b
        mov     r4, r8
        mov     r5, r9
        mov     r6, r10
        mov     r7, r11
        ldr     r2, [sp, #BNP_FIRST]
        stm     r2!, {r4, r5}
        str     r2, [sp, #BNP_FIRST]
        ldr     r2, [sp, #BNP_SECOND]
        stm     r2!, {r6, r7}
        str     r2, [sp, #BNP_SECOND]
        ldr     r2, [sp, #BNP_POINT]
        add     r12, r12, r2
        cmp     r0, lr
        bne     1b
        BN_RETURN bn_lenet_chain, BNP_FRAME
