@ Products of gathered patches, two channels at a time, for cores with the DSP extension.
@
@       one word of weights v:   256 w0 - w1 | 256 w2 - w3         acc += v . u          u = u0 | u2
@       sxtb16 v:                        -w1 | -w3                 acc += sxtb16 v . y   y = the four codes, turned over
@
@ which adds 256 (w0 u0 + w1 u1 + w2 u2 + w3 u3) - 32,767 (w1 + w3); the start value takes the last term back.
@
@       three positions:  u u u y y y of a word of four channels, two words of weights: 12 SMLAD of 17 instructions
@       one position:     u y u y of two such words, four words of weights: 8 SMLAD of 14
@
@ The stream's `check` has proved that no sum leaves 32 bits in the end; on the way it may.

@ void bn_lenet_conv_three(const struct { const uint32_t *patch, *patch_end, *stream, *stream_end; uint8_t *output;
@     uint32_t plane; } *)
@ `stream` is at the first pair of channels, `output` at the first of the positions, `plane` the bytes from a word of channels to
@ the next, less 4. Results are codes from 0 to 255. `bn_lenet_conv_one` likewise.
.set    BNC_PATCH, 0
.set    BNC_PATCH_END, 4
.set    BNC_STREAM, 8
.set    BNC_STREAM_END, 12
.set    BNC_OUTPUT, 16
.set    BNC_PLANE, 20
.set    BNC_FRAME, 24

.macro BNC_ENTER name
        .section .text.\name, "ax", %progbits
        .global \name
        .type   \name, %function
        .thumb_func
\name:
        push    {r4-r11, lr}
        sub     sp, #BNC_FRAME
        ldm     r0, {r1-r6}
        stm     sp, {r1-r6}
        mov     r1, r3
.endm

.macro BNC_THREE
        ldm     r1!, {r2, r3}
        ldm     r0!, {r10-r12}
        smlad   r4, r10, r2, r4
        smlad   r5, r11, r2, r5
        smlad   r6, r12, r2, r6
        smlad   r7, r10, r3, r7
        smlad   r8, r11, r3, r8
        smlad   r9, r12, r3, r9
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

        BNC_ENTER bn_lenet_conv_three
