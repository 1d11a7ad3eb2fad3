@ Convolution 1 of the fast build, sigmoid and pool: three sums in a register pair, as `fast.rs` explains and proves.
@
@       packed   [row 28][X0 X2 .. X26], then of each row (x1, x3)     channel   5 pairs (w1, w3), 5 rows of W0 W1 W2, start
@
@       a row of a tile     X0        X2        X4        X6        X8
@       A0 (low0, up0)      W0        W1        W2                             outputs 0 (with the A before) and 1
@       A2 (low2, up2)                W0        W1        W2                   outputs 2 (with A0) and 3
@       A4 (low4, up4)                          W0        W1        W2         outputs 4 (with A2) and 5
@
@       bits of a pair      0   1 .. 22   23 .. 31 | 32 .. 44   45 .. 63
@                           -   lower     middle            .   upper          index: bits 9 to 19 of a field
@
@ A tile is 6 columns of two output rows: 12 outputs, 3 pooled values, from 90 SMLAL and 30 loads. The upper row walks down
@ the kernel and the image, the lower one back up, so that both pointers end where the next tile begins. No output is
@ clamped: a field holds no more than the table has entries for.

@ void bn_lenet_pack_image(const uint8_t *image, uint32_t *packed): reads 784 bytes at any address, LDR may be unaligned.
        .section .text.bn_lenet_pack_image, "ax", %progbits
        .global bn_lenet_pack_image
        .type   bn_lenet_pack_image, %function
        .thumb_func
bn_lenet_pack_image:
        push    {r4-r8, lr}
        movw    r8, #0x01fe                     @ two pixels, doubled
        movt    r8, #0x01fe
        add     r2, r1, #1568                   @ the first column of the kernel's odd taps
        mov     r3, r2                          @ the packed rows' end

@ Four pixels to two words. \column: what to do with pixels 1 and 3.
.macro BNF_PACK column:vararg
        ldr     r4, [r0], #4
        and     r5, r8, r4, lsl #1              @ 2 x0, 2 x2
        uxtb16  r6, r4, ror #8                  @ x1, x3
        \column
        pkhbt   r4, r5, r6, lsl #23
        lsl     r6, r6, #7
        pkhtb   r5, r6, r5, asr #16
        strd    r4, r5, [r1], #8
.endm
1:
        BNF_PACK str r6, [r2], #4
.rept 6
        BNF_PACK
.endr
        cmp     r1, r3
        bne     1b
        pop     {r4-r8, pc}
        .size   bn_lenet_pack_image, . - bn_lenet_pack_image

low0    .req r5
up0     .req r6
low2    .req r7
up2     .req r8
low4    .req r9
up4     .req r10
px0      .req r11
px1      .req r12
px2      .req lr

@ void bn_lenet_fast_conv1(const uint32_t *packed, const struct channel *, const struct { const uint8_t *tables;
@     uint16_t *pooled; } *)
@ `pooled` is the first row in the first pair of channels; another pair is 576 bytes on, as `tables` is 2048 a channel.
.set    BNF_TABLE, 0                            @ table, upper row's A before the tile
.set    BNF_BEFORE_UPPER, 4
.set    BNF_BEFORE_LOWER, 8                     @ lower row's, table
.set    BNF_TABLE_AGAIN, 12
.set    BNF_FIRST, 16                           @ next of BNF_SUMS, pooled row
.set    BNF_POOLED, 20
.set    BNF_MAP, 24                             @ pooled channel
.set    BNF_PACKED, 28
.set    BNF_CHANNELS, 32
.set    BNF_START, 36
.set    BNF_SUMS, 40                            @ [row 24]: odd taps of each row's output 0
.set    BNF_SUMS_END, 136
.set    BNF_FRAME, 140                          @ with the nine registers saved, 8-aligned

        .section .text.bn_lenet_fast_conv1, "ax", %progbits
        .global bn_lenet_fast_conv1
        .type   bn_lenet_fast_conv1, %function
        .thumb_func
