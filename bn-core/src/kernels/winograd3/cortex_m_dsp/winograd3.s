@ Tiles of a 3x3 convolution by F(4x2, 3x3), for cores with the DSP extension: four columns by four rows of results of each channel,
@ which is two rows of tiles; one after the other along a row.
@
@       1. transform    each word of four codes: six rows of six, along the rows, then down the columns
@       2. products     of two channels: 24 points, each a dot product over the words, for both rows of tiles
@       3. results      of these two channels: along the rows, requantised
@
@ A function for each number of words of four channels, so that every distance is a constant; what does not depend on that number
@ stands once. Blocks of products (see products.s: both rows of tiles, two channels) stand one behind the other for each point.
@
@ The four points down a column give two results. Their sums go on from one to the next:
@
@       point    1          -1              0           infinity
@       sum     S1     E = S1 + S2     R = E + S0     T + S3
@                      T = 2 S1 - E = S1 - S2
@
@ R is a result's row 0, T + S3 its row 1. The stream's `check` has proved that no result leaves 32 bits; on the way sums may.
@ Each column leaves thirteen words on the stack, from SP on: row 1, row 0, and T, each of channel 0 in both rows of tiles, then of 1;
@ and where a column is a part of its own, where that goes on.

@ void bn_lenet_winograd3_1(const struct { const uint32_t *codes; uint32_t pitch, plane, quads; uint32_t *window; const uint32_t
@     *stream, *stream_end; uint8_t *output; uint32_t rows, next, tiles; } *), and so on to _16
@ `codes` is at the first code that the first tile reaches, `pitch` the bytes of a row of them, `plane` those of four channels, `quads`
@ how many words of four channels there are, as in the name. `rows` is the bytes of two rows of results, `next` those from a word
@ of channels to the next, less 4; `tiles` how many there are. Results are codes from 0 to 255; bn_lenet_winograd3_add_1 and so on
@ add what lies there, times the channel's factor.
.set    BNW_COLUMN, 52                          @ bytes of a column on the stack,
.set    BNW_SUMS, 6 * BNW_COLUMN                @ and of all
.set    BNW_ROWS_OF, 2 * 6 * 6 * 4              @ rows of a word of codes at six points, codes 0 and 2, then 1 and 3
.set    BNW_UNROLLED, 4                         @ the most words whose columns stand one behind the other

@ From where sums end on:
.set    BNW_CODES, 0
.set    BNW_PLANE, 4
.set    BNW_PLACE, 8                            @ of the word of codes in the window, two points behind its first
.set    BNW_LEFT, 12
.set    BNW_PITCH, 16
.set    BNW_WINDOW, 20
.set    BNW_STREAM, 24
.set    BNW_STREAM_END, 28
.set    BNW_NEXT, 32
.set    BNW_OUTPUT, 36
.set    BNW_ROWS, 40
.set    BNW_TILES, 44
.set    BNW_CHANNELS, 48                        @ of the stream
.set    BNW_TILE_CODES, 52                      @ of the tile,
.set    BNW_TILE_OUTPUT, 56                     @ and where its results begin
.set    BNW_FACTORS, 60                         @ multiplier and factor of what is added, of channel 0, then of 1
.set    BNW_START, 76                           @ values of the two channels, where columns are parts
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


