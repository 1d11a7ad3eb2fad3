@ One position, eight channels at a time: two groups of four, whose weights meet each code as soon as it is loaded. For cores that
@ multiply one number at a time.
@
@       r4-r7   sums of the first group, whose weights are at r1       r3       a code
@       r8-r11  sums of the second, at r2                              r12, lr  a weight of either
@
@ void bn_lenet_conv_eight(const struct { .. } *): as `bn_lenet_conv_four`, of an even number of groups. `_halves` likewise.
@ One of eight codes; \weight and \code load it and what it meets.
.macro BNC_EIGHT_CODES weight, at, code, from
        \code   r3, [r0, #\from]
        \weight r12, [r1, #\at]
        \weight lr, [r2, #\at]
        mla     r4, r3, r12, r4
        mla     r8, r3, lr, r8
        \weight r12, [r1, #\at + 4]
        \weight lr, [r2, #\at + 4]
        mla     r5, r3, r12, r5
        mla     r9, r3, lr, r9
        \weight r12, [r1, #\at + 8]
        \weight lr, [r2, #\at + 8]
        mla     r6, r3, r12, r6
        mla     r10, r3, lr, r10
        \weight r12, [r1, #\at + 12]
        \weight lr, [r2, #\at + 12]
        mla     r7, r3, r12, r7
        mla     r11, r3, lr, r11
.endm
.macro BNC_EIGHT name, kind
        BN_FUNCTION \name
        sub     sp, #BNC_FRAME
        ldm     r0, {r1-r8}
        stm     sp, {r1-r8}
        mov     r1, r4                          @ the stream
        add     r12, r3, #2
        add     r2, r1, r12, lsl #4             @ behind start values, words of codes and multipliers, 16 bytes each
        str     r12, [sp, #BNC_ENTRY]
1:      @ two groups
        ldr     r0, [sp, #BNC_PATCH]
        ldm     r1!, {r4-r7}
        ldm     r2!, {r8-r11}
2:
        BNC_EIGHT_CODES ldrsh, 0, ldrh, 0
        BNC_EIGHT_CODES ldrsh, 2, ldrh, 2
        BNC_EIGHT_CODES ldrsb, 0, ldrsh, 4
        BNC_EIGHT_CODES ldrsb, 2, ldrsh, 6
        BNC_EIGHT_CODES ldrsh, 16, ldrh, 8
        BNC_EIGHT_CODES ldrsh, 18, ldrh, 10
        BNC_EIGHT_CODES ldrsb, 16, ldrsh, 12
        BNC_EIGHT_CODES ldrsb, 18, ldrsh, 14
        ldr     lr, [sp, #BNC_PATCH_END]
        adds    r0, #16
        adds    r1, #32
        adds    r2, #32
        cmp     r0, lr
        bne.w   2b
        @ The multipliers.
.irp    sum, r4, r5, r6, r7
        ldr     r3, [r1], #4
        BNC_SCALE \sum, r3
.endr
.irp    sum, r8, r9, r10, r11
        ldr     r3, [r2], #4
        BNC_SCALE \sum, r3
.endr
        ldr     r0, [sp, #BNC_OUTPUT]
.if \kind == 3
.irp    sum, r4, r5, r6, r7, r8, r9, r10, r11
        ssat    \sum, #16, \sum
.endr
        bfi     r4, r5, #16, #16
        bfi     r6, r7, #16, #16
        bfi     r8, r9, #16, #16
        bfi     r10, r11, #16, #16
        stm     r0!, {r4, r6, r8, r10}
.else
.irp    sum, r4, r5, r6, r7, r8, r9, r10, r11
        usat    \sum, #8, \sum
.endr
        orr     r4, r4, r5, lsl #8
        orr     r4, r4, r6, lsl #16
        orr     r4, r4, r7, lsl #24
        orr     r8, r8, r9, lsl #8
        orr     r8, r8, r10, lsl #16
        orr     r8, r8, r11, lsl #24
        strd    r4, r8, [r0], #8
.endif
        str     r0, [sp, #BNC_OUTPUT]
        ldr     r12, [sp, #BNC_ENTRY]
        ldr     r3, [sp, #BNC_STREAM_END]
        mov     r1, r2
        add     r2, r2, r12, lsl #4
        cmp     r1, r3
        bne.w   1b
        BN_RETURN \name, BNC_FRAME
.endm
        BNC_EIGHT bn_lenet_conv_eight, 0
        BNC_EIGHT bn_lenet_conv_eight_halves, 3
