@ Tiles of a 3x3 convolution by F(4x2, 3x3), for cores with the DSP extension: four columns by four rows of results of each channel,
@ which is two rows of tiles; one after the other along a row.
@
@       1. transform    each word of four codes: six rows of six, along the rows, then down the columns
@       2. products     of two channels: 24 points, each a dot product over the words, for both rows of tiles
@       3. results      of these two channels: down the columns, along the rows, requantised
@
@ Blocks of products (see products.s: both rows of tiles, two channels) stand in a chain as long as most words can be many; a point
@ enters it so far before its end that as many are left as the layer has.
@
@ The sums at the points 1, -1 and 0 down a column go on from one to the next, each pushed: S1, E = S1 + S2, R = E + S0; then S3
@ anew. R is a result's row 0, and row 1 is  2 S1 - E + S3. The stream's `check` has proved that no result leaves 32 bits; on the
@ way sums may.
@
@ No register is left for a place to go on at. SP falls by 16 with each push, so what a point needs lies at one distance from SP,
@ in one of 24 slots: where it enters the chain; at the first point of a column the start values; at its last, whether more follow.

@ void bn_lenet_winograd3(const struct { const uint32_t *codes; uint32_t pitch, plane, quads; uint32_t *window; const uint32_t *stream,
@     *stream_end; uint8_t *output; uint32_t rows, next, tiles; } *)
@ `codes` is at the first code that the first tile reaches, `pitch` the bytes of a row of them, `plane` those of four channels, `quads`
@ how many words of four channels there are, from 1 to BNW_CHAIN. `rows` is the bytes of two rows of results, `next` those from a word
@ of channels to the next, less 4; `tiles` how many there are. Results are codes from 0 to 255; `_add` adds what lies there, times the
@ channel's factor.
.set    BNW_SUMS, 24 * 16
.set    BNW_SLOTS, 24 * 16
.set    BNW_CHAIN, 16
.set    BNW_SLOT, BNW_SLOTS - 16                @ of the next point
.set    BNW_MORE, BNW_SLOTS + 12                @ of the last point

.set    BNW_CODES, 0
.set    BNW_PITCH, 4
.set    BNW_PLANE, 8
.set    BNW_QUADS, 12
.set    BNW_WINDOW, 16
.set    BNW_STREAM, 20
.set    BNW_STREAM_END, 24
.set    BNW_OUTPUT, 28
.set    BNW_M0, 32
.set    BNW_ROWS, 36                            @ between the multipliers, so that one LDRD loads it with either
.set    BNW_M1, 40
.set    BNW_NEXT, 44
.set    BNW_STRIDE, 48                          @ bytes of a point
.set    BNW_PLACE, 52                           @ of the word of codes in the window
.set    BNW_LEFT, 56
.set    BNW_ADDS, 60                            @ two factors
.set    BNW_TILES, 68
.set    BNW_TILE_CODES, 72                      @ of the tile,
.set    BNW_TILE_OUTPUT, 76                     @ and where its results begin
.set    BNW_CHANNELS, 80                        @ of the stream
.set    BNW_VARIABLES, 84

@ Six words in r2 to r7, of which the two codes at \ror are meant, to six points in r2 to r7.
.macro BNW_ALONG ror
.irp    word, r2, r3, r4, r5, r6, r7
.if \ror
        uxtb16  \word, \word, ror #\ror
.else
        uxtb16  \word, \word
.endif
.endr
        lsl     r8, r4, #2
        lsl     r9, r3, #2
        ssub16  r8, r6, r8                      @ d4 - 4 d2
        ssub16  r9, r5, r9                      @ d3 - 4 d1
        ssub16  r10, r6, r4                     @ d4 - d2
        ssub16  r11, r5, r3                     @ d3 - d1
        add     r2, r6, r2, lsl #2
        add     r6, r4, r4, lsl #2
        ssub16  r2, r2, r6                      @ 4 d0 - 5 d2 + d4
        add     r7, r7, r3, lsl #2
        add     r6, r5, r5, lsl #2
        ssub16  r7, r7, r6                      @ 4 d1 - 5 d3 + d5
        sadd16  r11, r11, r11
        sadd16  r3, r8, r9
        ssub16  r4, r8, r9
        sadd16  r5, r10, r11
        ssub16  r6, r10, r11
