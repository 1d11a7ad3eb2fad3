@ Convolutions over gathered patches, a group of channels at a time. What multiplies stands in `dsp.s`, for cores with the DSP
@ extension, and in `armv7m.s`, for others:
@
@       BNC_THREE_BLOCK         three positions, two channels: u u u y y y of a word of codes in r0, two words of weights in r1
@       BNC_ONE_BLOCK           one position, two channels:    u y of a word of codes, two words of weights
@       BNC_FOUR_BLOCK          one position, four channels:   u y u y of two words of codes, twice four words of weights
@       BNC_SCALE               a sum times its multiplier, rounded to the upper 32 bits; r0 is free
@
@ Sums begin at r4, channel by channel. Behind a first block stands a chain of BNC_CHAIN: a patch enters it so far before its end
@ that whole chains are left, and where that is lies on the stack. The stream's `check` has proved that no sum leaves 32 bits in the
@ end; on the way it may.

@ void bn_lenet_conv_three(const struct { const uint32_t *patch, *patch_end; uint32_t quads; const uint32_t *stream, *stream_end;
@     uint8_t *output; uint32_t plane, added; } *)
@ `stream` is at the first group of channels, `output` at the first of the positions, `plane` the bytes from a word of channels to the
@ next. Results are codes from 0 to 255; `_add` adds a code that lies `added` bytes behind each result's place, times the channel's
@ factor; `_sums` stores the sums of one group, channel by channel; `_halves` stores results of 16 bits.
@ `bn_lenet_conv_one` and `_four` likewise.
.set    BNC_PATCH, 0
.set    BNC_PATCH_END, 4
.set    BNC_ENTRY, 8                            @ quads, until the entry is known
.set    BNC_STREAM, 12
.set    BNC_STREAM_END, 16
.set    BNC_OUTPUT, 20
.set    BNC_PLANE, 24
.set    BNC_ADDED, 28
.set    BNC_ENTRY2, 32
.set    BNC_FRAME, 36

@ \log: of how many words of codes a block takes; \size: its bytes; \chains: how many chains there are, up to the labels 61 and 62.
.macro BNC_ENTER name, log, size, chains
        BN_FUNCTION \name, 2                    @ ADR counts from whole words
        sub     sp, #BNC_FRAME
        ldm     r0, {r1-r8}
        stm     sp, {r1-r8}
        @ The first block is none of the chain; before whole chains comes what lacks to one.
        sub     r3, r3, #(1 << \log)
.if \log
        lsr     r3, r3, #\log
