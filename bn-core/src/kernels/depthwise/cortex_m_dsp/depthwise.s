@ A row of depthwise windows, three columns wide, four channels at a time, for cores with the DSP extension.
@
@       a word of codes    u3 u2 u1 u0      uxtb16: u2 | u0      uxtb16, ror #8: u3 | u1
@       two words of weights of a tap       w1 | w0      w3 | w2
@
@ so each of four products is one SMLA of the right halves: 25 instructions for the twelve of a row of a window. The stream's
@ `check` has proved that no sum leaves 32 bits.

@ void bn_lenet_depthwise3(const struct { const uint32_t *input; uint32_t step, pitch, rows; const uint32_t *stream;
@     uint32_t *output, *output_end; } *)
@ `step` is the bytes from a window to the next, `pitch` those from a row to the next. `stream` holds four start values, four
@ multipliers, then the weights by tap. Results are codes from 0 to 255.
.set    BND_INPUT, 0
.set    BND_STEP, 4
.set    BND_PITCH, 8
.set    BND_ROWS, 12
.set    BND_STREAM, 16
.set    BND_OUTPUT, 20
.set    BND_END, 24
.set    BND_FRAME, 28

.macro BND_TAP word
        ldm     r1!, {r2, r3}
        uxtb16  r12, \word
        uxtb16  \word, \word, ror #8
        smlabb  r4, r12, r2, r4
        smlabt  r5, \word, r2, r5
        smlatb  r6, r12, r3, r6
        smlatt  r7, \word, r3, r7
.endm

        .section .text.bn_lenet_depthwise3, "ax", %progbits
        .global bn_lenet_depthwise3
        .type   bn_lenet_depthwise3, %function
        .thumb_func
bn_lenet_depthwise3:
        push    {r4-r11, lr}
        sub     sp, #BND_FRAME
        ldm     r0, {r1-r7}
        stm     sp, {r1-r7}
        mov     r11, r3                         @ pitch
1:      @ a window
        ldr     r0, [sp, #BND_INPUT]
        ldrd    lr, r1, [sp, #BND_ROWS]
        ldm     r1!, {r4-r7}
        add     r1, #16                         @ behind the multipliers
2:      @ a row of it
        ldm     r0, {r8-r10}
        add     r0, r11
        BND_TAP r8
        BND_TAP r9
        BND_TAP r10
        subs    lr, #1
        bne     2b
        ldr     r12, [sp, #BND_STREAM]
        add     r12, #16
        ldm     r12, {r0-r3}
        smmulr  r4, r4, r0
        smmulr  r5, r5, r1
        smmulr  r6, r6, r2
        smmulr  r7, r7, r3
.irp    sum, r4, r5, r6, r7
        usat    \sum, #8, \sum
.endr
        orr     r4, r4, r5, lsl #8
        orr     r4, r4, r6, lsl #16
        orr     r4, r4, r7, lsl #24
        ldrd    r0, r1, [sp, #BND_OUTPUT]
        ldrd    r2, r3, [sp, #BND_INPUT]
        str     r4, [r0], #4
        add     r2, r3
        str     r2, [sp, #BND_INPUT]
        str     r0, [sp, #BND_OUTPUT]
        cmp     r0, r1
        bne     1b
        add     sp, #BND_FRAME
        pop     {r4-r11, pc}
        .size   bn_lenet_depthwise3, . - bn_lenet_depthwise3