@ Six rows of six words of codes from r0 on, along the rows, to the stack: all of codes 0 and 2, then of 1 and 3.
.macro BNW_ROWS_OF name
        BN_PART \name
        push    {lr}
        add     r1, sp, #4
        add     r12, sp, #(4 + BNW_ROWS_OF / 2)
        ldr     lr, [sp, #(4 + BNW_ROWS_OF + BNW_PITCH)]
.irp    row, 0, 1, 2, 3, 4, 5
        ldm     r0, {r2-r7}
        BNW_ALONG 0
        stm     r1!, {r2-r7}
        ldm     r0, {r2-r7}
        BNW_ALONG 8
        stm     r12!, {r2-r7}
.if \row < 5
        add     r0, lr
.endif
.endr
        pop     {pc}
        BN_PART_END \name
.endm
        BNW_ROWS_OF bn_lenet_winograd3_rows

@ Six rows at one point along them, to four points down a column, of both rows of tiles. r0 goes on by \step to the third of the four.
@ \stride: the bytes of a point.
.macro BNW_DOWN d0, d1, d2, d3, d4, d5, stride, step
        ssub16  r1, \d2, \d4
        ssub16  \d0, \d0, \d2
.if \step > 1020
        add     r0, #\step
        strd    \d0, r1, [r0]
.else
        strd    \d0, r1, [r0, #\step]!
.endif
        ssub16  r1, \d3, \d1
        ssub16  \d5, \d5, \d3
        strd    r1, \d5, [r0, #\stride]
        ssub16  r1, \d2, \d1
        ssub16  \d5, \d4, \d3
        strd    r1, \d5, [r0, #-\stride]
        sadd16  \d1, \d1, \d2
        sadd16  \d3, \d3, \d4
        strd    \d1, \d3, [r0, #(-2 * \stride)]
.endm
@ All six points along the rows, of the codes whose rows lie \from bytes from SP on, to \first bytes behind their place.
.macro BNW_COLUMNS from, stride, first
        ldr     r0, [sp, #(BNW_ROWS_OF + BNW_PLACE)]
.irp    x, 0, 8, 16
        ldrd    r2, r3, [sp, #(\from + \x)]
        ldrd    r4, r5, [sp, #(\from + \x + 24)]
        ldrd    r6, r7, [sp, #(\from + \x + 48)]
        ldrd    r8, r9, [sp, #(\from + \x + 72)]
        ldrd    r10, r11, [sp, #(\from + \x + 96)]
        ldrd    r12, lr, [sp, #(\from + \x + 120)]
.if \x
        BNW_DOWN r2, r4, r6, r8, r10, r12, \stride, (4 * \stride)
.else
        BNW_DOWN r2, r4, r6, r8, r10, r12, \stride, \first
.endif
        BNW_DOWN r3, r5, r7, r9, r11, lr, \stride, (4 * \stride)
.endr
.endm

@ Blocks that go on.
.macro BNW_BLOCKS count
.rept   \count
        BN_PRODUCTS 0
.endr
.endm
@ The four points of a column. \kind: 1 begins with the start values in r5 and r7, 2 with nothing. \behind is a register that goes on
@ the stack behind the sums.
.macro BNW_POINTS quads, kind, behind
        BN_PRODUCTS \kind
        BNW_BLOCKS (\quads - 1)
        push    {r4-r7 \behind}                 @ S1
        BNW_BLOCKS \quads
        ldm     sp, {r2, r3, r8, r9}
        rsb     r2, r4, r2, lsl #1
        rsb     r3, r5, r3, lsl #1
        rsb     r8, r6, r8, lsl #1
        rsb     r9, r7, r9, lsl #1
        stm     sp, {r2, r3, r8, r9}            @ T
        BNW_BLOCKS \quads
        push    {r4-r7}                         @ row 0
        ldrd    r4, r5, [sp, #16]
        ldrd    r6, r7, [sp, #24]
        BNW_BLOCKS \quads
        push    {r4-r7}                         @ row 1
.endm
@ All columns of two channels, whose start values lie at r1. Those belong to column 1.
.macro BNW_PRODUCTS_OF quads
.if \quads <= BNW_UNROLLED
        add     r1, #8
        ldr     r0, [sp, #BNW_WINDOW]
        BNW_POINTS \quads, 2, ", r8"
        ldrd    r5, r7, [r1, #(-8 - 64 * \quads)]
        BNW_POINTS \quads, 1, ", r8"
.rept   4
        BNW_POINTS \quads, 2, ", r8"
.endr
.else
        ldrd    r2, r3, [r1], #8
        ldr     r0, [sp, #BNW_WINDOW]
        strd    r2, r3, [sp, #BNW_START]
.irp    column, 0, 1, 2, 3, 4, 5
.if \column == 1
        ldrd    r5, r7, [sp, #(BNW_START + BNW_COLUMN)]
.else
        movs    r5, #0
        movs    r7, #0
.endif
        bl      bn_lenet_winograd3_column_\quads
.endr
.endif
.endm
@ A column that begins with the values in r5 and r7.
.macro BNW_COLUMN_OF quads
        BN_PART bn_lenet_winograd3_column_\quads
        push    {lr}
        BNW_POINTS \quads, 1
        ldr     pc, [sp, #(BNW_COLUMN - 4)]
        BN_PART_END bn_lenet_winograd3_column_\quads
.endm
.irp    quads, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16
        BNW_COLUMN_OF \quads
.endr

@ Two results, \a at r1 and \b two rows below, at r12. r0 is the multiplier, lr the factor of what is added.
.macro BNW_PUT a, b, place, multiplier, add
.if \add
        ldrb    r4, [r1, #\place]
        ldrb    r5, [r12, #\place]
        mla     \a, r4, lr, \a
        mla     \b, r5, lr, \b
.endif
        smmulr  \a, \a, \multiplier
        smmulr  \b, \b, \multiplier
        usat    \a, #8, \a
        usat    \b, #8, \b
        strb    \a, [r1, #\place]
        strb    \b, [r12, #\place]
.endm
@ Sums of a point along the rows, in both rows of tiles.
.macro BNW_GET p, row, o, a, b
        ldrd    \a, \b, [sp, #(4 + BNW_COLUMN * (5 - \p) + 16 * (1 - \row) + 8 * \o)]
.endm
@ Four columns of a row of results in both rows of tiles, of channel \o.
.macro BNW_ROW row, o, multiplier, add
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
        ldrd    r0, lr, [sp, #(4 + BNW_SUMS + BNW_FACTORS + 8 * \o)]
.endif
        BNW_PUT r8, r9, (\o), \multiplier, \add
        BNW_PUT r2, r3, (4 + \o), \multiplier, \add
        BNW_PUT r6, r7, (8 + \o), \multiplier, \add
        BNW_PUT r10, r11, (12 + \o), \multiplier, \add
.endm
@ The results of two channels, whose multipliers lie at r1, and behind them the factors of what is added.
.macro BNW_RESULTS_OF name, add
        BN_PART \name
        push    {lr}
.if \add
        ldm     r1!, {r2-r5}
        strd    r2, r4, [sp, #(4 + BNW_SUMS + BNW_FACTORS)]
        strd    r3, r5, [sp, #(4 + BNW_SUMS + BNW_FACTORS + 8)]
.else
        ldm     r1!, {r0, lr}
.endif
        str     r1, [sp, #(4 + BNW_SUMS + BNW_STREAM)]
        ldrd    r1, r12, [sp, #(4 + BNW_SUMS + BNW_OUTPUT)]     @ and rows
        add     r12, r1
.if \add
        BNW_ROW 0, 0, r0, 1
        BNW_ROW 0, 1, r0, 1
.else
        BNW_ROW 0, 0, r0, 0
        BNW_ROW 0, 1, lr, 0
.endif
        ldr     r2, [sp, #(4 + BNW_SUMS + BNW_ROWS)]
        add     r1, r1, r2, lsr #1
        add     r12, r12, r2, lsr #1
.if \add
        BNW_ROW 1, 0, r0, 1
        BNW_ROW 1, 1, r0, 1
.else
        BNW_ROW 1, 0, r0, 0
        BNW_ROW 1, 1, lr, 0
.endif
        pop     {pc}
        BN_PART_END \name
.endm
        BNW_RESULTS_OF bn_lenet_winograd3_results, 0
        BNW_RESULTS_OF bn_lenet_winograd3_results_add, 1

.macro BNW_TILES_OF name, quads, results
        BN_FUNCTION \name
        sub     sp, #BNW_VARIABLES
        ldm     r0!, {r2, r3, r4}               @ codes, pitch, plane
        str     r4, [sp, #BNW_PLANE]
        str     r3, [sp, #BNW_PITCH]
        ldm     r0, {r3-r10}                    @ quads, window, stream, its end, output, rows, next, tiles
        strd    r4, r5, [sp, #BNW_WINDOW]       @ and stream
        strd    r6, r9, [sp, #BNW_STREAM_END]   @ and next
        strd    r8, r10, [sp, #BNW_ROWS]        @ and tiles
        strd    r5, r2, [sp, #BNW_CHANNELS]     @ and the tile's codes
        str     r7, [sp, #BNW_TILE_OUTPUT]

5:      @ a tile
        ldrd    r2, r3, [sp, #BNW_TILE_CODES]   @ and its output
        ldr     r4, [sp, #BNW_WINDOW]
        mov     r5, #\quads
        add     r4, #(32 * \quads)
        str     r2, [sp, #BNW_CODES]
        str     r3, [sp, #BNW_OUTPUT]
        strd    r4, r5, [sp, #BNW_PLACE]        @ and left
        sub     sp, #BNW_ROWS_OF
1:      @ a word of four codes
        ldr     r0, [sp, #(BNW_ROWS_OF + BNW_CODES)]
        bl      bn_lenet_winograd3_rows
        BNW_COLUMNS 0, (16 * \quads), 0
        BNW_COLUMNS (BNW_ROWS_OF / 2), (16 * \quads), 8
        ldrd    r0, r1, [sp, #(BNW_ROWS_OF + BNW_CODES)]        @ and plane
        ldrd    r2, r3, [sp, #(BNW_ROWS_OF + BNW_PLACE)]        @ and left
        add     r0, r1
        add     r2, #16
        str     r0, [sp, #(BNW_ROWS_OF + BNW_CODES)]
        subs    r3, #1
        strd    r2, r3, [sp, #(BNW_ROWS_OF + BNW_PLACE)]
        bne.w   1b
        add     sp, #BNW_ROWS_OF

        ldr     r1, [sp, #BNW_CHANNELS]
3:      @ two channels
        BNW_PRODUCTS_OF \quads
        bl      \results
        add     sp, #BNW_SUMS
        ldrd    r2, r3, [sp, #BNW_NEXT]         @ and output
        ldrd    r1, r4, [sp, #BNW_STREAM]       @ and its end
        add     r3, #2
        tst     r3, #3
        it      eq
        addeq   r3, r3, r2
        str     r3, [sp, #BNW_OUTPUT]
        cmp     r1, r4
        bne.w   3b

        ldrd    r2, r3, [sp, #BNW_TILE_CODES]   @ and its output
        ldr     r1, [sp, #BNW_TILES]
        add     r2, #16
        add     r3, #16
        strd    r2, r3, [sp, #BNW_TILE_CODES]
        subs    r1, #1
        str     r1, [sp, #BNW_TILES]
        bne.w   5b
        BN_RETURN \name, BNW_VARIABLES
.endm
.irp    quads, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16
        BNW_TILES_OF bn_lenet_winograd3_\quads, \quads, bn_lenet_winograd3_results
        BNW_TILES_OF bn_lenet_winograd3_add_\quads, \quads, bn_lenet_winograd3_results_add
.endr