.endif
        and     r3, r3, #(BNC_CHAIN - 1)
        mov     r1, #\size
        adr.w   r0, 61f
        mls     r0, r3, r1, r0
        add     r0, r0, #1                      @ Thumb
        str     r0, [sp, #BNC_ENTRY]
.if \chains == 2
        adr.w   r0, 62f
        mls     r0, r3, r1, r0
        add     r0, r0, #1
        str     r0, [sp, #BNC_ENTRY2]
.endif
        mov     r1, r4
.endm

.macro BNC_LEAVE name
        ldr     r3, [sp, #BNC_STREAM_END]
        cmp     r1, r3
        bne.w   1b
        BN_RETURN \name, BNC_FRAME, 2
.endm

@ What stands behind the products, \kind: 0 for codes, 1 for codes with a map added, 2 for sums, 3 for results of 16 bits. Two
@ pairs of channels make a word of results; \half says which of the two.
.macro BNC_SUMS name, first, last
        ldr     r2, [sp, #BNC_OUTPUT]
        stm     r2, {\first-\last}
        BN_RETURN \name, BNC_FRAME, 2
.endm
.macro BNC_NEXT half
.if \half
        add     r2, r3
        str     r2, [sp, #BNC_OUTPUT]
.endif
.endm

@ The blocks behind the first: \first and \last are labels, \end is the patch's end, or the register to load it in.
.macro BNC_CHAIN_OF block, first, last, entry, end
        ldr     pc, [sp, #\entry]
\first:
.rept BNC_CHAIN
        \block
.endr
\last:
.ifnc \end, lr
        ldr     \end, [sp, #BNC_PATCH_END]
.endif
        cmp     r0, \end
        bne.w   \first\()b
.endm
@ Two channels' factors of what is added to r10 and r11, its place to r12.
.macro BNC_ADDED_OF
        ldrd    r10, r11, [r1], #8
        ldr     r12, [sp, #BNC_OUTPUT]
        ldr     lr, [sp, #BNC_ADDED]
        add     r12, lr
.endm

.macro BNC_THREE_NEXT
        BNC_THREE_BLOCK r5, r6, r4, r8, r9, r7
.endm
.macro BNC_THREE_PAIR kind, half, first, last, entry
        ldrd    r0, lr, [sp, #BNC_PATCH]
        ldrd    r4, r7, [r1], #8
        BNC_THREE_BLOCK r4, r4, r4, r7, r7, r7
        BNC_CHAIN_OF BNC_THREE_NEXT, \first, \last, \entry, lr
.if \kind < 2
        ldrd    r2, r3, [r1], #8
.if \kind == 1
        BNC_ADDED_OF
        ldrb    lr, [r12, #(2 * \half)]
        ldrb    r0, [r12, #(2 * \half + 4)]
        mla     r4, lr, r10, r4
        ldrb    lr, [r12, #(2 * \half + 8)]
        mla     r5, r0, r10, r5
        ldrb    r0, [r12, #(2 * \half + 1)]
        mla     r6, lr, r10, r6
        ldrb    lr, [r12, #(2 * \half + 5)]
        mla     r7, r0, r11, r7
        ldrb    r0, [r12, #(2 * \half + 9)]
        mla     r8, lr, r11, r8
        mla     r9, r0, r11, r9
.endif
.irp    sum, r4, r5, r6
        BNC_SCALE \sum, r2
.endr
.irp    sum, r7, r8, r9
        BNC_SCALE \sum, r3
.endr
.irp    sum, r4, r5, r6, r7, r8, r9
        usat    \sum, #8, \sum
.endr
        orr     r4, r4, r7, lsl #8
        orr     r5, r5, r8, lsl #8
        orr     r6, r6, r9, lsl #8
        ldrd    r2, r3, [sp, #BNC_OUTPUT]       @ and plane
        strh    r4, [r2, #(2 * \half)]
        strh    r5, [r2, #(2 * \half + 4)]
        strh    r6, [r2, #(2 * \half + 8)]
        BNC_NEXT \half
.endif
.endm
.macro BNC_THREE name, kind
        BNC_ENTER \name, 0, BNC_THREE_SIZE, 2
1:      @ two channels, and two more
        BNC_THREE_PAIR \kind, 0, 51, 61, BNC_ENTRY
        BNC_THREE_PAIR \kind, 1, 52, 62, BNC_ENTRY2
        BNC_LEAVE \name
.endm
        BNC_THREE bn_lenet_conv_three, 0
        BNC_THREE bn_lenet_conv_three_add, 1
        BNC_ENTER bn_lenet_conv_three_sums, 0, BNC_THREE_SIZE, 1
        BNC_THREE_PAIR 2, 0, 51, 61, BNC_ENTRY
        BNC_SUMS bn_lenet_conv_three_sums, r4, r9

.macro BNC_ONE_PAIR kind, half, first, last, entry
        ldrd    r0, lr, [sp, #BNC_PATCH]
        ldrd    r4, r5, [r1], #8
        BNC_ONE_BLOCK
        BNC_CHAIN_OF BNC_ONE_BLOCK, \first, \last, \entry, lr
.if \kind < 2
        ldrd    r2, r3, [r1], #8
.if \kind == 1
        BNC_ADDED_OF
        ldrb    lr, [r12, #(2 * \half)]
        ldrb    r0, [r12, #(2 * \half + 1)]
        mla     r4, lr, r10, r4
        mla     r5, r0, r11, r5
.endif
        BNC_SCALE r4, r2
        BNC_SCALE r5, r3
        usat    r4, #8, r4
        usat    r5, #8, r5
        orr     r4, r4, r5, lsl #8
        ldrd    r2, r3, [sp, #BNC_OUTPUT]
        strh    r4, [r2, #(2 * \half)]
        BNC_NEXT \half
.endif
.endm
.macro BNC_ONE name, kind
        BNC_ENTER \name, 0, BNC_ONE_SIZE, 2
1:      @ two channels, and two more
        BNC_ONE_PAIR \kind, 0, 51, 61, BNC_ENTRY
        BNC_ONE_PAIR \kind, 1, 52, 62, BNC_ENTRY2
        BNC_LEAVE \name
.endm
        BNC_ONE bn_lenet_conv_one, 0
        BNC_ONE bn_lenet_conv_one_add, 1
        BNC_ENTER bn_lenet_conv_one_sums, 0, BNC_ONE_SIZE, 1
        BNC_ONE_PAIR 2, 0, 51, 61, BNC_ENTRY
        BNC_SUMS bn_lenet_conv_one_sums, r4, r5

.macro BNC_FOUR name, kind
        BNC_ENTER \name, 1, BNC_FOUR_SIZE, 1
1:      @ four channels
        ldr     r0, [sp, #BNC_PATCH]
        ldm     r1!, {r4-r7}
        BNC_FOUR_BLOCK
        BNC_CHAIN_OF BNC_FOUR_BLOCK, 51, 61, BNC_ENTRY, r2
.if \kind == 2
        BNC_SUMS \name, r4, r7
.else
        ldm     r1!, {r8-r11}
        ldr     r2, [sp, #BNC_OUTPUT]
        BNC_SCALE r4, r8
        BNC_SCALE r5, r9
        BNC_SCALE r6, r10
        BNC_SCALE r7, r11
.if \kind == 3
.irp    sum, r4, r5, r6, r7
        ssat    \sum, #16, \sum
.endr
        bfi     r4, r5, #16, #16
        bfi     r6, r7, #16, #16
        stm     r2!, {r4, r6}
.else
.irp    sum, r4, r5, r6, r7
        usat    \sum, #8, \sum
.endr
        orr     r4, r4, r5, lsl #8
        orr     r4, r4, r6, lsl #16
        orr     r4, r4, r7, lsl #24
        str     r4, [r2], #4
.endif
        str     r2, [sp, #BNC_OUTPUT]
        BNC_LEAVE \name
.endif
.endm
        BNC_FOUR bn_lenet_conv_four, 0
        BNC_FOUR bn_lenet_conv_four_sums, 2
        BNC_FOUR bn_lenet_conv_four_halves, 3

@ Unpacks windows: of each word of four codes u and y at three neighbouring positions, at one, or at one of three.
@ void bn_lenet_conv_gather3(const uint8_t *from, const struct { uint32_t *patch; uint32_t lane, step, columns, rows, row_skip,
@     planes, plane_skip; } *)
@ `lane` is the bytes from a position to the next, `step` those from a word of a row to the next, `row_skip` those from behind a
@ row's last word to the next row, `plane_skip` those from behind a plane's last row to the next plane. A word may lie at any byte.
.set    BNC_G_COLUMNS, 0
.set    BNC_G_ROWS, 4
.set    BNC_G_ROW_SKIP, 8
.set    BNC_G_PLANES, 12
.set    BNC_G_PLANE_SKIP, 16
.set    BNC_G_FRAME, 20
.macro BNC_GATHER name, lanes
        BN_FUNCTION \name
        sub     sp, #BNC_G_FRAME
        ldm     r1, {r2-r9}
        stm     sp, {r5-r9}
        mov     r1, r0                          @ from
        mov     r0, r2                          @ patch
        mov     r2, r3                          @ lane
        mov     r10, r4                         @ step
        mov     r12, #0x7fff
        orr     r12, r12, r12, lsl #16
        mov     r11, #0xff00ff
1:      @ a plane
        ldr     lr, [sp, #BNC_G_ROWS]
2:      @ a row
        ldr     r3, [sp, #BNC_G_COLUMNS]
3:      @ a word
.if \lanes == 3
        ldr     r8, [r1, r2]
        ldr     r9, [r1, r2, lsl #1]
        ldr     r7, [r1]
        add     r1, r10
        and     r4, r7, r11
        and     r5, r8, r11
        and     r6, r9, r11
        eor     r7, r7, r12
        eor     r8, r8, r12
        eor     r9, r9, r12
        stm     r0!, {r4-r9}
.else
        ldr     r5, [r1]
        add     r1, r10
        and     r4, r5, r11
        eor     r5, r5, r12
.if \lanes == 1
        stm     r0!, {r4, r5}
.else
        str     r5, [r0, #12]
        str     r4, [r0], #24
.endif
.endif
        subs    r3, #1
        bne     3b
        ldr     r4, [sp, #BNC_G_ROW_SKIP]
        add     r1, r4
        subs    lr, #1
        bne     2b
        ldrd    r4, r5, [sp, #BNC_G_PLANES]
        add     r1, r5
        subs    r4, #1
        str     r4, [sp, #BNC_G_PLANES]
        bne     1b
        BN_RETURN \name, BNC_G_FRAME
.endm
        BNC_GATHER bn_lenet_conv_gather3, 3
        BNC_GATHER bn_lenet_conv_gather1, 1
        BNC_GATHER bn_lenet_conv_gather_lane, 0
