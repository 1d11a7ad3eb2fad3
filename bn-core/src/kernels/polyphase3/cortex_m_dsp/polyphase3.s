@ Tiles of a 3x3 convolution two steps apart by polyphase Winograd, for cores with the DSP extension: two columns by four rows of
@ results of each channel, which is two rows of tiles; one after the other along a row.
@
@       1. transform    each word of four codes: nine rows of five, along the rows, then down the columns
@       2. products     of two channels: 25 points in nine sums, for both rows of tiles
@       3. results      of these two channels: of each tile two rows of two, requantised
@
@ The sums go by three for each of the points c, then b and o, then e and p along a row. Down a column the first is that at c; the
@ second goes on from it with b and o, and is row 0 of the results; the third begins anew with e and p, and row 1 is first and third.
@ Each is pushed. What belongs to column 0 of the results is what stands at c, and at b and o; to column 1 at c, and at e and p.
@
@ Blocks of products (see products.s) stand in chains of BNP_CHAIN. A sum enters its chain so far before the end that whole chains are
@ left, and goes on from there to where it is pushed, or, where chains are left, to a check of whether they are done.
@
@ No register is left for a place to go on at. SP falls by 16 with each push, so what a sum needs lies at one distance from SP, in one
@ of nine slots of two halves: where it enters the chain, and of the first of three the start values, of the last whether more follow;
@ where it goes on from the chain's end, and where its codes end.

@ void bn_lenet_polyphase3(const struct { const uint32_t *codes; uint32_t pitch, plane, quads; uint32_t *window; const uint32_t *stream,
@     *stream_end; uint8_t *output; uint32_t rows, next, tiles; } *)
@ As bn_lenet_winograd3, but for the number of words of four channels, which may be any.
.set    BNP_SUMS, 9 * 16
.set    BNP_HALF, 9 * 16                        @ bytes of the slots' halves
.set    BNP_SLOTS, 2 * BNP_HALF
.set    BNP_CHAIN, 16
.set    BNP_SLOT, BNP_HALF - 16                 @ of the next sum,
.set    BNP_ON, BNP_SLOTS - 16                  @ and its other half
.set    BNP_MORE, BNP_HALF + 12                 @ of the last sum
.set    BNP_ROWS_OF, 2 * 9 * 5 * 4              @ rows of a word of codes at five points, codes 0 and 2, then 1 and 3

.set    BNP_CODES, 0
.set    BNP_PITCH, 4
.set    BNP_PLANE, 8
.set    BNP_QUADS, 12
.set    BNP_WINDOW, 16
.set    BNP_STREAM, 20
.set    BNP_STREAM_END, 24
.set    BNP_OUTPUT, 28
.set    BNP_ROWS, 32
.set    BNP_NEXT, 36
.set    BNP_TILES, 40
.set    BNP_TILE_CODES, 44                      @ of the tile,
.set    BNP_TILE_OUTPUT, 48                     @ and where its results begin
.set    BNP_CHANNELS, 52                        @ of the stream
.set    BNP_LEFT, 56
.set    BNP_PLACE, 60                           @ of the word of codes in the window
.set    BNP_VARIABLES, 68

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

@ Nine rows at one point along them, \from bytes from SP on, to five points down a column, of both rows of tiles. r0 is at the first of
@ the five and goes on by \step with each.
.macro BNP_DOWN from, step
.irp    row, 0, 1, 2, 3, 4, 5, 6, 7, 8
        BNP_LOAD \row, (\from + 20 * \row)
.endr
        strd    r4, r8, [r0]                    @ c
        add     r0, \step
        ssub16  r2, r2, r4
        ssub16  r11, r6, r8
        strd    r2, r11, [r0]                   @ b
        add     r0, \step
        strd    r3, r7, [r0]                    @ o
        add     r0, \step
        ssub16  r6, r6, r4
        ssub16  r10, r10, r8
        strd    r6, r10, [r0]                   @ e
        add     r0, \step
        strd    r5, r9, [r0]                    @ p
        add     r0, \step