bn_lenet_fast_conv1:
        push    {r4-r11, lr}
        sub     sp, #BNF_FRAME
        ldrd    r3, r4, [r2]
        str     r3, [sp, #BNF_TABLE]
        str     r3, [sp, #BNF_TABLE_AGAIN]
        str     r4, [sp, #BNF_MAP]
        str     r0, [sp, #BNF_PACKED]
        movs    r3, #6
        str     r3, [sp, #BNF_CHANNELS]

@ A kernel row of three sums. \step: from the third word of data to the next row.
.macro BNF_ROW load, step
        \load   weights!, {w0, w1, w2}
        ldm     data!, {px0, px1, px2}
        smlal   low0, up0, w0, px0
        smlal   low0, up0, w1, px1
        smlal   low0, up0, w2, px2
        smlal   low2, up2, w0, px1
        smlal   low2, up2, w1, px2
        smlal   low4, up4, w0, px2
        ldrd    px0, px1, [data], #\step
        smlal   low2, up2, w2, px0
        smlal   low4, up4, w1, px0
        smlal   low4, up4, w2, px1
.endm
@ \start: offset of the start values from `weights`.
.macro BNF_BEGIN start
        ldrd    low0, up0, [weights, #\start]
        ldrd    low2, up2, [weights, #\start]
        ldrd    low4, up4, [weights, #\start]
.endm
@ Six activations, in \before, \free, low2, low0, low4, up0, from three sums and \before, whose shift says where its field is.
.macro BNF_ACTIVATIONS table, before, free, shift:vararg
        add     \before, low0, \before, \shift
        ubfx    \before, \before, #10, #11
        ldrb    \before, [\table, \before]      @ output 0
        ubfx    \free, up0, #0, #11
        ldrb    \free, [\table, \free]          @ output 1
        add     low2, low2, up0, lsr #12
        ubfx    low2, low2, #10, #11
        ldrb    low2, [\table, low2]            @ output 2
        ubfx    low0, up2, #0, #11
        ldrb    low0, [\table, low0]            @ output 3
        add     low4, low4, up2, lsr #12
        ubfx    low4, low4, #10, #11
        ldrb    low4, [\table, low4]            @ output 4
        ubfx    up0, up4, #0, #11
        ldrb    up0, [\table, up0]              @ output 5
.endm
@ \to: bytes from the row's first pooled value. \last: nothing comes after it, and `data` goes to the next rows.
.macro BNF_TILE to, last, shift:vararg
        BNF_BEGIN 60
.rept 5
        BNF_ROW ldm, 44
.endr
        ldrd    r2, r3, [sp, #BNF_TABLE]
.ifeq \last
        str     up4, [sp, #BNF_BEFORE_UPPER]
.endif
        BNF_ACTIVATIONS r2, r3, r4, \shift
        add     r3, r3, r4
        add     low2, low2, low0
        add     low4, low4, up0
        push    {r3, low2, low4}
        BNF_BEGIN 0
.rept 4
        BNF_ROW ldmdb, -68
.endr
.if \last
        BNF_ROW ldmdb, 8
.else
        BNF_ROW ldmdb, -56
.endif
        ldrd    r2, r3, [sp, #BNF_BEFORE_LOWER + 12]    @ three words are pushed
.ifeq \last
        str     up4, [sp, #BNF_BEFORE_LOWER + 12]
.endif
        BNF_ACTIVATIONS r3, r2, r4, \shift
        pop     {px0, px1, px2}
        ldr     r3, [sp, #BNF_POOLED]
        add     r2, r2, r4
        add     r2, r2, px0
        strh    r2, [r3, #\to]
        add     low2, low2, low0
        add     low2, low2, px1
        strh    low2, [r3, #\to + 4]
        add     low4, low4, up0
        add     low4, low4, px2
        strh    low4, [r3, #\to + 8]
.endm

1:      @ a channel: first what output 0 of each row has before its own sum, four rows at a time
        ldr     data, [sp, #BNF_PACKED]
        add     data, #1568
        ldm     weights!, {r2-r6}
        ldr     r7, [weights, #64]
        lsr     r7, r7, #13                     @ the upper field of the start
        str     r7, [sp, #BNF_START]
        add     lr, sp, #BNF_SUMS
2:
        ldr     r7, [sp, #BNF_START]
        ldrd    r11, r12, [data], #8
        smlad   r8, r2, r12, r7
        smlad   r7, r2, r11, r7
        smlad   r7, r3, r12, r7
        ldrd    r11, r12, [data], #8
        smlad   r7, r4, r11, r7
        smlad   r7, r5, r12, r7
        smlad   r8, r3, r11, r8
        smlad   r8, r4, r12, r8
        ldr     r10, [sp, #BNF_START]
        smlad   r9, r2, r11, r10
        smlad   r9, r3, r12, r9
        smlad   r10, r2, r12, r10
        ldrd    r11, r12, [data], #8
        smlad   r7, r6, r11, r7
        smlad   r8, r5, r11, r8
        smlad   r8, r6, r12, r8
        smlad   r9, r4, r11, r9
        smlad   r9, r5, r12, r9
        smlad   r10, r3, r11, r10
        smlad   r10, r4, r12, r10
        ldrd    r11, r12, [data], #-8
        smlad   r9, r6, r11, r9
        smlad   r10, r5, r11, r10
        smlad   r10, r6, r12, r10
        stm     lr!, {r7-r10}
        add     r11, sp, #BNF_SUMS_END
        cmp     lr, r11
        bne     2b
        ldr     data, [sp, #BNF_PACKED]
        add     r2, sp, #BNF_SUMS
        ldr     r3, [sp, #BNF_MAP]
        strd    r2, r3, [sp, #BNF_FIRST]
3:      @ two rows
        ldr     r2, [sp, #BNF_FIRST]
        ldrd    r3, r4, [r2], #8
        str     r2, [sp, #BNF_FIRST]
        strd    r3, r4, [sp, #BNF_BEFORE_UPPER]
        BNF_TILE 0, 0, lsl #1
        BNF_TILE 12, 0, lsr #12
        BNF_TILE 24, 0, lsr #12
        BNF_TILE 36, 1, lsr #12
        add     r3, #48
        ldr     r2, [sp, #BNF_FIRST]
        str     r3, [sp, #BNF_POOLED]
        add     r4, sp, #BNF_SUMS_END
        cmp     r2, r4
        bne     3b
        add     weights, #68                    @ the next channel
        @ It is the other half of the pair, or the first half of the next pair.
        ldr     r2, [sp, #BNF_TABLE]
        add     r2, r2, #2048
        str     r2, [sp, #BNF_TABLE]
        str     r2, [sp, #BNF_TABLE_AGAIN]
        ldr     r3, [sp, #BNF_MAP]
        ldr     r4, [sp, #BNF_CHANNELS]
        eor     r5, r3, #2
        tst     r4, #1                          @ an odd number to go: this was the second of its pair
        it      ne
        addne   r5, r5, #576
        str     r5, [sp, #BNF_MAP]
        subs    r4, #1
        str     r4, [sp, #BNF_CHANNELS]
        bne     1b
        add     sp, #BNF_FRAME
        pop     {r4-r11, pc}
        .size   bn_lenet_fast_conv1, . - bn_lenet_fast_conv1