1:      @ two channels
        ldrd    r0, lr, [sp, #BNC_PATCH]
        ldrd    r4, r7, [r1], #8
        mov     r5, r4
        mov     r6, r4
        mov     r8, r7
        mov     r9, r7
        @ Words of a patch are an even number; where they are not whole fours, begin in the middle.
        sub     r2, lr, r0
        tst     r2, #0x10
        bne.w   3f
2:
        BNC_THREE
        BNC_THREE
3:
        BNC_THREE
        BNC_THREE
        cmp     r0, lr
        bne.w   2b
        ldrd    r2, r3, [r1], #8
.irp    sum, r4, r5, r6
        smmulr  \sum, \sum, r2
.endr
.irp    sum, r7, r8, r9
        smmulr  \sum, \sum, r3
.endr
.irp    sum, r4, r5, r6, r7, r8, r9
        usat    \sum, #8, \sum
.endr
        orr     r4, r4, r7, lsl #8
        orr     r5, r5, r8, lsl #8
        orr     r6, r6, r9, lsl #8
        ldrd    r2, r3, [sp, #BNC_OUTPUT]
        strh    r5, [r2, #4]
        strh    r6, [r2, #8]
        strh    r4, [r2], #2
        tst     r2, #3
        it      eq
        addeq   r2, r2, r3
        str     r2, [sp, #BNC_OUTPUT]
        ldr     r3, [sp, #BNC_STREAM_END]
        cmp     r1, r3
        bne.w   1b
        add     sp, #BNC_FRAME
        pop     {r4-r11, pc}
        .size   bn_lenet_conv_three, . - bn_lenet_conv_three

.macro BNC_ONE
        ldm     r1!, {r2, r3, r6, r7}
        ldm     r0!, {r8-r11}
        smlad   r4, r8, r2, r4
        smlad   r5, r8, r3, r5
        smlad   r4, r10, r6, r4
        smlad   r5, r10, r7, r5
        sxtb16  r2, r2
        sxtb16  r3, r3
        sxtb16  r6, r6
        sxtb16  r7, r7
        smlad   r4, r9, r2, r4
        smlad   r5, r9, r3, r5
        smlad   r4, r11, r6, r4
        smlad   r5, r11, r7, r5
.endm

        BNC_ENTER bn_lenet_conv_one
1:      @ two channels
        ldrd    r0, lr, [sp, #BNC_PATCH]
        ldrd    r4, r5, [r1], #8
        sub     r2, lr, r0
        tst     r2, #0x10
        bne     3f
2:
        BNC_ONE
3:
        BNC_ONE
        cmp     r0, lr
        bne     2b
        ldrd    r2, r3, [r1], #8
        smmulr  r4, r4, r2
        smmulr  r5, r5, r3
        usat    r4, #8, r4
        usat    r5, #8, r5
        orr     r4, r4, r5, lsl #8
        ldrd    r2, r3, [sp, #BNC_OUTPUT]
        strh    r4, [r2], #2
        tst     r2, #3
        it      eq
        addeq   r2, r2, r3
        str     r2, [sp, #BNC_OUTPUT]
        ldr     r3, [sp, #BNC_STREAM_END]
        cmp     r1, r3
        bne     1b
        add     sp, #BNC_FRAME
        pop     {r4-r11, pc}
        .size   bn_lenet_conv_one, . - bn_lenet_conv_one

@ Unpacks three windows beside each other, three columns wide, stride 1, all inside the map.
@ void bn_lenet_conv_gather3(const struct { const uint32_t *input; uint32_t *patch; uint32_t row, plane, rows, words; } *)
@ `input` is at the first window's first column, `row` the bytes of a row, `plane` those from behind a word's rows to the next
@ word's first, `rows` how many a window has, `words` how many words of four channels.
.set    BNC_G_ROW, 0
.set    BNC_G_PLANE, 4
.set    BNC_G_ROWS, 8
.set    BNC_G_WORDS, 12
.set    BNC_G_FRAME, 16
        .section .text.bn_lenet_conv_gather3, "ax", %progbits
        .global bn_lenet_conv_gather3
        .type   bn_lenet_conv_gather3, %function
        .thumb_func
bn_lenet_conv_gather3:
        push    {r4-r11, lr}
        sub     sp, #BNC_G_FRAME
        ldm     r0, {r1-r6}
        stm     sp, {r3-r6}
        mov     r0, r1                          @ input
        mov     r1, r2                          @ patch
        mov     r12, #0x7fff
        orr     r12, r12, r12, lsl #16
1:      @ a word of channels
        ldr     lr, [sp, #BNC_G_ROWS]
2:      @ a row: five words, u in r2 to r6, y in r7 to r11
        ldm     r0, {r7-r11}
        uxtb16  r2, r7
        uxtb16  r3, r8
        uxtb16  r4, r9
        uxtb16  r5, r10
        uxtb16  r6, r11
        eor     r7, r7, r12
        eor     r8, r8, r12
        eor     r9, r9, r12
        eor     r10, r10, r12
        eor     r11, r11, r12
        stm     r1!, {r2-r4}
        stm     r1!, {r7-r9}
        stm     r1!, {r3-r5}
        stm     r1!, {r8-r10}
        stm     r1!, {r4-r6}
        stm     r1!, {r9-r11}
        ldr     r2, [sp, #BNC_G_ROW]
        add     r0, r2
        subs    lr, #1
        bne     2b
        ldr     r2, [sp, #BNC_G_PLANE]
        add     r0, r2
        ldr     r2, [sp, #BNC_G_WORDS]
        subs    r2, #1
        str     r2, [sp, #BNC_G_WORDS]
        bne     1b
        add     sp, #BNC_G_FRAME
        pop     {r4-r11, pc}
        .size   bn_lenet_conv_gather3, . - bn_lenet_conv_gather3