.endm

@ Six rows at one point along them, to four points down a column, of both rows of tiles. r0 is at the third of the four, and goes
@ to that of the next point along. \stride: the bytes of a point, or where to load them.
.macro BNW_DOWN d0, d1, d2, d3, d4, d5, stride, load
        ssub16  r1, \d2, \d4
        ssub16  \d0, \d0, \d2
        strd    \d0, r1, [r0]
.if \load
        ldr     \stride, [sp, #(BNW_SUMS + BNW_SLOTS + BNW_STRIDE)]
.endif
        add     r0, \stride
        ssub16  r1, \d3, \d1
        ssub16  \d5, \d5, \d3
        strd    r1, \d5, [r0]
        sub     r0, r0, \stride, lsl #1
        ssub16  r1, \d2, \d1
        ssub16  \d5, \d4, \d3
        strd    r1, \d5, [r0]
        sub     r0, \stride
        sadd16  \d1, \d1, \d2
        sadd16  \d3, \d3, \d4
        strd    \d1, \d3, [r0]
        add     r0, r0, \stride, lsl #2
        add     r0, r0, \stride, lsl #1
.endm
@ All six points along the rows, of the codes whose rows lie \from bytes from SP on.
.macro BNW_COLUMNS from
.irp    x, 0, 8, 16
        ldrd    r2, r3, [sp, #(\from + \x)]
        ldrd    r4, r5, [sp, #(\from + \x + 24)]
        ldrd    r6, r7, [sp, #(\from + \x + 48)]
        ldrd    r8, r9, [sp, #(\from + \x + 72)]
        ldrd    r10, r11, [sp, #(\from + \x + 96)]
        ldrd    r12, lr, [sp, #(\from + \x + 120)]
        BNW_DOWN r2, r4, r6, r8, r10, r12, r2, 1
        BNW_DOWN r3, r5, r7, r9, r11, lr, r2, 0
.endr
.endm

.macro BNW_POINT kind, last
.if \kind
        BN_PRODUCTS \kind
.endif
        ldr     pc, [sp, #BNW_SLOT]
.rept BNW_CHAIN
        BN_PRODUCTS 0
.endr
\last:
        push    {r4-r7}
.endm

@ A point's values of both rows of tiles in a row of results: r0 and r12 are free.
.macro BNW_GET p, row, o, a, b
.if \row
        ldrd    \a, \b, [sp, #(64 * (5 - \p) + 48 + 8 * \o)]
        ldrd    r0, r12, [sp, #(64 * (5 - \p) + 32 + 8 * \o)]
        rsb     \a, r0, \a, lsl #1
        rsb     \b, r12, \b, lsl #1
        ldrd    r0, r12, [sp, #(64 * (5 - \p) + 8 * \o)]
        add     \a, \a, r0
        add     \b, \b, r12
.else
        ldrd    \a, \b, [sp, #(64 * (5 - \p) + 16 + 8 * \o)]
.endif
.endm
@ Two results, \a at r1 and \b two rows below.
.macro BNW_PUT a, b, multiplier, rows, add
.if \add
        ldrb    r0, [r1]
        ldrb    r12, [r1, \rows]
        mla     \a, r0, lr, \a
        mla     \b, r12, lr, \b
.endif
        smmulr  \a, \a, \multiplier
        smmulr  \b, \b, \multiplier
        usat    \a, #8, \a
        usat    \b, #8, \b
        strb    \b, [r1, \rows]
        strb    \a, [r1], #4
.endm
@ Four columns of a row of results in both rows of tiles, of channel \o. r1 goes to the row below.
.macro BNW_RESULTS row, o, add
        BNW_GET 1, \row, \o, r2, r3
        BNW_GET 2, \row, \o, r4, r5
        add     r6, r2, r4
        add     r7, r3, r5
        sub     r2, r2, r4
        sub     r3, r3, r5
        BNW_GET 3, \row, \o, r4, r5
        BNW_GET 4, \row, \o, r8, r9
        add     r10, r4, r8
        add     r11, r5, r9
        sub     r4, r4, r8
        sub     r5, r5, r9
        BNW_GET 0, \row, \o, r8, r9
        add     r8, r8, r6
        add     r9, r9, r7
        add     r8, r8, r10
        add     r9, r9, r11
        add     r6, r6, r10, lsl #2
        add     r7, r7, r11, lsl #2
        BNW_GET 5, \row, \o, r10, r11
        add     r10, r10, r2
        add     r11, r11, r3
        add     r10, r10, r4, lsl #3
        add     r11, r11, r5, lsl #3
        add     r2, r2, r4, lsl #1
        add     r3, r3, r5, lsl #1
.if \add
        ldr     lr, [sp, #(BNW_SUMS + BNW_SLOTS + BNW_ADDS + 4 * \o)]
.endif
.if \o
        ldrd    r4, r5, [sp, #(BNW_SUMS + BNW_SLOTS + BNW_ROWS)]
        BNW_PUTS r5, r4, \add
        add     r1, r1, r4, lsr #1
.else
        ldrd    r4, r5, [sp, #(BNW_SUMS + BNW_SLOTS + BNW_M0)]
        BNW_PUTS r4, r5, \add
        add     r1, r1, r5, lsr #1
.endif
        sub     r1, #16
.endm
.macro BNW_PUTS multiplier, rows, add
        BNW_PUT r8, r9, \multiplier, \rows, \add
        BNW_PUT r2, r3, \multiplier, \rows, \add
        BNW_PUT r6, r7, \multiplier, \rows, \add
        BNW_PUT r10, r11, \multiplier, \rows, \add
.endm

@ Fills the slots. r6: words of four channels.
.macro BNW_SLOTS_OF
        mov     r7, #BN_PRODUCTS_SIZE
        adr.w   r2, 61f
        adr.w   r3, 62f
        adr.w   r4, 63f
        adr.w   r5, 64f
        mls     r3, r6, r7, r3
        mls     r4, r6, r7, r4
        sub     r6, #1
        mls     r2, r6, r7, r2
        mls     r5, r6, r7, r5
.irp    entry, r2, r3, r4, r5
        add     \entry, #1                      @ Thumb
.endr
        mov     r6, #0
        mov     r7, #1
.irp    x, 0, 1, 2, 3, 4, 5
        str     r2, [sp, #(16 * (23 - 4 * \x))]
        str     r3, [sp, #(16 * (22 - 4 * \x))]
        str     r4, [sp, #(16 * (21 - 4 * \x))]
        str     r5, [sp, #(16 * (20 - 4 * \x))]
        str     r6, [sp, #(16 * (23 - 4 * \x) + 4)]
        str     r6, [sp, #(16 * (23 - 4 * \x) + 8)]
.if \x < 5
        str     r7, [sp, #(16 * (20 - 4 * \x) + 12)]
.else
        str     r6, [sp, #(16 * (20 - 4 * \x) + 12)]
.endif
.endr
.endm

.macro BNW_TILES_OF name, add
        BN_FUNCTION \name, 2                    @ ADR counts from whole words
        sub     sp, #(BNW_SLOTS + BNW_VARIABLES)
        ldm     r0, {r1-r8}
        ldrd    r9, r10, [r0, #32]
        ldr     r11, [r0, #40]
        add     r0, sp, #BNW_SLOTS
        stm     r0, {r1-r8}
        str     r9, [r0, #BNW_ROWS]
        str     r10, [r0, #BNW_NEXT]
        lsl     r4, r4, #4
        str     r4, [r0, #BNW_STRIDE]
        str     r11, [r0, #BNW_TILES]
        strd    r1, r8, [r0, #BNW_TILE_CODES]
        str     r6, [r0, #BNW_CHANNELS]
        ldr     r6, [r0, #BNW_QUADS]
        BNW_SLOTS_OF

5:      @ a tile
        add     r0, sp, #BNW_SLOTS
        ldr     r1, [r0, #BNW_STRIDE]
        ldrd    r2, r3, [r0, #BNW_TILE_CODES]   @ and its output
        ldr     r4, [r0, #BNW_WINDOW]
        ldr     r5, [r0, #BNW_QUADS]
        str     r2, [r0, #BNW_CODES]
        str     r3, [r0, #BNW_OUTPUT]
        add     r4, r4, r1, lsl #1
        strd    r4, r5, [r0, #BNW_PLACE]        @ and left
        sub     sp, #BNW_SUMS
1:      @ a word of four codes
        ldr     r0, [sp, #(BNW_SUMS + BNW_SLOTS + BNW_CODES)]
        mov     r1, sp
        add     r12, sp, #144
        mov     lr, #6
2:      @ a row
        ldm     r0, {r2-r7}
        BNW_ALONG 0
        stm     r1!, {r2-r7}
        ldm     r0, {r2-r7}
        BNW_ALONG 8
        stm     r12!, {r2-r7}
        ldr     r2, [sp, #(BNW_SUMS + BNW_SLOTS + BNW_PITCH)]
        add     r0, r2
        subs    lr, #1
        bne     2b
        ldr     r0, [sp, #(BNW_SUMS + BNW_SLOTS + BNW_PLACE)]
        BNW_COLUMNS 0
        ldr     r0, [sp, #(BNW_SUMS + BNW_SLOTS + BNW_PLACE)]
        add     r0, #8
        BNW_COLUMNS 144
        add     r12, sp, #(BNW_SUMS + BNW_SLOTS)
        ldr     r1, [r12, #BNW_CODES]
        ldr     r2, [r12, #BNW_PLANE]
        ldrd    r3, r4, [r12, #BNW_PLACE]       @ and left
        add     r1, r2
        add     r3, #16
        subs    r4, #1
        str     r1, [r12, #BNW_CODES]
        strd    r3, r4, [r12, #BNW_PLACE]
        bne.w   1b
        add     sp, #BNW_SUMS

        ldr     r1, [sp, #(BNW_SLOTS + BNW_CHANNELS)]
3:      @ two channels
        ldrd    r2, r3, [r1], #8
        strd    r2, r3, [sp, #(16 * (23 - 4) + 4)]
        ldr     r0, [sp, #(BNW_SLOTS + BNW_WINDOW)]
4:      @ a point along the rows
        ldrd    r5, r7, [sp, #(BNW_SLOT + 4)]
        BNW_POINT 1, 61
        BNW_POINT 0, 62
        BNW_POINT 0, 63
        BNW_POINT 2, 64
        ldr     r2, [sp, #BNW_MORE]
        cmp     r2, #0
        bne.w   4b

        add     r12, sp, #(BNW_SUMS + BNW_SLOTS)
        ldrd    r2, r3, [r1], #8
        str     r2, [r12, #BNW_M0]
        str     r3, [r12, #BNW_M1]
.if \add
        ldrd    r2, r3, [r1], #8
        strd    r2, r3, [r12, #BNW_ADDS]
.endif
        str     r1, [r12, #BNW_STREAM]
        ldr     r1, [r12, #BNW_OUTPUT]
        BNW_RESULTS 0, 0, \add
        BNW_RESULTS 1, 0, \add
        ldr     r1, [sp, #(BNW_SUMS + BNW_SLOTS + BNW_OUTPUT)]
        add     r1, #1
        BNW_RESULTS 0, 1, \add
        BNW_RESULTS 1, 1, \add
        add     sp, #BNW_SUMS
        ldr     r2, [sp, #(BNW_SLOTS + BNW_OUTPUT)]
        add     r2, #2
        ldr     r3, [sp, #(BNW_SLOTS + BNW_NEXT)]
        tst     r2, #3
        it      eq
        addeq   r2, r2, r3
        str     r2, [sp, #(BNW_SLOTS + BNW_OUTPUT)]
        ldrd    r1, r3, [sp, #(BNW_SLOTS + BNW_STREAM)]         @ and its end
        cmp     r1, r3
        bne.w   3b
        add     r0, sp, #BNW_SLOTS
        ldrd    r2, r3, [r0, #BNW_TILE_CODES]   @ and its output
        ldr     r1, [r0, #BNW_TILES]
        add     r2, #16
        add     r3, #16
        subs    r1, #1
        strd    r2, r3, [r0, #BNW_TILE_CODES]
        str     r1, [r0, #BNW_TILES]
        bne.w   5b
        BN_RETURN \name, (BNW_SLOTS + BNW_VARIABLES), 2
.endm
        BNW_TILES_OF bn_lenet_winograd3, 0
        BNW_TILES_OF bn_lenet_winograd3_add, 1
