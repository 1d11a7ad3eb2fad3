@ Tiles of a 3x3 convolution two steps apart by polyphase Winograd, for cores with the DSP extension: two columns by four rows of
@ results of each channel, which is two rows of tiles; one after the other along a row.
@
@       1. transform    each word of four codes: nine rows of five, along the rows, then down the columns
@       2. products     of two channels: 25 points in nine sums, for both rows of tiles
@       3. results      of these two channels: of each tile two rows of two, requantised
@
@ A function for each number of words of four channels, so that every distance is a constant; what does not depend on that number
@ stands once. Blocks of products (see products.s: both rows of tiles, two channels) stand one behind the other for each sum.
@
@ The sums go by three for each of the points c, then b and o, then e and p along a row. Down a column the first is that at c. The
@ second goes on from it with b and o, and is row 0; the third goes on from it with e and p, and is row 1. Column 0 of the results
@ is what stands at c, and at b and o; column 1 what stands at c, and at e and p.
@ Each three leave thirteen words on the stack, from SP on: row 1, row 0, the first sum, each of channel 0 in both rows of tiles, then
@ of 1; and where the part that computes it goes on.

@ void bn_lenet_polyphase3_1(const struct { const uint32_t *codes; uint32_t pitch, plane, quads; uint32_t *window; const uint32_t
@     *stream, *stream_end; uint8_t *output; uint32_t rows, next, tiles; } *), and so on to _16
@ As bn_lenet_winograd3_1, for codes from 0 to 255.
.set    BNP_THREE, 52                           @ bytes of three sums on the stack,
.set    BNP_SUMS, 3 * BNP_THREE                 @ and of all
.set    BNP_ROWS_OF, 2 * 9 * 5 * 4              @ rows of a word of codes at five points, codes 0 and 2, then 1 and 3

@ From where sums end on:
.set    BNP_CODES, 0
.set    BNP_PLANE, 4
.set    BNP_PLACE, 8                            @ of the word of codes in the window
.set    BNP_LEFT, 12
.set    BNP_PITCH, 16
.set    BNP_WINDOW, 20
.set    BNP_STREAM, 24
.set    BNP_STREAM_END, 28
.set    BNP_NEXT, 32
.set    BNP_OUTPUT, 36
.set    BNP_ROWS, 40
.set    BNP_TILES, 44
.set    BNP_CHANNELS, 48                        @ of the stream
.set    BNP_TILE_CODES, 52                      @ of the tile,
.set    BNP_TILE_OUTPUT, 56                     @ and where its results begin
.set    BNP_VARIABLES, 60

@ Five words at r0, of which the two codes at \ror are meant, to the points b, o, c, p, e, stored at \to.
.macro BNP_ALONG to, ror
        ldm     r0, {r2-r6}
.irp    word, r2, r3, r4, r5, r6
.if \ror
        uxtb16  \word, \word, ror #\ror
.else
        uxtb16  \word, \word
.endif
.endr
        ssub16  r2, r2, r4
        ssub16  r6, r6, r4
        stm     \to!, {r2-r6}