.endm
.macro BNP_LOAD row, from
.irp    register, 2, 3, 4, 5, 6, 7, 8, 9, 10
.if \register - 2 == \row
        ldr     r\register, [sp, #\from]
.endif
.endr
.endm
@ All five points along the rows. Points c take each place of the window; of b and o, and of e and p, one follows the other. r12 is
@ the bytes of a point, lr twice that.
.macro BNP_COLUMNS from
        BNP_DOWN (\from + 8), r12               @ c
        BNP_DOWN \from, lr                      @ b
        sub     r0, r0, r12, lsl #3
        sub     r0, r12
        BNP_DOWN (\from + 4), lr                @ o
        sub     r0, r12
        BNP_DOWN (\from + 16), lr               @ e
        sub     r0, r0, r12, lsl #3
        sub     r0, r12
        BNP_DOWN (\from + 12), lr               @ p
.endm

@ A sum: its first block unless it goes on, then the chain.
.macro BNP_SUM kind, first, last, check, push
.if \kind
        BN_PRODUCTS \kind
.endif
        ldr     pc, [sp, #BNP_SLOT]
\first:
.rept BNP_CHAIN
        BN_PRODUCTS 0
.endr
\last:
        ldr     pc, [sp, #BNP_ON]
\check:
        ldr     r2, [sp, #(BNP_ON + 4)]
        cmp     r0, r2
        bne.w   \first\()b
\push:
        push    {r4-r7}
.endm

@ Fills the slot at r11 and goes to the next: a sum of \quads words of codes, \own of them no part of the chain. r0 is where they
@ begin, and goes to where they end; r10 is BN_PRODUCTS_SIZE.
.macro BNP_SLOT_OF quads, own, last, check, push
.if \own
        subs    r7, \quads, #1
.else
        movs    r7, \quads
.endif
        itt     ne                              @ words before whole chains; none, or at least one
        subne   r8, r7, #1
        andne   r8, r8, #(BNP_CHAIN - 1)
        ite     ne
        addne   r8, r8, #1
        moveq   r8, #0
        adr.w   r9, \last
        mls     r8, r8, r10, r9
        add     r8, #1                          @ Thumb
        adr.w   r9, \push
        adr.w   r2, \check
        cmp     r7, #BNP_CHAIN
        it      hi
        movhi   r9, r2                          @ where whole chains are left
        add     r9, #1
        add     r0, r0, \quads, lsl #4
        str     r8, [r11]
        str     r9, [r11, #BNP_HALF]
        str     r0, [r11, #(BNP_HALF + 4)]
        sub     r11, #16
.endm
.macro BNP_SLOTS_OF
        ldr     r0, [sp, #(BNP_SLOTS + BNP_WINDOW)]
        ldr     r4, [sp, #(BNP_SLOTS + BNP_QUADS)]
        mov     r10, #BN_PRODUCTS_SIZE
        add     r11, sp, #BNP_SLOT
        mov     r6, #3
        mov     r5, r4, lsl #1
2:      @ three sums
        mov     r7, #0
        strd    r7, r7, [r11, #4]               @ start values
        BNP_SLOT_OF r4, 1, 61f, 71f, 81f
        BNP_SLOT_OF r5, 0, 62f, 72f, 82f
        sub     r6, #1
        str     r6, [r11, #12]
        BNP_SLOT_OF r5, 1, 63f, 73f, 83f
        ldr     r4, [sp, #(BNP_SLOTS + BNP_QUADS)]
        lsl     r4, r4, #1
        lsl     r5, r4, #1
        cmp     r6, #0
        bne.w   2b
.endm

@ Two results, \a at r1 and \b two rows below.
.macro BNP_PUT a, b
        smmulr  \a, \a, lr
        smmulr  \b, \b, lr
        usat    \a, #8, \a
        usat    \b, #8, \b
        strb    \b, [r1, r12]
        strb    \a, [r1], #4
.endm
@ Where sum \at lies, of channel \o.
.macro BNP_GET a, b, at, o
        ldrd    \a, \b, [sp, #(16 * (8 - \at) + 8 * \o)]
.endm
@ Two columns of a row of results in both rows of tiles, of channel \o, whose multiplier is lr. r1 goes to the row below.
.macro BNP_RESULTS row, o
.if \row
        BNP_GET r2, r3, 0, \o
        BNP_GET r4, r5, 2, \o
        BNP_GET r6, r7, 3, \o
        BNP_GET r8, r9, 5, \o
        add     r2, r2, r4
        add     r3, r3, r5
        BNP_GET r4, r5, 6, \o
        BNP_GET r10, r11, 8, \o
        add     r6, r6, r8
        add     r7, r7, r9
        add     r8, r4, r10
        add     r9, r5, r11
.else
        BNP_GET r2, r3, 1, \o
        BNP_GET r6, r7, 4, \o
        BNP_GET r8, r9, 7, \o
.endif
        add     r6, r6, r2
        add     r7, r7, r3
        add     r8, r8, r2
        add     r9, r9, r3
        BNP_PUT r6, r7
        BNP_PUT r8, r9
.if \row == 0
        add     r1, r1, r12, lsr #1
        sub     r1, #8
.endif
.endm

        BN_FUNCTION bn_lenet_polyphase3, 2      @ ADR counts from whole words
        sub     sp, #(BNP_SLOTS + BNP_VARIABLES)
        add     r12, sp, #BNP_SLOTS
        ldm     r0!, {r1-r8}
        stm     r12, {r1-r8}
        strd    r1, r8, [r12, #BNP_TILE_CODES]
        str     r6, [r12, #BNP_CHANNELS]
        ldm     r0, {r1-r3}
        strd    r1, r2, [r12, #BNP_ROWS]
        str     r3, [r12, #BNP_TILES]
        BNP_SLOTS_OF

5:      @ a tile
        add     r12, sp, #BNP_SLOTS
        ldrd    r2, r3, [r12, #BNP_TILE_CODES]  @ and its output
        ldr     r4, [r12, #BNP_QUADS]
        ldr     r5, [r12, #BNP_WINDOW]
        str     r3, [r12, #BNP_OUTPUT]
        str     r2, [r12, #BNP_CODES]
        strd    r4, r5, [r12, #BNP_LEFT]        @ and place
        sub     sp, #BNP_ROWS_OF
1:      @ a word of four codes
        ldr     r0, [sp, #(BNP_ROWS_OF + BNP_SLOTS + BNP_CODES)]
        ldr     r7, [sp, #(BNP_ROWS_OF + BNP_SLOTS + BNP_PITCH)]
        mov     r1, sp
        add     r12, sp, #(BNP_ROWS_OF / 2)
        mov     lr, #3
2:      @ three rows
.rept 3
        BNP_ALONG r1, 0
        BNP_ALONG r12, 8
        add     r0, r7
.endr
        subs    lr, #1
        bne.w   2b
        ldr     r12, [sp, #(BNP_ROWS_OF + BNP_SLOTS + BNP_QUADS)]
        ldr     r0, [sp, #(BNP_ROWS_OF + BNP_SLOTS + BNP_PLACE)]
        lsl     r12, r12, #4
        lsl     lr, r12, #1
        BNP_COLUMNS 0
        ldr     r0, [sp, #(BNP_ROWS_OF + BNP_SLOTS + BNP_PLACE)]
        add     r0, #8
        BNP_COLUMNS (BNP_ROWS_OF / 2)
        add     r12, sp, #(BNP_ROWS_OF + BNP_SLOTS)
        ldr     r1, [r12, #BNP_CODES]
        ldr     r2, [r12, #BNP_PLANE]
        ldrd    r3, r4, [r12, #BNP_LEFT]        @ and place
        add     r1, r2
        add     r4, #16
        subs    r3, #1
        str     r1, [r12, #BNP_CODES]
        strd    r3, r4, [r12, #BNP_LEFT]
        bne.w   1b
        add     sp, #BNP_ROWS_OF

        ldr     r1, [sp, #(BNP_SLOTS + BNP_CHANNELS)]
3:      @ two channels
        ldrd    r2, r3, [r1], #8
        ldr     r0, [sp, #(BNP_SLOTS + BNP_WINDOW)]
        strd    r2, r3, [sp, #(BNP_SLOT + 4)]
4:      @ three sums
        ldrd    r5, r7, [sp, #(BNP_SLOT + 4)]
        BNP_SUM 1, 51, 61, 71, 81
        BNP_SUM 0, 52, 62, 72, 82
        BNP_SUM 2, 53, 63, 73, 83
        ldr     r2, [sp, #BNP_MORE]
        cmp     r2, #0
        bne.w   4b

        ldrd    r2, r3, [r1], #8                @ multipliers
        ldr     r12, [sp, #(BNP_SUMS + BNP_SLOTS + BNP_ROWS)]
        str     r1, [sp, #(BNP_SUMS + BNP_SLOTS + BNP_STREAM)]
        ldr     r1, [sp, #(BNP_SUMS + BNP_SLOTS + BNP_OUTPUT)]
        mov     lr, r2
        mov     r0, r3
        BNP_RESULTS 0, 0
        BNP_RESULTS 1, 0
        ldr     r1, [sp, #(BNP_SUMS + BNP_SLOTS + BNP_OUTPUT)]
        mov     lr, r0
        add     r1, #1
        BNP_RESULTS 0, 1
        BNP_RESULTS 1, 1
        add     sp, #BNP_SUMS
        ldr     r2, [sp, #(BNP_SLOTS + BNP_OUTPUT)]
        ldrd    r1, r3, [sp, #(BNP_SLOTS + BNP_STREAM)]         @ and its end
        add     r2, #2
        tst     r2, #3
        itt     eq
        ldreq   r4, [sp, #(BNP_SLOTS + BNP_NEXT)]
        addeq   r2, r2, r4
        str     r2, [sp, #(BNP_SLOTS + BNP_OUTPUT)]
        cmp     r1, r3
        bne.w   3b
        add     r12, sp, #BNP_SLOTS
        ldrd    r2, r3, [r12, #BNP_TILE_CODES]  @ and its output
        ldr     r1, [r12, #BNP_TILES]
        add     r2, #16
        add     r3, #8
        subs    r1, #1
        strd    r2, r3, [r12, #BNP_TILE_CODES]
        str     r1, [r12, #BNP_TILES]
        bne.w   5b
        BN_RETURN bn_lenet_polyphase3, (BNP_SLOTS + BNP_VARIABLES), 2