.endm
@ Nine rows of five words of codes from r0 on, along the rows, to the stack: all of codes 0 and 2, then of 1 and 3.
        BN_PART bn_lenet_polyphase3_rows
        mov     r1, sp
        add     r12, sp, #(BNP_ROWS_OF / 2)
        ldr     r7, [sp, #(BNP_ROWS_OF + BNP_PITCH)]
.rept   8
        BNP_ALONG r1, 0
        BNP_ALONG r12, 8
        add     r0, r7
.endr
        BNP_ALONG r1, 0
        BNP_ALONG r12, 8
        bx      lr
        BN_PART_END bn_lenet_polyphase3_rows

@ Stores both rows of tiles at a point. r0 is at point BNP_AT; it goes on where that is too far.
.macro BNP_STORE a, b, point, stride
.if (\point - BNP_AT) * \stride > 1020
        add     r0, #((\point - BNP_AT) * \stride)
        .set    BNP_AT, \point
.endif
.if (BNP_AT - \point) * \stride > 1020
        sub     r0, #((BNP_AT - \point) * \stride)
        .set    BNP_AT, \point
.endif
        strd    \a, \b, [r0, #((\point - BNP_AT) * \stride)]
.endm
@ Rows 0, 2, 4, 6 and 8 of a column to the points c, b and e down it, of which \point is the first; \step: points from one to the next.
.macro BNP_EVEN d0, d2, d4, d6, d8, point, step, stride
        BNP_STORE \d2, \d6, (\point), \stride                   @ c
        ssub16  \d0, \d0, \d2
        ssub16  r12, \d4, \d6
        BNP_STORE \d0, r12, (\point + \step), \stride           @ b
        ssub16  \d4, \d4, \d2
        ssub16  \d8, \d8, \d6
        BNP_STORE \d4, \d8, (\point + 3 * \step), \stride       @ e
.endm
@ Rows 1, 3, 5 and 7 of it to the points o and p.
.macro BNP_ODD d1, d3, d5, d7, point, step, stride
        BNP_STORE \d1, \d5, (\point + 2 * \step), \stride       @ o
        BNP_STORE \d3, \d7, (\point + 4 * \step), \stride       @ p
.endm
@ Two columns, \from bytes from SP on, whose first points are \first and \second. They take turns in the window.
.macro BNP_TWO from, first, second, stride
        ldrd    r2, r3, [sp, #(\from)]
        ldrd    r4, r5, [sp, #(\from + 40)]
        ldrd    r6, r7, [sp, #(\from + 80)]
        ldrd    r8, r9, [sp, #(\from + 120)]
        ldrd    r10, r11, [sp, #(\from + 160)]
        BNP_EVEN r2, r4, r6, r8, r10, \first, 2, \stride
        BNP_EVEN r3, r5, r7, r9, r11, \second, 2, \stride
        ldrd    r2, r3, [sp, #(\from + 20)]
        ldrd    r4, r5, [sp, #(\from + 60)]
        ldrd    r6, r7, [sp, #(\from + 100)]
        ldrd    r8, r9, [sp, #(\from + 140)]
        BNP_ODD r2, r4, r6, r8, \first, 2, \stride
        BNP_ODD r3, r5, r7, r9, \second, 2, \stride
.endm
@ All five points along the rows, of the codes whose rows lie \from bytes from SP on, to \behind bytes behind their place.
.macro BNP_COLUMNS from, behind, stride
        .set    BNP_AT, 0
        ldr     r0, [sp, #(BNP_ROWS_OF + BNP_PLACE)]
.if \behind
        add     r0, #\behind
.endif
.irp    row, 0, 1, 2, 3, 4, 5, 6, 7, 8
        BNP_LOAD \row, (\from + 8 + 20 * \row)
.endr
        BNP_EVEN r2, r4, r6, r8, r10, 0, 1, \stride             @ c
        BNP_ODD r3, r5, r7, r9, 0, 1, \stride
        BNP_TWO \from, 5, 6, \stride                            @ b and o
        BNP_TWO (\from + 12), 16, 15, \stride                   @ p and e
.endm
.macro BNP_LOAD row, from
.irp    register, 2, 3, 4, 5, 6, 7, 8, 9, 10
.if \register - 2 == \row
        ldr     r\register, [sp, #(\from)]
.endif
.endr
.endm

@ Three sums: of \count blocks, and of twice as many. \kind: 1 begins with the start values in r5 and r7, 2 with nothing. \behind is a
@ register that goes on the stack behind them.
.macro BNP_THREE_SUMS count, kind, behind
        BN_PRODUCTS \kind
.rept   \count - 1
        BN_PRODUCTS 0
.endr
        push    {r4-r7 \behind}
.rept   2 * \count
        BN_PRODUCTS 0
.endr
        push    {r4-r7}                         @ row 0
        ldrd    r4, r5, [sp, #16]
        ldrd    r6, r7, [sp, #24]
.rept   2 * \count
        BN_PRODUCTS 0
.endr
        push    {r4-r7}                         @ row 1
.endm
@ Those of two points along the rows.
.macro BNP_TWO_POINTS quads
        BN_PART bn_lenet_polyphase3_points_\quads
        push    {lr}
        BNP_THREE_SUMS (2 * \quads), 2
        ldr     pc, [sp, #(BNP_THREE - 4)]
        BN_PART_END bn_lenet_polyphase3_points_\quads
.endm
.irp    quads, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16
        BNP_TWO_POINTS \quads
.endr

@ Two results, \a at r1 and \b two rows below, at r12.
.macro BNP_PUT a, b, place, multiplier
        smmulr  \a, \a, \multiplier
        smmulr  \b, \b, \multiplier
        usat    \a, #8, \a
        usat    \b, #8, \b
        strb    \a, [r1, #\place]
        strb    \b, [r12, #\place]
.endm
@ Sums of a three, in both rows of tiles.
.macro BNP_GET three, row, o, a, b
        ldrd    \a, \b, [sp, #(BNP_THREE * (2 - \three) + 16 * (1 - \row) + 8 * \o)]
.endm
@ Two columns of a row of results in both rows of tiles, of channel \o.
.macro BNP_ROW row, o, multiplier
        BNP_GET 0, \row, \o, r2, r3
        BNP_GET 1, \row, \o, r4, r5
        BNP_GET 2, \row, \o, r6, r7
        add     r4, r4, r2
        add     r5, r5, r3
        add     r6, r6, r2
        add     r7, r7, r3
        BNP_PUT r4, r5, (\o), \multiplier
        BNP_PUT r6, r7, (4 + \o), \multiplier
.endm

.macro BNP_TILES_OF name, quads
        BN_FUNCTION \name
        sub     sp, #BNP_VARIABLES
        ldm     r0!, {r1-r4}                    @ codes, pitch, plane, quads
        str     r3, [sp, #BNP_PLANE]
        str     r2, [sp, #BNP_PITCH]
        ldm     r0, {r3-r9}                     @ window, stream, its end, output, rows, next, tiles
        str     r3, [sp, #BNP_WINDOW]
        strd    r5, r8, [sp, #BNP_STREAM_END]   @ and next
        strd    r7, r9, [sp, #BNP_ROWS]         @ and tiles
        strd    r4, r1, [sp, #BNP_CHANNELS]     @ and the tile's codes
        str     r6, [sp, #BNP_TILE_OUTPUT]

5:      @ a tile
        ldrd    r2, r3, [sp, #BNP_TILE_CODES]   @ and its output
        ldr     r4, [sp, #BNP_WINDOW]
        mov     r5, #\quads
        str     r2, [sp, #BNP_CODES]
        str     r3, [sp, #BNP_OUTPUT]
        strd    r4, r5, [sp, #BNP_PLACE]        @ and left
        sub     sp, #BNP_ROWS_OF
1:      @ a word of four codes
        ldr     r0, [sp, #(BNP_ROWS_OF + BNP_CODES)]
        bl      bn_lenet_polyphase3_rows
        BNP_COLUMNS 0, 0, (16 * \quads)
        BNP_COLUMNS (BNP_ROWS_OF / 2), 8, (16 * \quads)
        ldrd    r0, r1, [sp, #(BNP_ROWS_OF + BNP_CODES)]        @ and plane
        ldrd    r2, r3, [sp, #(BNP_ROWS_OF + BNP_PLACE)]        @ and left
        add     r0, r1
        add     r2, #16
        str     r0, [sp, #(BNP_ROWS_OF + BNP_CODES)]
        subs    r3, #1
        strd    r2, r3, [sp, #(BNP_ROWS_OF + BNP_PLACE)]
        bne.w   1b
        add     sp, #BNP_ROWS_OF

        ldr     r1, [sp, #BNP_CHANNELS]
3:      @ two channels
        ldr     r0, [sp, #BNP_WINDOW]
        ldrd    r5, r7, [r1], #8
        BNP_THREE_SUMS \quads, 1, ", r8"
        bl      bn_lenet_polyphase3_points_\quads
        bl      bn_lenet_polyphase3_points_\quads

        ldm     r1!, {r0, lr}                   @ multipliers
        str     r1, [sp, #(BNP_SUMS + BNP_STREAM)]
        ldrd    r1, r12, [sp, #(BNP_SUMS + BNP_OUTPUT)]         @ and rows
        add     r12, r1
        BNP_ROW 0, 0, r0
        BNP_ROW 0, 1, lr
        ldr     r2, [sp, #(BNP_SUMS + BNP_ROWS)]
        add     r1, r1, r2, lsr #1
        add     r12, r12, r2, lsr #1
        BNP_ROW 1, 0, r0
        BNP_ROW 1, 1, lr
        add     sp, #BNP_SUMS
        ldrd    r2, r3, [sp, #BNP_NEXT]         @ and output
        ldrd    r1, r4, [sp, #BNP_STREAM]       @ and its end
        add     r3, #2
        tst     r3, #3
        it      eq
        addeq   r3, r3, r2
        str     r3, [sp, #BNP_OUTPUT]
        cmp     r1, r4
        bne.w   3b

        ldrd    r2, r3, [sp, #BNP_TILE_CODES]   @ and its output
        ldr     r1, [sp, #BNP_TILES]
        add     r2, #16
        add     r3, #8
        strd    r2, r3, [sp, #BNP_TILE_CODES]
        subs    r1, #1
        str     r1, [sp, #BNP_TILES]
        bne.w   5b
        BN_RETURN \name, BNP_VARIABLES
.endm
.irp    quads, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16
        BNP_TILES_OF bn_lenet_polyphase3_\quads, \quads
.endr
